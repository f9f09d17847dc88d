//! Every path of the registry protocol, parsed and formatted.
//!
//! Owns the grammar of `/v2/…`. A name may have any number of components, which may be called `blobs` or `tags`, so a
//! path is read from its end. The server handles methods, queries and the management API under `/v2/manage/`.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use crate::digest::Digest;
use crate::error::ErrorCode;
use crate::name::{Reference, RepositoryName};
use crate::text::GrammarError;

/// The maximum length of a session id; ours are UUIDs.
const MAX_SESSION_CHARS: usize = 128;

/// The resource that a path under `/v2` names.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub enum Route {
    /// `/v2/`: shows that this is a registry, and checks credentials.
    Base,
    /// `/v2/_catalog`: the names of all repositories.
    Catalog,
    /// `/v2/{name}/tags/list`.
    TagsList {
        /// The repository.
        name: RepositoryName,
    },
    /// `/v2/{name}/manifests/{reference}`.
    Manifest {
        /// The repository.
        name: RepositoryName,
        /// The tag or digest of the manifest.
        reference: Reference,
    },
    /// `/v2/{name}/blobs/{digest}`.
    Blob {
        /// The repository.
        name: RepositoryName,
        /// The digest of the blob.
        digest: Digest,
    },
    /// `/v2/{name}/blobs/uploads/`, with or without the slash at the end.
    UploadStart {
        /// The repository.
        name: RepositoryName,
    },
    /// `/v2/{name}/blobs/uploads/{session}`.
    Upload {
        /// The repository.
        name: RepositoryName,
        /// The id of the session: 1 to 128 letters, digits, hyphens and underscores.
        session: String,
    },
    /// `/v2/{name}/referrers/{digest}`.
    Referrers {
        /// The repository.
        name: RepositoryName,
        /// The digest of the subject.
        digest: Digest,
    },
}

/// Why a path is not a route.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// The protocol has no such path.
    #[error("no such path in the registry protocol")]
    NotFound,
    /// The repository name is invalid.
    #[error(transparent)]
    Name(GrammarError),
    /// The reference is not a valid tag, and has no colon as a digest would.
    #[error(transparent)]
    Tag(GrammarError),
    /// The digest is invalid.
    #[error(transparent)]
    Digest(GrammarError),
    /// The session id is invalid.
    #[error(transparent)]
    Session(GrammarError),
}

impl RouteError {
    /// The error code for a write to such a path; for a read at an invalid tag, `MANIFEST_UNKNOWN` is better.
    ///
    /// The protocol has no code for an unknown path; `UNSUPPORTED` is the closest.
    pub fn code(&self) -> ErrorCode {
        match self {
            RouteError::NotFound => ErrorCode::Unsupported,
            RouteError::Name(_) => ErrorCode::NameInvalid,
            RouteError::Tag(_) => ErrorCode::ManifestInvalid,
            RouteError::Digest(_) => ErrorCode::DigestInvalid,
            RouteError::Session(_) => ErrorCode::BlobUploadUnknown,
        }
    }

    /// The HTTP status: the status of the code, except 404 for an unknown path.
    pub fn status(&self) -> u16 {
        match self {
            RouteError::NotFound => 404,
            other => other.code().status(),
        }
    }
}

impl Route {
    /// Parses a path as it was received, percent-encoded and without its query.
    ///
    /// Segments are split first and then decoded once, so an encoded slash never separates segments.
    pub fn parse(raw_path: &str) -> Result<Route, RouteError> {
        let rest = match raw_path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Route::Base),
            Some("/_catalog") => return Ok(Route::Catalog),
            Some(rest) => rest.strip_prefix('/').ok_or(RouteError::NotFound)?,
            None => return Err(RouteError::NotFound),
        };
        // Bytes that are not UTF-8 become U+FFFD here, which no grammar accepts.
        let decoded: Vec<Cow<'_, str>> =
            rest.split('/').map(|raw| percent_decode_str(raw).decode_utf8_lossy()).collect();
        let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();

        match segments.as_slice() {
            [name @ .., "tags", "list"] => Ok(Route::TagsList { name: parse_name(name)? }),
            [name @ .., "manifests", reference] => {
                Ok(Route::Manifest { name: parse_name(name)?, reference: parse_reference(reference)? })
            }
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Route::UploadStart { name: parse_name(name)? })
            }
            [name @ .., "blobs", "uploads", session] => {
                Ok(Route::Upload { name: parse_name(name)?, session: parse_session(session)? })
            }
            [name @ .., "blobs", digest] => Ok(Route::Blob { name: parse_name(name)?, digest: parse_digest(digest)? }),
            [name @ .., "referrers", digest] => {
                Ok(Route::Referrers { name: parse_name(name)?, digest: parse_digest(digest)? })
            }
            // A session id is one segment, so `blobs/uploads/../x` is not a session.
            other if other.windows(2).any(|pair| pair == ["blobs", "uploads"]) => Err(RouteError::Session(
                GrammarError::new("upload session", raw_path, "one segment of letters, digits, - and _"),
            )),
            _ => Err(RouteError::NotFound),
        }
    }

    /// Returns the path. It needs no encoding: the grammar of every part allows only characters that a path may hold.
    pub fn path(&self) -> String {
        match self {
            Route::Base => "/v2/".to_owned(),
            Route::Catalog => "/v2/_catalog".to_owned(),
            Route::TagsList { name } => format!("/v2/{name}/tags/list"),
            Route::Manifest { name, reference } => format!("/v2/{name}/manifests/{reference}"),
            Route::Blob { name, digest } => format!("/v2/{name}/blobs/{digest}"),
            Route::UploadStart { name } => format!("/v2/{name}/blobs/uploads/"),
            Route::Upload { name, session } => format!("/v2/{name}/blobs/uploads/{session}"),
            Route::Referrers { name, digest } => format!("/v2/{name}/referrers/{digest}"),
        }
    }

    /// The repository that the path names; `None` if it names none.
    pub fn name(&self) -> Option<&RepositoryName> {
        match self {
            Route::Base | Route::Catalog => None,
            Route::TagsList { name }
            | Route::Manifest { name, .. }
            | Route::Blob { name, .. }
            | Route::UploadStart { name }
            | Route::Upload { name, .. }
            | Route::Referrers { name, .. } => Some(name),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.path())
    }
}

fn parse_name(segments: &[&str]) -> Result<RepositoryName, RouteError> {
    let text = segments.join("/");
    if segments.iter().any(|segment| segment.contains('/')) {
        let error = GrammarError::new("repository name", &text, "slashes between components, not encoded inside one");
        return Err(RouteError::Name(error));
    }
    text.parse().map_err(RouteError::Name)
}

fn parse_reference(text: &str) -> Result<Reference, RouteError> {
    let as_error = if text.contains(':') { RouteError::Digest } else { RouteError::Tag };
    text.parse().map_err(as_error)
}

fn parse_digest(text: &str) -> Result<Digest, RouteError> {
    text.parse().map_err(RouteError::Digest)
}

fn parse_session(text: &str) -> Result<String, RouteError> {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.len() <= MAX_SESSION_CHARS && text.bytes().all(is_sound) {
        Ok(text.to_owned())
    } else {
        Err(RouteError::Session(GrammarError::new("upload session", text, "1 to 128 letters, digits, - and _")))
    }
}

#[cfg(test)]
mod tests;
