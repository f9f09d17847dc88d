//! `X-Request-Id`: taken from the caller if valid, generated otherwise, and sent on every response.

use http::{HeaderMap, HeaderName};
use uuid::Uuid;

/// The header of the management and registry APIs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header in which IAM answers carry the same id (contract 6.1).
pub(super) const IAM_TRACE_ID: HeaderName = HeaderName::from_static("x-iam-trace-id");
/// Maximum length of a caller's id. A longer one is abuse, not a trace id.
const MAX_CHARS: usize = 64;

/// The id for a request with these headers.
pub(super) fn of(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_valid(id));
    given.map_or_else(|| Uuid::now_v7().simple().to_string(), str::to_owned)
}

fn is_valid(id: &str) -> bool {
    (1..=MAX_CHARS).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::{REQUEST_ID, of};
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn a_good_id_is_kept_and_any_other_is_replaced() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers).len(), 32);
        headers.insert(REQUEST_ID, HeaderValue::from_static("a-B_c.9"));
        assert_eq!(of(&headers), "a-B_c.9");
        for bad in ["", "a b", "a\"b", "a/b", &"x".repeat(65)] {
            headers.insert(REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            assert_eq!(of(&headers).len(), 32, "{bad}");
        }
    }
}
