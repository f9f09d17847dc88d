//! The errors of the management API: their codes (contract 6.2, 6.3) and their one body (contract 6.1).
//!
//! Owns: code, status, meaning and body. Never: when the service refuses.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::record::record;

macro_rules! error_codes {
    ($($(#[doc = $meaning:literal])+ $name:ident = $code:literal, $status:ident;)+) => {
        /// A code of the management API. The variants say in words what the published table says in digits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl ErrorCode {
            /// Every code that this API uses, in the order of the contract's table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code as it stands in bodies, for example `SVCSTG.SWR.4040058`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// The status that goes with the code: its first three digits, with the two exceptions that the contract names
            /// ([`ErrorCode::Busy`] is 429, [`ErrorCode::BadSignature`] is the gateway's).
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)+
                }
            }

            /// When the code is used, as a sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($meaning),+).trim_ascii(),)+
                }
            }
        }
    };
}

error_codes! {
    /// The caller did not prove who it is.
    Unauthenticated = "SVCSTG.SWR.4010000", UNAUTHORIZED;
    /// A signature does not verify; the code of the gateway, not of the service.
    BadSignature = "APIGW.0301", UNAUTHORIZED;
    /// A resource of another account.
    CrossesAccounts = "SVCSTG.SWR.4011064", UNAUTHORIZED;
    /// A digest is not well formed.
    BadDigest = "SVCSTG.SWR.4000013", BAD_REQUEST;
    /// A parameter is wrong, in general.
    BadParameter = "SVCSTG.SWR.4000014", BAD_REQUEST;
    /// `limit` or `offset` is out of range or not a number.
    BadPageSize = "SVCSTG.SWR.4000056", BAD_REQUEST;
    /// Too many organizations.
    TooManyNamespaces = "SVCSTG.SWR.4000097", BAD_REQUEST;
    /// Too many images.
    TooManyRepositories = "SVCSTG.SWR.4000098", BAD_REQUEST;
    /// Too many tags.
    TooManyTags = "SVCSTG.SWR.4000099", BAD_REQUEST;
    /// The retention rule does not exist.
    RetentionAbsent = "SVCSTG.SWR.4000306", BAD_REQUEST;
    /// `is_public` is not a boolean.
    BadIsPublic = "SVCSTG.SWR.4001009", BAD_REQUEST;
    /// A mandatory parameter is missing.
    ParameterMissing = "SVCSTG.SWR.4001014", BAD_REQUEST;
    /// The body is not JSON.
    BodyNotJson = "SVCSTG.SWR.4001018", BAD_REQUEST;
    /// A query parameter is wrong.
    BadQuery = "SVCSTG.SWR.4001025", BAD_REQUEST;
    /// An organization name breaks the grammar.
    BadNamespace = "SVCSTG.SWR.4001028", BAD_REQUEST;
    /// A repository name breaks the grammar.
    BadRepository = "SVCSTG.SWR.4001029", BAD_REQUEST;
    /// The filter cannot be read.
    BadFilter = "SVCSTG.SWR.4001035", BAD_REQUEST;
    /// An organization permission is wrong.
    BadNamespacePermission = "SVCSTG.SWR.4001065", BAD_REQUEST;
    /// A permission is wrong.
    BadPermission = "SVCSTG.SWR.4001066", BAD_REQUEST;
    /// A user name or id is unknown.
    BadUser = "SVCSTG.SWR.4001067", BAD_REQUEST;
    /// The share does not exist.
    ShareAbsent = "SVCSTG.SWR.4001090", BAD_REQUEST;
    /// `order_column` or `order_type` is wrong.
    BadOrder = "SVCSTG.SWR.4001096", BAD_REQUEST;
    /// The replication rule does not exist.
    SyncRuleAbsent = "SVCSTG.SWR.4001158", BAD_REQUEST;
    /// A tag breaks the grammar.
    BadTag = "SVCSTG.SWR.4009021", BAD_REQUEST;
    /// The caller may not do this.
    Forbidden = "SVCSTG.SWR.4030170", FORBIDDEN;
    /// The image does not exist.
    ImageAbsent = "SVCSTG.SWR.4040010", NOT_FOUND;
    /// The organization does not exist.
    NamespaceAbsent = "SVCSTG.SWR.4040058", NOT_FOUND;
    /// The organization permission does not exist.
    NamespacePermissionAbsent = "SVCSTG.SWR.4040078", NOT_FOUND;
    /// No such URL.
    NoSuchUrl = "SVCSTG.SWR.4040083", NOT_FOUND;
    /// The permission does not exist.
    PermissionAbsent = "SVCSTG.SWR.4040091", NOT_FOUND;
    /// The repository does not exist.
    RepositoryAbsent = "SVCSTG.SWR.4040113", NOT_FOUND;
    /// The tag does not exist.
    TagAbsent = "SVCSTG.SWR.4040115", NOT_FOUND;
    /// The trigger does not exist.
    TriggerAbsent = "SVCSTG.SWR.4040126", NOT_FOUND;
    /// The layer does not exist.
    LayerAbsent = "SVCSTG.SWR.4041051", NOT_FOUND;
    /// The manifest does not exist.
    ManifestAbsent = "SVCSTG.SWR.4041060", NOT_FOUND;
    /// The repository still holds images.
    RepositoryNotEmpty = "SVCSTG.SWR.4060012", NOT_ACCEPTABLE;
    /// The organization still holds images.
    NamespaceNotEmpty = "SVCSTG.SWR.4060074", NOT_ACCEPTABLE;
    /// The repository or the destination tag exists.
    ImageExists = "SVCSTG.SWR.4090006", CONFLICT;
    /// Busy now; the code of a full queue, whose status is 429.
    Busy = "SVCSTG.SWR.4090023", TOO_MANY_REQUESTS;
    /// The organization exists.
    NamespaceExists = "SVCSTG.SWR.4090060", CONFLICT;
    /// The organization permission exists.
    NamespacePermissionExists = "SVCSTG.SWR.4090076", CONFLICT;
    /// The permission (or another thing of that name) exists.
    PermissionExists = "SVCSTG.SWR.4090089", CONFLICT;
    /// The body is too large.
    BodyTooLarge = "SVCSTG.SWR.4131001", PAYLOAD_TOO_LARGE;
    /// A fault of ours.
    Internal = "SVCSTG.SWR.5001101", INTERNAL_SERVER_ERROR;
    /// The storage is full or broken.
    Storage = "SVCSTG.SWR.5070070", INSUFFICIENT_STORAGE;
}

