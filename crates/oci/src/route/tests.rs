use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{Route, RouteError};
use crate::error::ErrorCode;
use crate::testing::{DIGEST, NAMESPACE, REPOSITORY, TAG, digest, nearly, reference, repository_name, whole};

fn route() -> impl Strategy<Value = Route> + Clone {
    prop_oneof![
        Just(Route::Base),
        Just(Route::Catalog),
        repository_name().prop_map(|name| Route::TagsList { name }),
        (repository_name(), reference()).prop_map(|(name, reference)| Route::Manifest { name, reference }),
        (repository_name(), digest()).prop_map(|(name, digest)| Route::Blob { name, digest }),
        repository_name().prop_map(|name| Route::UploadStart { name }),
        (repository_name(), "[A-Za-z0-9_-]{1,40}|uploads|list|manifests")
            .prop_map(|(name, session)| Route::Upload { name, session }),
        (repository_name(), digest()).prop_map(|(name, digest)| Route::Referrers { name, digest }),
    ]
    .boxed()
}

fn path() -> impl Strategy<Value = String> + Clone {
    route().prop_map(|route| route.path())
}

/// The whole protocol as one pattern; only the length limits are checked separately.
fn is_route(path: &str) -> bool {
    let ends = format!(
        "tags/list|manifests/(?:{TAG}|{DIGEST})|(?:blobs|referrers)/{DIGEST}|blobs/uploads(?:/[A-Za-z0-9_-]{{0,128}})?"
    );
    let pattern = format!("/v2/?|/v2/_catalog|/v2/(?<namespace>{NAMESPACE})/(?<repository>{REPOSITORY})/(?:{ends})");
    let Some(found) = whole(&pattern).captures(path) else { return false };
    let len = |group: &str| found.name(group).map_or(0, |text| text.len());
    len("namespace") <= 64 && len("repository") <= 128
}

/// The path with each byte either as it is or percent-encoded; slashes stay.
fn encoded(path: &str, choices: &[bool]) -> String {
    let mut choices = choices.iter().cycle();
    let encode = |byte: u8| match choices.next() {
        Some(true) if byte != b'/' => format!("%{byte:02X}"),
        _ => char::from(byte).to_string(),
    };
    path.bytes().map(encode).collect()
}

proptest! {
    #[test]
    fn every_route_is_parsed_from_its_path(route in route()) {
        assert_eq!(Route::parse(&route.path()), Ok(route));
    }

    #[test]
    fn paths_are_accepted_exactly_when_the_pattern_does(path in nearly(path(), "/av2.-_:A%tags")) {
        // Encoded paths have their own test below.
        let path = path.replace('%', "");
        let parsed = Route::parse(&path);
        assert_eq!(parsed.is_ok(), is_route(&path), "{path:?} gives {parsed:?}");
        if let Ok(parsed) = parsed {
            assert_eq!(parsed.path().trim_end_matches('/'), path.trim_end_matches('/'));
        }
    }

    #[test]
    fn encoding_does_not_change_a_route(route in route(), choices in vec(any::<bool>(), 1..40)) {
        let path = route.path();
        let Some(rest) = path.strip_prefix("/v2/").filter(|_| route.name().is_some()) else { return Ok(()) };
        assert_eq!(Route::parse(&format!("/v2/{}", encoded(rest, &choices))), Ok(route));
    }

    #[test]
    fn an_encoded_slash_never_makes_a_route(route in route(), position in any::<proptest::sample::Index>()) {
        let path = route.path();
        let slashes = path.match_indices('/').map(|(at, _)| at);
        let slashes: Vec<usize> = slashes.filter(|at| *at > 2 && *at < path.len() - 1).collect();
        if slashes.is_empty() { return Ok(()) }
        let slash = *position.get(&slashes);
        let damaged = format!("{}%2F{}", &path[..slash], &path[slash + 1..]);
        assert!(Route::parse(&damaged).is_err(), "{damaged}");
    }

    #[test]
    fn no_path_makes_the_parser_panic(path in "(/|v2|[a-z]|%[0-9A-F]{2}|%|\\PC|blobs|uploads|manifests|tags|list){0,20}") {
        let _ = Route::parse(&format!("/v2/{path}"));
    }
}

fn code_at(path: &str) -> ErrorCode {
    Route::parse(path).unwrap_err().code()
}

#[test]
fn bad_names_are_told_from_unknown_paths() {
    for path in [
        "/v2/UPPER/repo/tags/list",
        "/v2/UPPER/repo/blobs/uploads/",
        "/v2/a//b/tags/list",
        "/v2/a/%2e%2e/b/tags/list",
        "/v2/a%2fb/tags/list",
        "/v2/a/b%2fc/tags/list",
        "/v2/library%252fx/tags/list",
        "/v2/ubuntu/tags/list",
        "/v2/tags/list",
        "/v2//tags/list",
        "/v2/%ff/b/tags/list",
        "/v2/a/b%00/tags/list",
        "/v2/a$b/c/tags/list",
        "/v2/_oci/ext/tags/list",
    ] {
        assert_eq!(code_at(path), ErrorCode::NameInvalid, "{path}");
    }
    for path in [
        "",
        "/",
        "/v1/",
        "/V2/",
        "//v2/",
        "/v2x",
        "/v2;x/",
        "/v2/./x",
        "/v2/a/b",
        "/v2/%2e%2e/etc/passwd",
        "/v2/a/b/tags/list/",
        "/v2/_catalog/",
    ] {
        assert_eq!(Route::parse(path), Err(RouteError::NotFound), "{path}");
    }
    assert_eq!(RouteError::NotFound.status(), 404);
}

#[test]
fn bad_ends_are_told_apart() {
    let hex = "0".repeat(64);
    for (end, code) in [
        ("manifests/.bad", ErrorCode::ManifestInvalid),
        ("manifests/", ErrorCode::ManifestInvalid),
        ("manifests/a%2Fb", ErrorCode::ManifestInvalid),
        ("manifests/a%0d%0aX:%20y", ErrorCode::DigestInvalid),
        ("manifests/sha256:baddigeststring", ErrorCode::DigestInvalid),
        (&format!("manifests/md5:{hex}"), ErrorCode::DigestInvalid),
        ("blobs/latest", ErrorCode::DigestInvalid),
        (&format!("blobs/sha512:{hex}"), ErrorCode::DigestInvalid),
        ("referrers/latest", ErrorCode::DigestInvalid),
        ("blobs/uploads/..%2fx", ErrorCode::BlobUploadUnknown),
        ("blobs/uploads/..", ErrorCode::BlobUploadUnknown),
        (&format!("blobs/uploads/{}", "a".repeat(10_240)), ErrorCode::BlobUploadUnknown),
    ] {
        assert_eq!(code_at(&format!("/v2/team/app/{end}")), code, "{end}");
    }
}

#[test]
fn both_forms_of_two_paths_are_known() {
    assert_eq!(Route::parse("/v2"), Ok(Route::Base));
    assert_eq!(Route::parse("/v2/team/app/blobs/uploads"), Route::parse("/v2/team/app/blobs/uploads/"));
}
