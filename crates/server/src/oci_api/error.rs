//! Errors in the shape of the OCI distribution specification.

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use transship_oci::{ErrorBody, ErrorCode, RepositoryName, Route, upload_range};
use transship_registry::ServiceError;

use crate::http::whole::{self, WholeBodyError};

/// Seconds after which a client should retry if a part of the region does not answer.
const RETRY_AFTER_SECONDS: &str = "2";

/// Seconds after which a client should retry if its user has too many open upload sessions.
const UPLOADS_RETRY_AFTER_SECONDS: &str = "60";

/// An error answer.
#[derive(Debug)]
pub(super) struct OciError {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl OciError {
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    /// A parameter or header with an invalid value.
    pub(super) fn bad(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// Whether this is a 401 without a challenge: the organization of the token was deleted and made again.
    pub(super) fn lacks_challenge(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && self.headers.iter().all(|(name, _)| name != header::WWW_AUTHENTICATE)
    }

    /// The error of an operation on a repository; for a chunk out of order it names the session and its offset.
    pub(super) fn on(name: &RepositoryName, error: ServiceError) -> Self {
        if let ServiceError::RangeInvalid { session, offset_bytes } = &error {
            let location = Route::Upload { name: name.clone(), session: session.clone() }.path();
            return Self::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid, error.to_string())
                .with(header::RANGE, upload_range(*offset_bytes))
                .with(header::LOCATION, location);
        }
        error.into()
    }
}

impl From<WholeBodyError> for OciError {
    fn from(error: WholeBodyError) -> Self {
        let message = error.to_string();
        match error {
            WholeBodyError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::ManifestInvalid, message)
            }
            WholeBodyError::Broken => Self::bad(ErrorCode::ManifestInvalid, message),
            WholeBodyError::TooSlow { .. } => Self::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::Unsupported, message),
            WholeBodyError::NoRoom => Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message)
                .with(header::RETRY_AFTER, HeaderValue::from(whole::RETRY_AFTER_SECONDS)),
        }
    }
}

impl From<ServiceError> for OciError {
    fn from(error: ServiceError) -> Self {
        use ServiceError as E;
        let message = error.to_string();
        let (status, code) = match &error {
            E::NamespaceAbsent { .. } | E::RepositoryAbsent(_) | E::Absent(_) => (404, ErrorCode::NameUnknown),
            E::ManifestAbsent(_) | E::TagAbsent { .. } => (404, ErrorCode::ManifestUnknown),
            E::BlobAbsent(_) => (404, ErrorCode::BlobUnknown),
            E::UploadAbsent => (404, ErrorCode::BlobUploadUnknown),
            E::InvalidNamespace(_) | E::NamespaceReserved(_) | E::InvalidRepository(_) => (400, ErrorCode::NameInvalid),
            E::InvalidTag(_) => (400, ErrorCode::ManifestInvalid),
            E::Manifest(error) => (error.status(), error.code()),
            E::BlobUnknown(_) | E::ChildUnknown(_) => (404, ErrorCode::ManifestBlobUnknown),
            E::DigestMismatch { .. } => (400, ErrorCode::DigestInvalid),
            E::SizeDiffers { .. } => (400, ErrorCode::SizeInvalid),
            E::RangeInvalid { .. } => (416, ErrorCode::BlobUploadInvalid),
            E::BodyBroken(_) => (400, ErrorCode::BlobUploadInvalid),
            E::UploadBusy => (409, ErrorCode::BlobUploadInvalid),
            E::PreconditionFailed(_) => (412, ErrorCode::ManifestInvalid),
            E::BlobInUse(_) => (405, ErrorCode::Unsupported),
            E::Denied(_) | E::QuotaExceeded { .. } | E::TagImmutable(_) | E::NamespaceFull(_) => {
                (403, ErrorCode::Denied)
            }
            E::GrantOutdated(_) => (401, ErrorCode::Unauthorized),
            E::TooManyAttempts { .. } | E::TooManyUploads { .. } | E::TooManyLargeAnswers => {
                (429, ErrorCode::TooManyRequests)
            }
            E::StorageFull => (507, ErrorCode::Unsupported),
            E::Unavailable(_) => (503, ErrorCode::Unsupported),
            E::StorageFault(reason) => {
                tracing::error!(reason, "registry request failed");
                (503, ErrorCode::Unsupported)
            }
            E::Internal(reason) => {
                tracing::error!(reason, "registry request failed");
                (500, ErrorCode::Unsupported)
            }
            _ => (400, ErrorCode::Unsupported),
        };
        let wait = error.wait_seconds();
        let error = Self::new(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), code, message);
        match wait {
            Some(seconds) => error.with(header::RETRY_AFTER, HeaderValue::from(seconds)),
            None if status == 503 => error.with(header::RETRY_AFTER, RETRY_AFTER_SECONDS),
            None if status == 429 => error.with(header::RETRY_AFTER, UPLOADS_RETRY_AFTER_SECONDS),
            None => error,
        }
    }
}

impl IntoResponse for OciError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(ErrorBody::new(self.code, self.message))).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}
