use http::{HeaderValue, Request, StatusCode, Version};

use super::check;

fn status(target: &str, version: Version, headers: &[(&str, &str)]) -> Option<StatusCode> {
    let mut request = Request::builder().uri(target).version(version);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_str(value).unwrap());
    }
    check(&request.body(()).unwrap().into_parts().0).err().map(|refusal| refusal.status)
}

#[test]
fn heads_of_a_sane_size_with_one_host_pass() {
    let host = ("host", "h");
    let long = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    assert_eq!(status("/v2/", Version::HTTP_11, &[host]), None);
    assert_eq!(status(&long(8192), Version::HTTP_11, &[host]), None);
    assert_eq!(status(&long(8193), Version::HTTP_11, &[host]), Some(StatusCode::URI_TOO_LONG));
    let header = "x".repeat(32 * 1024);
    let too_large = Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(status("/", Version::HTTP_11, &[host, ("x-a", &header)]), too_large);
    assert_eq!(status("/", Version::HTTP_11, &[]), Some(StatusCode::BAD_REQUEST));
    assert_eq!(status("/", Version::HTTP_11, &[host, host]), Some(StatusCode::BAD_REQUEST));
    assert_eq!(status("/", Version::HTTP_2, &[]), None);
    assert_eq!(status("/", Version::HTTP_10, &[]), None);
}
