//! The one error shape of the management API (contract 6.1) and the codes that this server uses (contract 6.2, 6.3).
//!
//! Owns: code, status and body. Never: when an error applies.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use transship_catalog::Resource;
use transship_registry::ServiceError;

use crate::caller::{AuthFailure, Refusal};
use crate::http::context;
use crate::http::whole::{RETRY_AFTER_SECONDS, WholeBodyError};

/// A code of the management API. The variants carry the words of the published table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManageCode {
    /// The caller did not prove who it is.
    Unauthenticated,
    /// A signature does not verify; the code of the gateway, not of the service.
    BadSignature,
    /// A resource of another account.
    CrossesAccounts,
    /// A digest is not well formed.
    BadDigest,
    /// A parameter is wrong, in general.
    BadParameter,
    /// `limit` or `offset` is out of range or not a number.
    BadPageSize,
    /// Too many organizations.
    TooManyNamespaces,
    /// Too many images.
    TooManyRepositories,
    /// Too many tags.
    TooManyTags,
    /// The retention rule does not exist.
    RetentionAbsent,
    /// `is_public` is not a boolean.
    BadIsPublic,
    /// A mandatory parameter is missing.
    ParameterMissing,
    /// The body is not JSON.
    BodyNotJson,
    /// A query parameter is wrong.
    BadQuery,
    /// An organization name breaks the grammar.
    BadNamespace,
    /// A repository name breaks the grammar.
    BadRepository,
    /// The filter cannot be read.
    BadFilter,
    /// An organization permission is wrong.
    BadNamespacePermission,
    /// A permission is wrong.
    BadPermission,
    /// A user name or id is unknown.
    BadUser,
    /// The share does not exist.
    ShareAbsent,
    /// `order_column` or `order_type` is wrong.
    BadOrder,
    /// The replication rule does not exist.
    SyncRuleAbsent,
    /// A tag breaks the grammar.
    BadTag,
    /// The caller may not do this.
    Forbidden,
    /// The image does not exist.
    ImageAbsent,
    /// The organization does not exist.
    NamespaceAbsent,
    /// The organization permission does not exist.
    NamespacePermissionAbsent,
    /// No such URL.
    NoSuchUrl,
    /// The permission does not exist.
    PermissionAbsent,
    /// The repository does not exist.
    RepositoryAbsent,
    /// The tag does not exist.
    TagAbsent,
    /// The trigger does not exist.
    TriggerAbsent,
    /// The layer does not exist.
    LayerAbsent,
    /// The manifest does not exist.
    ManifestAbsent,
    /// The repository still holds images.
    RepositoryNotEmpty,
    /// The organization still holds images.
    NamespaceNotEmpty,
    /// The repository or the destination tag exists.
    ImageExists,
    /// Busy now; the code of a full queue, whose status is 429.
    Busy,
    /// The organization exists.
    NamespaceExists,
    /// The organization permission exists.
    NamespacePermissionExists,
    /// The permission (or another thing of that name) exists.
    PermissionExists,
    /// The body is too large.
    BodyTooLarge,
    /// A fault of ours.
    Internal,
    /// The storage is full or broken.
    Storage,
}

