//! A manifest as a view over its raw bytes: the content that it names, and whether it may be stored.
//!
//! Owns the checks that need only the bytes: limits, unambiguous JSON, the shape of each kind. The raw bytes are stored
//! and served as they are, never rebuilt from a view, so fields that are not read here are kept. Never checks whether
//! the named blobs exist.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::ErrorCode;
use crate::media;
use crate::text::excerpt;

mod json;

/// The maximum size of a manifest: clients may rely on this much (OCI specification), and other registries accept no
/// more.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// The maximum number of descriptors in one manifest; real indexes have dozens.
pub const MAX_DESCRIPTORS: usize = 10_000;
/// The maximum size of content that is embedded in a descriptor.
pub const MAX_DATA_BYTES: usize = 1024 * 1024;

/// Why the bytes may not be stored as a manifest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ManifestError {
    /// There are more bytes than [`MAX_MANIFEST_BYTES`].
    #[error("manifest of {size_bytes} bytes exceeds the limit of {MAX_MANIFEST_BYTES}")]
    TooLarge {
        /// The number of bytes.
        size_bytes: usize,
    },
    /// The bytes are not JSON, or are JSON that two parsers could read differently.
    #[error("manifest is not sound JSON: {0}")]
    Json(String),
    /// The media type is missing or unknown, or differs between header and body.
    #[error("{0}")]
    MediaType(String),
    /// The JSON is not a manifest of its media type.
    #[error("{0}")]
    Content(String),
}

impl ManifestError {
    /// The error code of the response to a push.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::ManifestInvalid
    }

    /// The HTTP status of the response.
    pub fn status(&self) -> u16 {
        match self {
            ManifestError::TooLarge { .. } => 413,
            _ => self.code().status(),
        }
    }
}

/// The two kinds of manifest.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum ManifestKind {
    /// An image or artifact: a configuration and layers.
    Image,
    /// A list of manifests.
    Index,
}

impl ManifestKind {
    /// Returns the kind that a media type stands for; `None` if it is not the type of a manifest.
    pub fn of_media_type(media_type: &str) -> Option<ManifestKind> {
        match media_type {
            media::OCI_MANIFEST | media::DOCKER_MANIFEST => Some(ManifestKind::Image),
            media::OCI_INDEX | media::DOCKER_MANIFEST_LIST => Some(ManifestKind::Index),
            _ => None,
        }
    }
}

/// A reference to content: its type, digest and size.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// Other places that serve the content. This registry never fetches from them.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Arbitrary key-value annotations.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The artifact type of the manifest that the descriptor points at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The content itself in base64, if it is small enough to be embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// A descriptor with only the three required fields.
    pub fn new(media_type: impl Into<String>, digest: Digest, size_bytes: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size_bytes,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            artifact_type: None,
            data: None,
        }
    }

    /// Whether the content may be absent from the registry: its type allows it, and `urls` names other places.
    pub fn is_foreign(&self) -> bool {
        media::is_non_distributable(&self.media_type) && !self.urls.is_empty()
    }

    fn check(&self) -> Result<(), ManifestError> {
        let digest = &self.digest;
        if self.media_type.is_empty() {
            return Err(ManifestError::Content(format!("descriptor of {digest} has an empty media type")));
        }
        if i64::try_from(self.size_bytes).is_err() {
            return Err(ManifestError::Content(format!("size {} of {digest} is out of range", self.size_bytes)));
        }
        match &self.data {
            Some(data) => self.check_data(data),
            None => Ok(()),
        }
    }

    /// Checks that embedded data is the content, because clients use it without verifying it.
    fn check_data(&self, data: &str) -> Result<(), ManifestError> {
        let digest = &self.digest;
        let refuse = |problem: &str| Err(ManifestError::Content(format!("data of {digest} {problem}")));
        if data.len() > MAX_DATA_BYTES.div_ceil(3) * 4 {
            return refuse("is too large");
        }
        let Ok(content) = STANDARD.decode(data) else {
            return refuse("is not base64");
        };
        if content.len() as u64 != self.size_bytes {
            return refuse("differs from it in size");
        }
        if Digest::of(digest.algorithm(), &content) != *digest {
            return refuse("is other content");
        }
        Ok(())
    }
}

/// The fields of a manifest that the registry uses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestView {
    /// The media type, without parameters.
    pub media_type: String,
    /// Image or index.
    pub kind: ManifestKind,
    /// The artifact type as the referrers API reports it: the manifest's own field, or else the type of an image's
    /// configuration.
    pub artifact_type: Option<String>,
    /// The configuration. Every image has one; an index has none.
    pub config: Option<Descriptor>,
    /// The layers of an image, or the entries of an index that are not manifests: `BuildKit` stores caches in this
    /// form.
    pub layers: Vec<Descriptor>,
    /// The manifests that an index lists.
    pub children: Vec<Descriptor>,
    /// The manifest that this one refers to; it need not exist.
    pub subject: Option<Descriptor>,
    /// Arbitrary key-value annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The fields that are read; all others are accepted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_as_default")]
    annotations: BTreeMap<String, String>,
}

