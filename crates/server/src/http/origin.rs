//! Whether a browser sends a request for a page of another origin.
//!
//! Owns: the comparison of `Origin` with the region's own origin. Never: what is refused.

use http::header::ORIGIN;
use http::{HeaderMap, Uri};

/// Whether a request comes from a page of another origin than `public_url`: any of its `Origin` headers differs, and
/// `null` differs too. Programs other than browsers send none.
pub fn is_foreign(headers: &HeaderMap, public_url: &str) -> bool {
    if !headers.contains_key(ORIGIN) {
        return false;
    }
    let own = origin_of(public_url);
    headers.get_all(ORIGIN).iter().any(|value| {
        let named = value.to_str().ok().and_then(origin_of);
        named.is_none() || named != own
    })
}

/// Scheme, host and port of a URL; `None` if it has no scheme or host.
fn origin_of(url: &str) -> Option<(String, String, u16)> {
    let url: Uri = url.trim().parse().ok()?;
    let scheme = url.scheme_str()?.to_ascii_lowercase();
    let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some((scheme, url.host()?.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::is_foreign;
    use http::{HeaderMap, HeaderValue, header};

    #[test]
    fn only_the_own_origin_is_not_foreign() {
        let foreign = |origins: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(header::ORIGIN, HeaderValue::from_static(origin));
            }
            is_foreign(&headers, "http://127.0.0.1:8080")
        };
        assert!(!foreign(&[]));
        assert!(!foreign(&["http://127.0.0.1:8080"]) && !foreign(&["HTTP://127.0.0.1:8080"]));
        for other in
            ["null", "", "*", "http://127.0.0.1", "https://127.0.0.1:8080", "http://localhost:8080", "http://a.b"]
        {
            assert!(foreign(&[other]), "{other}");
        }
        assert!(foreign(&["http://127.0.0.1:8080", "http://a.b"]));
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static("https://a.b"));
        assert!(!is_foreign(&headers, "https://A.b:443/") && is_foreign(&headers, "http://a.b"));
    }
}
