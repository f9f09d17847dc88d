//! The answers that have no content of their own, and the form of times (contract 1.1, 1.4).

use ::http::StatusCode;
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

/// 200 with `{}`: an empty body makes clients fail.
pub(super) fn done() -> Response {
    Json(json!({})).into_response()
}

/// 201 with `{}`.
pub(super) fn created() -> Response {
    (StatusCode::CREATED, Json(json!({}))).into_response()
}

/// 204 with nothing.
pub(super) fn gone() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// RFC 3339 in UTC.
pub(super) fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default().to_string()
}