impl ManifestView {
    /// Reads a manifest that was sent with this `Content-Type`, and refuses one that must not be stored.
    pub fn parse(content_type: Option<&str>, raw: &[u8]) -> Result<ManifestView, ManifestError> {
        if raw.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { size_bytes: raw.len() });
        }
        json::check(raw)?;
        let fields: Fields = serde_json::from_slice(raw).map_err(|error| {
            ManifestError::Content(format!("manifest has an unexpected form: {}", excerpt(&error.to_string())))
        })?;

        let media_type = choose_media_type(content_type, fields.media_type.as_deref())?;
        let kind = ManifestKind::of_media_type(&media_type).ok_or_else(|| unknown_media_type(&media_type))?;
        if fields.schema_version != 2 {
            let problem = format!("manifest has schemaVersion {}, expected 2", fields.schema_version);
            return Err(ManifestError::Content(problem));
        }
        let view = match kind {
            ManifestKind::Image => image(media_type, fields)?,
            ManifestKind::Index => index(media_type, fields)?,
        };
        view.check_descriptors()?;
        Ok(view)
    }

    /// The blobs that must be in the repository: configuration and layers, except foreign layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers).filter(|descriptor| !descriptor.is_foreign())
    }

    /// The foreign layers, which may be absent from the repository.
    pub fn foreign_layers(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().filter(|descriptor| descriptor.is_foreign())
    }

    /// The total size of configuration and layers, including foreign ones: a pull transfers at most this much.
    pub fn blobs_size_bytes(&self) -> u64 {
        let sizes = self.config.iter().chain(&self.layers).map(|descriptor| descriptor.size_bytes);
        sizes.fold(0, u64::saturating_add)
    }

    fn check_descriptors(&self) -> Result<(), ManifestError> {
        let descriptors = || self.config.iter().chain(&self.layers).chain(&self.children).chain(&self.subject);
        let count = descriptors().count();
        if count > MAX_DESCRIPTORS {
            let problem = format!("manifest has {count} descriptors, more than the limit of {MAX_DESCRIPTORS}");
            return Err(ManifestError::Content(problem));
        }
        descriptors().try_for_each(Descriptor::check)
    }
}

/// Builds the view of an image. An image with index entries is refused, because one client could read it as an image
/// and another as an index, under the same digest.
fn image(media_type: String, fields: Fields) -> Result<ManifestView, ManifestError> {
    if fields.manifests.is_some() {
        return Err(ManifestError::Content("image manifest has manifests, as only an index may".to_owned()));
    }
    let Some(config) = fields.config else {
        return Err(ManifestError::Content("image manifest has no config".to_owned()));
    };
    Ok(ManifestView {
        media_type,
        kind: ManifestKind::Image,
        artifact_type: non_empty(fields.artifact_type).or_else(|| Some(config.media_type.clone())),
        config: Some(config),
        // Go programs write an empty list as null.
        layers: fields.layers.unwrap_or_default(),
        children: Vec::new(),
        subject: fields.subject,
        annotations: fields.annotations,
    })
}

/// Builds the view of an index. An index with parts of an image is refused for the same reason.
fn index(media_type: String, fields: Fields) -> Result<ManifestView, ManifestError> {
    if fields.config.is_some() || fields.layers.is_some() {
        return Err(ManifestError::Content("index has a config or layers, as only an image may".to_owned()));
    }
    let entries = fields.manifests.unwrap_or_default();
    let (children, layers) = entries.into_iter().partition(|entry| media::is_manifest(&entry.media_type));
    Ok(ManifestView {
        media_type,
        kind: ManifestKind::Index,
        artifact_type: non_empty(fields.artifact_type),
        config: None,
        layers,
        children,
        subject: fields.subject,
        annotations: fields.annotations,
    })
}

/// Header and body must agree; one of them may omit the media type, but not both.
fn choose_media_type(content_type: Option<&str>, in_body: Option<&str>) -> Result<String, ManifestError> {
    let in_header = content_type.map(essence).filter(|media_type| !media_type.is_empty());
    match (in_header, in_body) {
        (Some(in_header), Some(in_body)) if in_header != in_body => {
            let (in_header, in_body) = (excerpt(&in_header), excerpt(in_body));
            let problem = format!("content type \"{in_header}\" differs from mediaType \"{in_body}\" of the manifest");
            Err(ManifestError::MediaType(problem))
        }
        (Some(in_header), _) => Ok(in_header),
        (None, Some(in_body)) => Ok(in_body.to_owned()),
        (None, None) => Err(ManifestError::MediaType("neither Content-Type nor mediaType is given".to_owned())),
    }
}

/// Returns a media type in lower case, without its parameters.
fn essence(content_type: &str) -> String {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

fn unknown_media_type(media_type: &str) -> ManifestError {
    let media_type = excerpt(media_type);
    let expected = media::ACCEPT_MANIFESTS;
    ManifestError::MediaType(format!("media type \"{media_type}\" is not a manifest's: expected one of {expected}"))
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Go programs write empty maps and lists as null.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
