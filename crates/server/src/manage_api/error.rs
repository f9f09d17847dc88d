//! Turns whatever refuses a request into an answer: the code for each refusal of the service, and the one error shape.
//!
//! Owns: which code a refusal has. Never: the codes and the body themselves, which `transship_swr::error` defines.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use transship_catalog::Resource;
use transship_registry::ServiceError;
use transship_swr::{ApiError, ErrorBody, ErrorCode};

use crate::caller::{AuthFailure, Refusal};
use crate::http::context;
use crate::http::whole::{RETRY_AFTER_SECONDS, WholeBodyError};

/// Seconds after which a full queue may have room again.
const WAIT_SECONDS: u64 = 5;

/// An error of the management API: becomes a response with the body of contract 6.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManageError {
    code: ErrorCode,
    status: StatusCode,
    message: Cow<'static, str>,
    /// Only for status 429.
    wait_seconds: u64,
}

impl ManageError {
    /// An error with the usual status of its code.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, status: code.status(), message: message.into(), wait_seconds: WAIT_SECONDS }
    }

    /// The same error under another code, with that code's status, for routes where the contract is more exact.
    #[must_use]
    pub fn with_code(self, code: ErrorCode) -> Self {
        Self { code, status: code.status(), ..self }
    }

    /// The same error with another status, where HTTP has a more exact one and the code stays.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The answer to a path, or a method on a path, that the API does not have.
    pub fn no_such_url() -> Self {
        Self::new(ErrorCode::NoSuchUrl, "no such URL; check path and method")
    }

    /// An error of ours: the log gets the reason, the caller gets the request id.
    pub fn internal(reason: &str) -> Self {
        tracing::error!(reason, "internal error");
        Self::new(ErrorCode::Internal, "internal error; the log of the region holds the reason under this request id")
    }

    /// The code.
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The message for the caller.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<ApiError> for ManageError {
    fn from(error: ApiError) -> Self {
        Self::new(error.code, error.message)
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
            // The caller should retry, which a plain 500 does not say.
            ServiceError::Unavailable(_) => refused.with_status(StatusCode::SERVICE_UNAVAILABLE),
            _ => refused,
        }
    }
}

impl From<WholeBodyError> for ManageError {
    fn from(error: WholeBodyError) -> Self {
        let message = error.to_string();
        match error {
            WholeBodyError::TooLarge { .. } => Self::new(ErrorCode::BodyTooLarge, message),
            WholeBodyError::Broken => Self::new(ErrorCode::BodyNotJson, message),
            // HTTP has a more exact status than the table of codes.
            WholeBodyError::TooSlow { .. } => {
                Self::new(ErrorCode::BodyNotJson, message).with_status(StatusCode::REQUEST_TIMEOUT)
            }
            WholeBodyError::NoRoom => Self { wait_seconds: RETRY_AFTER_SECONDS, ..Self::new(ErrorCode::Busy, message) },
        }
    }
}

impl From<AuthFailure> for ManageError {
    fn from(failure: AuthFailure) -> Self {
        let code = match failure {
            AuthFailure::Missing | AuthFailure::Ambiguous | AuthFailure::OtherScheme | AuthFailure::Token(_) => {
                ErrorCode::Unauthenticated
            }
            AuthFailure::AccessKey | AuthFailure::Signature(_) => ErrorCode::BadSignature,
            AuthFailure::ForeignScope { .. } => ErrorCode::Forbidden,
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
fn code_of(error: &ServiceError) -> ErrorCode {
    match error {
        ServiceError::InvalidNamespace(_) | ServiceError::NamespaceReserved(_) => ErrorCode::BadNamespace,
        ServiceError::InvalidRepository(_) => ErrorCode::BadRepository,
        ServiceError::InvalidTag(_) => ErrorCode::BadTag,
        ServiceError::MissingParameter(_) => ErrorCode::ParameterMissing,
        ServiceError::InvalidParameter { .. }
        | ServiceError::RegionUnknown(_)
        | ServiceError::SelfTarget { .. }
        | ServiceError::TooManyTags { .. }
        | ServiceError::Manifest(_)
        | ServiceError::RangeInvalid { .. }
        | ServiceError::SizeDiffers { .. }
        | ServiceError::BodyBroken(_) => ErrorCode::BadParameter,
        ServiceError::InvalidLevel(_) => ErrorCode::BadNamespacePermission,
        ServiceError::UserAbsent(_) => ErrorCode::BadUser,
        ServiceError::DigestMismatch { .. } => ErrorCode::BadDigest,
        ServiceError::QuotaExceeded { .. } => ErrorCode::TooManyNamespaces,
        ServiceError::NamespaceFull(full) => match full.resource {
            Resource::Repositories => ErrorCode::TooManyRepositories,
            Resource::Tags => ErrorCode::TooManyTags,
            Resource::Bytes => ErrorCode::Forbidden,
        },
        ServiceError::Denied(_) => ErrorCode::Forbidden,
        ServiceError::NamespaceAbsent { .. } => ErrorCode::NamespaceAbsent,
        ServiceError::RepositoryAbsent(_) => ErrorCode::RepositoryAbsent,
        ServiceError::TagAbsent { .. } => ErrorCode::TagAbsent,
        ServiceError::ManifestAbsent(_) | ServiceError::ChildUnknown(_) => ErrorCode::ManifestAbsent,
        ServiceError::BlobAbsent(_) | ServiceError::BlobUnknown(_) => ErrorCode::LayerAbsent,
        ServiceError::UploadAbsent | ServiceError::Absent(_) => ErrorCode::ImageAbsent,
        ServiceError::GrantAbsent(_) => ErrorCode::NamespacePermissionAbsent,
        ServiceError::NamespaceNotEmpty(_) => ErrorCode::NamespaceNotEmpty,
        ServiceError::NamespaceTaken(_) => ErrorCode::NamespaceExists,
        ServiceError::RepositoryExists(_)
        | ServiceError::TagExists(_)
        | ServiceError::TagImmutable(_)
        | ServiceError::PreconditionFailed(_)
        | ServiceError::BlobInUse(_) => ErrorCode::ImageExists,
        ServiceError::GrantExists(_) => ErrorCode::NamespacePermissionExists,
        ServiceError::Exists(_) => ErrorCode::PermissionExists,
        ServiceError::QueueFull { .. }
        | ServiceError::UploadBusy
        | ServiceError::TooManyAttempts { .. }
        | ServiceError::TooManyLargeAnswers
        | ServiceError::TooManyUploads { .. } => ErrorCode::Busy,
        ServiceError::StorageFull => ErrorCode::Storage,
        // `Unavailable`, `Internal` and whatever comes later: a fault on this side.
        _ => ErrorCode::Internal,
    }
}

impl IntoResponse for ManageError {
    fn into_response(self) -> Response {
        let request_id = (self.code == ErrorCode::BadSignature).then(context::request_id);
        let body = ErrorBody::new(self.code, &self.message, request_id);
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(self.wait_seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests;