impl ManageCode {
    /// The code as it appears in bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "SVCSTG.SWR.4010000",
            Self::BadSignature => "APIGW.0301",
            Self::CrossesAccounts => "SVCSTG.SWR.4011064",
            Self::BadDigest => "SVCSTG.SWR.4000013",
            Self::BadParameter => "SVCSTG.SWR.4000014",
            Self::BadPageSize => "SVCSTG.SWR.4000056",
            Self::TooManyNamespaces => "SVCSTG.SWR.4000097",
            Self::TooManyRepositories => "SVCSTG.SWR.4000098",
            Self::TooManyTags => "SVCSTG.SWR.4000099",
            Self::RetentionAbsent => "SVCSTG.SWR.4000306",
            Self::BadIsPublic => "SVCSTG.SWR.4001009",
            Self::ParameterMissing => "SVCSTG.SWR.4001014",
            Self::BodyNotJson => "SVCSTG.SWR.4001018",
            Self::BadQuery => "SVCSTG.SWR.4001025",
            Self::BadNamespace => "SVCSTG.SWR.4001028",
            Self::BadRepository => "SVCSTG.SWR.4001029",
            Self::BadFilter => "SVCSTG.SWR.4001035",
            Self::BadNamespacePermission => "SVCSTG.SWR.4001065",
            Self::BadPermission => "SVCSTG.SWR.4001066",
            Self::BadUser => "SVCSTG.SWR.4001067",
            Self::ShareAbsent => "SVCSTG.SWR.4001090",
            Self::BadOrder => "SVCSTG.SWR.4001096",
            Self::SyncRuleAbsent => "SVCSTG.SWR.4001158",
            Self::BadTag => "SVCSTG.SWR.4009021",
            Self::Forbidden => "SVCSTG.SWR.4030170",
            Self::ImageAbsent => "SVCSTG.SWR.4040010",
            Self::NamespaceAbsent => "SVCSTG.SWR.4040058",
            Self::NamespacePermissionAbsent => "SVCSTG.SWR.4040078",
            Self::NoSuchUrl => "SVCSTG.SWR.4040083",
            Self::PermissionAbsent => "SVCSTG.SWR.4040091",
            Self::RepositoryAbsent => "SVCSTG.SWR.4040113",
            Self::TagAbsent => "SVCSTG.SWR.4040115",
            Self::TriggerAbsent => "SVCSTG.SWR.4040126",
            Self::LayerAbsent => "SVCSTG.SWR.4041051",
            Self::ManifestAbsent => "SVCSTG.SWR.4041060",
            Self::RepositoryNotEmpty => "SVCSTG.SWR.4060012",
            Self::NamespaceNotEmpty => "SVCSTG.SWR.4060074",
            Self::ImageExists => "SVCSTG.SWR.4090006",
            Self::Busy => "SVCSTG.SWR.4090023",
            Self::NamespaceExists => "SVCSTG.SWR.4090060",
            Self::NamespacePermissionExists => "SVCSTG.SWR.4090076",
            Self::PermissionExists => "SVCSTG.SWR.4090089",
            Self::BodyTooLarge => "SVCSTG.SWR.4131001",
            Self::Internal => "SVCSTG.SWR.5001101",
            Self::Storage => "SVCSTG.SWR.5070070",
        }
    }

    /// The status that goes with the code: its first three digits, with the two exceptions that the contract names.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated | Self::BadSignature | Self::CrossesAccounts => StatusCode::UNAUTHORIZED,
            Self::BadDigest
            | Self::BadParameter
            | Self::BadPageSize
            | Self::TooManyNamespaces
            | Self::TooManyRepositories
            | Self::TooManyTags
            | Self::RetentionAbsent
            | Self::BadIsPublic
            | Self::ParameterMissing
            | Self::BodyNotJson
            | Self::BadQuery
            | Self::BadNamespace
            | Self::BadRepository
            | Self::BadFilter
            | Self::BadNamespacePermission
            | Self::BadPermission
            | Self::BadUser
            | Self::ShareAbsent
            | Self::BadOrder
            | Self::SyncRuleAbsent
            | Self::BadTag => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::ImageAbsent
            | Self::NamespaceAbsent
            | Self::NamespacePermissionAbsent
            | Self::NoSuchUrl
            | Self::PermissionAbsent
            | Self::RepositoryAbsent
            | Self::TagAbsent
            | Self::TriggerAbsent
            | Self::LayerAbsent
            | Self::ManifestAbsent => StatusCode::NOT_FOUND,
            Self::RepositoryNotEmpty | Self::NamespaceNotEmpty => StatusCode::NOT_ACCEPTABLE,
            Self::ImageExists | Self::NamespaceExists | Self::NamespacePermissionExists | Self::PermissionExists => {
                StatusCode::CONFLICT
            }
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Storage => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// When a queue that is full may have room again, in seconds.
const WAIT_SECONDS: u64 = 5;

/// An error of the management API: becomes a response with the body of contract 6.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManageError {
    code: ManageCode,
    status: StatusCode,
    message: Cow<'static, str>,
    /// Only for status 429.
    wait_seconds: u64,
}

impl ManageError {
    /// An error with the usual status of its code.
    pub fn new(code: ManageCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status: code.status(), message: message.into(), wait_seconds: WAIT_SECONDS }
    }

    /// The same error under another code, with that code's status: for routes on which the contract is more exact.
    #[must_use]
    pub fn with_code(self, code: ManageCode) -> Self {
        Self { code, status: code.status(), ..self }
    }

    /// The same error with another status: where the code stays and only HTTP has something more exact to say.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The answer to a path, or a method on a path, that the API does not have.
    pub fn no_such_url() -> Self {
        Self::new(ManageCode::NoSuchUrl, "no such URL; check path and method")
    }

    /// A fault of ours: the reason goes to the log, the caller sees the request id.
    pub fn internal(reason: &str) -> Self {
        tracing::error!(reason, "internal error");
        Self::new(ManageCode::Internal, "internal error; the log of the region holds the reason under this request id")
    }

    /// The code.
    pub const fn code(&self) -> ManageCode {
        self.code
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence for the caller.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<ServiceError> for ManageError {
    fn from(error: ServiceError) -> Self {
        if let Some(reason) = error.log_reason() {
            return Self::internal(reason);
        }
        let mut refused = Self::new(code_of(&error), error.to_string());
        refused.wait_seconds = error.wait_seconds().unwrap_or(WAIT_SECONDS);
        match error {
            // The caller is right to try again, which a plain 500 does not say.
            ServiceError::Unavailable(_) => refused.with_status(StatusCode::SERVICE_UNAVAILABLE),
            _ => refused,
        }
    }
}

impl From<WholeBodyError> for ManageError {
    fn from(error: WholeBodyError) -> Self {
        let message = error.to_string();
        match error {
            WholeBodyError::TooLarge { .. } => Self::new(ManageCode::BodyTooLarge, message),
            WholeBodyError::Broken => Self::new(ManageCode::BodyNotJson, message),
            // HTTP has something more exact to say than the table of codes.
            WholeBodyError::TooSlow { .. } => {
                Self::new(ManageCode::BodyNotJson, message).with_status(StatusCode::REQUEST_TIMEOUT)
            }
            WholeBodyError::NoRoom => {
                Self { wait_seconds: RETRY_AFTER_SECONDS, ..Self::new(ManageCode::Busy, message) }
            }
        }
    }
}

impl From<AuthFailure> for ManageError {
    fn from(failure: AuthFailure) -> Self {
        let code = match failure {
            AuthFailure::Missing | AuthFailure::Ambiguous | AuthFailure::OtherScheme | AuthFailure::Token(_) => {
                ManageCode::Unauthenticated
            }
            AuthFailure::AccessKey | AuthFailure::Signature(_) => ManageCode::BadSignature,
            AuthFailure::ForeignScope { .. } => ManageCode::Forbidden,
            AuthFailure::Service(error) => return error.into(),
        };
        Self::new(code, failure.to_string())
    }
}

impl From<Refusal> for ManageError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Caller(failure) => failure.into(),
            Refusal::Body(error) => error.into(),
        }
    }
}

