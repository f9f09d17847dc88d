use super::*;

fn route(path: &str) -> Route {
    Route::parse(path).unwrap()
}

#[test]
fn each_request_needs_the_right_that_its_effect_has() {
    let digest = format!("sha256:{}", "0".repeat(64));
    for (method, path, needed) in [
        ("GET", "/v2/", None),
        ("GET", "/v2/_catalog", None),
        ("GET", "/v2/a/b/tags/list", Some(Action::Pull)),
        ("HEAD", "/v2/a/b/manifests/v1", Some(Action::Pull)),
        ("PUT", "/v2/a/b/manifests/v1", Some(Action::Push)),
        ("DELETE", "/v2/a/b/manifests/v1", Some(Action::Delete)),
        ("GET", &format!("/v2/a/b/blobs/{digest}"), Some(Action::Pull)),
        ("DELETE", &format!("/v2/a/b/blobs/{digest}"), Some(Action::Delete)),
        ("POST", "/v2/a/b/blobs/uploads/", Some(Action::Push)),
        ("GET", "/v2/a/b/blobs/uploads/x", Some(Action::Push)),
        ("DELETE", "/v2/a/b/blobs/uploads/x", Some(Action::Push)),
        ("GET", &format!("/v2/a/b/referrers/{digest}"), Some(Action::Pull)),
    ] {
        let method: Method = method.parse().unwrap();
        assert_eq!(needed_action(&route(path), &method), needed, "{method} {path}");
    }
}

#[test]
fn a_tag_that_cannot_exist_is_absent_to_readers_and_a_mistake_to_writers() {
    let error = Route::parse("/v2/a/b/manifests/.bad").unwrap_err();
    let status = |method: &Method| bad_route(method, &error).into_response().status();
    assert_eq!(status(&Method::GET), StatusCode::NOT_FOUND);
    assert_eq!(status(&Method::HEAD), StatusCode::NOT_FOUND);
    assert_eq!(status(&Method::PUT), StatusCode::BAD_REQUEST);
}

#[test]
fn the_token_endpoint_is_one_path_with_or_without_its_slash() {
    assert!(token::is_at("/swr/auth/v2/registry/auth/"));
    assert!(token::is_at("/swr/auth/v2/registry/auth"));
    assert!(!token::is_at("/swr/auth/v2/registry/auth/x"));
    assert!(!token::is_at("/swr/auth/v2/registry"));
}

#[test]
fn page_sizes_are_numbers_and_never_beyond_the_most() {
    let size = |raw: &str| Query::parse(raw).page_size(1000).map_err(|error| error.into_response().status());
    assert_eq!(size(""), Ok(1000));
    assert_eq!(size("n=0"), Ok(0));
    assert_eq!(size("n=5000000"), Ok(1000));
    for bad in ["n=-1", "n=abc", "n=1.5", "n=", "n=99999999999999999999", "n=1&n=2"] {
        assert_eq!(size(bad), Err(StatusCode::BAD_REQUEST), "{bad}");
    }
}
