//! The error codes of the distribution specification and the body that carries them.
//!
//! Owns the fourteen codes, their usual status and the JSON shape. The server decides which code answers a request.

use serde::{Deserialize, Serialize};

/// The codes of the distribution specification; there are no others.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum ErrorCode {
    /// The blob is not in this repository.
    BlobUnknown,
    /// A chunk, or the end of an upload, does not match the bytes that have arrived.
    BlobUploadInvalid,
    /// The upload session does not exist, or has ended.
    BlobUploadUnknown,
    /// The digest is malformed, names an unknown algorithm, or does not match the content.
    DigestInvalid,
    /// The manifest names a blob or a manifest that is not in this repository.
    ManifestBlobUnknown,
    /// The manifest does not conform to its media type.
    ManifestInvalid,
    /// The manifest is not in this repository.
    ManifestUnknown,
    /// The repository name does not follow the grammar.
    NameInvalid,
    /// The repository does not exist, or the caller may not know that it does.
    NameUnknown,
    /// A size does not match the content.
    SizeInvalid,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// The caller may not do this.
    Denied,
    /// The operation is not supported, or its parameters make no sense.
    Unsupported,
    /// The caller has to slow down.
    TooManyRequests,
}

impl ErrorCode {
    /// Every code, in the order of the specification.
    pub const ALL: [ErrorCode; 14] = [
        ErrorCode::BlobUnknown,
        ErrorCode::BlobUploadInvalid,
        ErrorCode::BlobUploadUnknown,
        ErrorCode::DigestInvalid,
        ErrorCode::ManifestBlobUnknown,
        ErrorCode::ManifestInvalid,
        ErrorCode::ManifestUnknown,
        ErrorCode::NameInvalid,
        ErrorCode::NameUnknown,
        ErrorCode::SizeInvalid,
        ErrorCode::Unauthorized,
        ErrorCode::Denied,
        ErrorCode::Unsupported,
        ErrorCode::TooManyRequests,
    ];

    /// The code as it is written in the body.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BlobUnknown => "BLOB_UNKNOWN",
            ErrorCode::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            ErrorCode::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            ErrorCode::DigestInvalid => "DIGEST_INVALID",
            ErrorCode::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            ErrorCode::ManifestInvalid => "MANIFEST_INVALID",
            ErrorCode::ManifestUnknown => "MANIFEST_UNKNOWN",
            ErrorCode::NameInvalid => "NAME_INVALID",
            ErrorCode::NameUnknown => "NAME_UNKNOWN",
            ErrorCode::SizeInvalid => "SIZE_INVALID",
            ErrorCode::Unauthorized => "UNAUTHORIZED",
            ErrorCode::Denied => "DENIED",
            ErrorCode::Unsupported => "UNSUPPORTED",
            ErrorCode::TooManyRequests => "TOOMANYREQUESTS",
        }
    }

    /// The HTTP status that usually goes with the code.
    ///
    /// The server makes exceptions: 416 for a chunk out of order, 413 for a manifest above the limit, 400 for a
    /// parameter that makes no sense.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::BlobUploadInvalid
            | ErrorCode::DigestInvalid
            | ErrorCode::ManifestInvalid
            | ErrorCode::NameInvalid
            | ErrorCode::SizeInvalid => 400,
            ErrorCode::Unauthorized => 401,
            ErrorCode::Denied => 403,
            ErrorCode::BlobUnknown
            | ErrorCode::BlobUploadUnknown
            | ErrorCode::ManifestBlobUnknown
            | ErrorCode::ManifestUnknown
            | ErrorCode::NameUnknown => 404,
            ErrorCode::Unsupported => 405,
            ErrorCode::TooManyRequests => 429,
        }
    }

    /// Returns the code with this text; `None` if it is not one of the fourteen.
    pub fn find(text: &str) -> Option<ErrorCode> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The body of every refused registry request.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The errors; our server reports exactly one.
    pub errors: Vec<ErrorInfo>,
}

impl ErrorBody {
    /// A body that reports one error.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { errors: vec![ErrorInfo::new(code, message)] }
    }
}

/// One error in a body.
///
/// The code is text because other registries send their own codes, which a client must be able to repeat.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// The kind of error; see [`ErrorInfo::known_code`].
    #[serde(default)]
    pub code: String,
    /// A message for people.
    #[serde(default)]
    pub message: String,
    /// Further details, whose form depends on the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

impl ErrorInfo {
    /// An error without detail.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.as_str().to_owned(), message: message.into(), detail: None }
    }

    /// The code; `None` if the specification does not define it.
    pub fn known_code(&self) -> Option<ErrorCode> {
        ErrorCode::find(&self.code)
    }
}

#[cfg(test)]
mod tests;