impl ErrorCode {
    /// Parses a code as it appears in bodies; `None` if this API does not use it.
    ///
    /// ```
    /// use transship_swr::ErrorCode;
    ///
    /// assert_eq!(ErrorCode::of("SVCSTG.SWR.4040058"), Some(ErrorCode::NamespaceAbsent));
    /// assert_eq!(ErrorCode::NamespaceAbsent.status(), 404);
    /// ```
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A malformed request: its code, and a sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The code.
    pub code: ErrorCode,
    /// The sentence.
    pub message: Cow<'static, str>,
}

impl ApiError {
    /// An error with this code and this sentence.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

record! {
    /// The body of every answer that is an error. It says the same in three places, one for each kind of client.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ErrorBody {
        /// The code and the sentence again, as a list.
        pub details: Vec<ErrorDetail> = "details",
        /// The code.
        pub error_code: String = "error_code",
        /// A sentence for people.
        pub error_msg: String = "error_msg",
        /// The code and the sentence in the older form, which Terraform reads.
        pub errors: Vec<LegacyError> = "errors",
        /// The id of the request. Only a refused signature has it here; every answer has it in the header `X-Request-Id`.
        pub request_id: Option<String> = "request_id" [default, skip_serializing_if = "Option::is_none"],
    }
}

record! {
    /// One element of `details` of an error.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ErrorDetail {
        /// The code.
        pub error_code: String = "error_code",
        /// A sentence for people.
        pub error_msg: String = "error_msg",
    }
}

record! {
    /// One element of `errors` of an error.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct LegacyError {
        /// Always empty.
        pub detail: String = "detail",
        /// The code.
        pub error_code: String = "errorCode",
        /// A sentence for people.
        pub error_message: String = "errorMessage",
    }
}

impl ErrorBody {
    /// The body for a code and a sentence.
    ///
    /// ```
    /// use transship_swr::{ErrorBody, ErrorCode};
    ///
    /// let body = ErrorBody::new(ErrorCode::TagAbsent, "tag v1 not found", None);
    /// let text = serde_json::to_string(&body)?;
    /// let read: ErrorBody = serde_json::from_str(&text)?;
    /// assert_eq!(read.code(), Some(ErrorCode::TagAbsent));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn new(code: ErrorCode, message: &str, request_id: Option<String>) -> Self {
        let (error_code, error_msg) = (code.as_str().to_owned(), message.to_owned());
        Self {
            details: vec![ErrorDetail { error_code: error_code.clone(), error_msg: error_msg.clone() }],
            errors: vec![LegacyError {
                detail: String::new(),
                error_code: error_code.clone(),
                error_message: error_msg.clone(),
            }],
            error_code,
            error_msg,
            request_id,
        }
    }

    /// The code; `None` if this API does not use it.
    pub fn code(&self) -> Option<ErrorCode> {
        ErrorCode::of(&self.error_code)
    }
}

#[cfg(test)]
mod tests;
