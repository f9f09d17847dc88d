//! Blobs: pull whole or in ranges, and delete (end-2, end-10).

use ::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use transship_oci::{ByteRange, Digest, RepositoryName};

use super::Call;
use super::error::OciError;
use super::manifests::{DOCKER_CONTENT_DIGEST, text_header};

/// `GET` and `HEAD /v2/{name}/blobs/{digest}`.
///
/// Blobs can hold anything, also HTML, on the registry's own origin. So they are served as bytes to save, never to
/// display (H16, content sniffing).
pub(super) async fn get(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Response, OciError> {
    let blob = call.registry.content().find_blob(call.may(name)?, digest).await?;
    let is_head = call.parts.method == Method::HEAD;
    let etag = format!("\"{digest}\"");
    let asked = call.parts.headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let asked = asked.filter(|_| !is_head && is_same_content(&call.parts.headers, &etag));
    let range = asked.map_or(ByteRange::Whole, |text| ByteRange::parse(text, blob.size_bytes));
    let (status, length, content) = match &range {
        ByteRange::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, 0, None),
        ByteRange::Part(part) => {
            let (first, last) = (*part.start(), *part.end());
            (StatusCode::PARTIAL_CONTENT, last - first + 1, Some(first..last + 1))
        }
        ByteRange::Whole => (StatusCode::OK, blob.size_bytes, Some(0..blob.size_bytes)),
    };
    let body = match content {
        Some(content) if !is_head && length > 0 => {
            Body::from_stream(call.registry.content().read_blob(&blob, Some(content)).await?)
        }
        _ => Body::empty(),
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::ETAG, text_header(&etag));
    headers.insert(DOCKER_CONTENT_DIGEST, text_header(digest.as_str()));
    if let Some(content_range) = range.content_range(blob.size_bytes) {
        headers.insert(header::CONTENT_RANGE, text_header(&content_range));
    }
    Ok(response)
}

/// Whether `If-Range` allows a range: it is absent, or exactly the strong validator of this content. Weak validators
/// and dates never match, so clients that send them get the whole blob (RFC 9110, 13.1.5).
fn is_same_content(headers: &HeaderMap, etag: &str) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes() == etag.as_bytes(),
        (Some(_), Some(_)) => false,
    }
}

/// `DELETE /v2/{name}/blobs/{digest}`.
pub(super) async fn delete(call: &Call, name: &RepositoryName, digest: &Digest) -> Result<Response, OciError> {
    call.registry.content().delete_blob(call.may(name)?, digest).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
