//! The error form of IAM (contract 6.1): `{"error":{"code","message","title"}}`. For a bad signature it also has the
//! flat fields of the gateway (contract 6.3).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use transship_registry::ServiceError;
use transship_swr::ErrorCode;

use crate::caller::{AuthFailure, Refusal};
use crate::http::context;
use crate::http::whole::{RETRY_AFTER_SECONDS, WholeBodyError};

/// An error of IAM: becomes a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IamError {
    status: StatusCode,
    code: Option<&'static str>,
    message: Cow<'static, str>,
    wait_seconds: Option<u64>,
}

impl IamError {
    /// An error with a status and a message.
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: None, message: message.into(), wait_seconds: None }
    }

    /// The answer to a path, or a method on a path, that is not served.
    pub(super) fn no_such_url() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such URL; check path and method")
    }
}

impl From<AuthFailure> for IamError {
    fn from(failure: AuthFailure) -> Self {
        match failure {
            AuthFailure::Service(error) => error.into(),
            AuthFailure::ForeignScope { .. } => Self::new(StatusCode::FORBIDDEN, failure.to_string()),
            AuthFailure::AccessKey | AuthFailure::Signature(_) => {
                let code = Some(ErrorCode::BadSignature.as_str());
                Self { code, ..Self::new(StatusCode::UNAUTHORIZED, failure.to_string()) }
            }
            _ => Self::new(StatusCode::UNAUTHORIZED, failure.to_string()),
        }
    }
}

impl From<WholeBodyError> for IamError {
    fn from(error: WholeBodyError) -> Self {
        let (status, wait_seconds) = match error {
            WholeBodyError::TooLarge { .. } | WholeBodyError::Broken => (StatusCode::BAD_REQUEST, None),
            WholeBodyError::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, None),
            WholeBodyError::NoRoom => (StatusCode::TOO_MANY_REQUESTS, Some(RETRY_AFTER_SECONDS)),
        };
        Self { wait_seconds, ..Self::new(status, error.to_string()) }
    }
}

impl From<Refusal> for IamError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Caller(failure) => failure.into(),
            Refusal::Body(error) => error.into(),
        }
    }
}

impl From<ServiceError> for IamError {
    fn from(error: ServiceError) -> Self {
        let status = match &error {
            ServiceError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            ServiceError::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            ServiceError::UserAbsent(_) | ServiceError::Absent(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if let Some(reason) = error.log_reason() {
            tracing::error!(reason, "internal error");
        }
        Self { wait_seconds: error.wait_seconds(), ..Self::new(status, error.to_string()) }
    }
}

impl IntoResponse for IamError {
    fn into_response(self) -> Response {
        let message = self.message.as_ref();
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut body = json!({ "error": { "code": self.status.as_u16(), "message": message, "title": title } });
        if let Some(code) = self.code {
            body["error_code"] = json!(code);
            body["error_msg"] = json!(message);
            body["request_id"] = json!(context::request_id());
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        if let Some(seconds) = self.wait_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
