//! The forms of an answer: no content, content, a page of a list; and the format of times (contract 1.1, 1.3, 1.4).

use ::http::{HeaderName, HeaderValue, StatusCode};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;
use transship_registry::Room;
use transship_swr::Page;

use crate::http::pieces;

const CONTENT_RANGE: HeaderName = HeaderName::from_static("content-range");

/// 200 with `{}`: an empty body makes clients fail.
pub(super) fn done() -> Response {
    Json(json!({})).into_response()
}

/// 201 with `{}`.
pub(super) fn created() -> Response {
    (StatusCode::CREATED, Json(json!({}))).into_response()
}

/// 204 without a body.
pub(super) fn gone() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// 200 with this content.
pub(super) fn with(content: &impl Serialize) -> Response {
    Json(content).into_response()
}

/// A bare array with its `Content-Range`; holds `room` until it is sent.
pub(super) fn page<T: Serialize>(page: Page, records: &[T], total: i64, room: Room) -> Response {
    let mut response = pieces::json(&records, room);
    if let Ok(value) = HeaderValue::try_from(page.range(records.len(), total).to_string()) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// RFC 3339 in UTC.
pub(super) fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::{Page, Room, page};

    #[test]
    fn a_page_says_how_many_records_it_has_and_of_how_many() {
        let response = page(Page { limit: 10, offset: 20 }, &[0; 10], 57, Room::default());
        assert_eq!(response.headers()["content-range"], "20-10/57");
    }
}
