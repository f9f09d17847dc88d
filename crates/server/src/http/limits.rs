//! Checks a request head before anybody interprets it (bad-inputs F, HTTP layer). [`super::head`] has already checked
//! heads of HTTP/1; these checks hold for both versions.

use http::request::Parts;
use http::{StatusCode, Version, header};

/// Maximum length of a request target.
pub(super) const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Maximum size of all header names and values together.
pub(super) const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Why a request head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: &'static str,
}

/// Checks sizes and the Host header.
pub(super) fn check(parts: &Parts) -> Result<(), Refusal> {
    let refuse = |status, message| Err(Refusal { status, message });
    let target_bytes = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > MAX_TARGET_BYTES {
        return refuse(StatusCode::URI_TOO_LONG, "the request target is longer than 8 KiB");
    }
    let header_bytes: usize =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.as_bytes().len() + 4).sum();
    if header_bytes > MAX_HEADER_BYTES {
        return refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are larger than 32 KiB");
    }
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    if hosts > 1 {
        return refuse(StatusCode::BAD_REQUEST, "there is more than one Host header");
    }
    if hosts == 0 && parts.version == Version::HTTP_11 {
        return refuse(StatusCode::BAD_REQUEST, "there is no Host header");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