/// The code for each refusal of the service (contract 3.5, 6.2).
fn code_of(error: &ServiceError) -> ManageCode {
    match error {
        ServiceError::InvalidNamespace(_) | ServiceError::NamespaceReserved(_) => ManageCode::BadNamespace,
        ServiceError::InvalidRepository(_) => ManageCode::BadRepository,
        ServiceError::InvalidTag(_) => ManageCode::BadTag,
        ServiceError::MissingParameter(_) => ManageCode::ParameterMissing,
        ServiceError::InvalidParameter { .. }
        | ServiceError::RegionUnknown(_)
        | ServiceError::SelfTarget { .. }
        | ServiceError::TooManyTags { .. }
        | ServiceError::Manifest(_)
        | ServiceError::RangeInvalid { .. }
        | ServiceError::SizeDiffers { .. }
        | ServiceError::BodyBroken(_) => ManageCode::BadParameter,
        ServiceError::InvalidLevel(_) => ManageCode::BadNamespacePermission,
        ServiceError::UserAbsent(_) => ManageCode::BadUser,
        ServiceError::DigestMismatch { .. } => ManageCode::BadDigest,
        ServiceError::QuotaExceeded { .. } => ManageCode::TooManyNamespaces,
        ServiceError::NamespaceFull(full) => match full.resource {
            Resource::Repositories => ManageCode::TooManyRepositories,
            Resource::Tags => ManageCode::TooManyTags,
            Resource::Bytes => ManageCode::Forbidden,
        },
        ServiceError::Denied(_) => ManageCode::Forbidden,
        ServiceError::NamespaceAbsent { .. } => ManageCode::NamespaceAbsent,
        ServiceError::RepositoryAbsent(_) => ManageCode::RepositoryAbsent,
        ServiceError::TagAbsent { .. } => ManageCode::TagAbsent,
        ServiceError::ManifestAbsent(_) | ServiceError::ChildUnknown(_) => ManageCode::ManifestAbsent,
        ServiceError::BlobAbsent(_) | ServiceError::BlobUnknown(_) => ManageCode::LayerAbsent,
        ServiceError::UploadAbsent | ServiceError::Absent(_) => ManageCode::ImageAbsent,
        ServiceError::GrantAbsent(_) => ManageCode::NamespacePermissionAbsent,
        ServiceError::NamespaceNotEmpty(_) => ManageCode::NamespaceNotEmpty,
        ServiceError::NamespaceTaken(_) => ManageCode::NamespaceExists,
        ServiceError::RepositoryExists(_)
        | ServiceError::TagExists(_)
        | ServiceError::TagImmutable(_)
        | ServiceError::PreconditionFailed(_)
        | ServiceError::BlobInUse(_) => ManageCode::ImageExists,
        ServiceError::GrantExists(_) => ManageCode::NamespacePermissionExists,
        ServiceError::Exists(_) => ManageCode::PermissionExists,
        ServiceError::QueueFull { .. }
        | ServiceError::UploadBusy
        | ServiceError::TooManyAttempts { .. }
        | ServiceError::TooManyLargeAnswers
        | ServiceError::TooManyUploads { .. } => ManageCode::Busy,
        ServiceError::StorageFull => ManageCode::Storage,
        // `Unavailable`, `Internal` and whatever comes later: a fault on this side.
        _ => ManageCode::Internal,
    }
}

impl IntoResponse for ManageError {
    fn into_response(self) -> Response {
        let (code, message) = (self.code.as_str(), self.message.as_ref());
        let mut body = json!({
            "errors": [{ "errorCode": code, "errorMessage": message, "detail": "" }],
            "error_code": code,
            "error_msg": message,
            "details": [{ "error_code": code, "error_msg": message }],
        });
        if self.code == ManageCode::BadSignature {
            body["request_id"] = json!(context::request_id());
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(self.wait_seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests;
