//! A path that is accepted is decoded exactly once, names only what the grammars allow, and comes back from its own
//! text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use transship_oci::{Route, RouteError};

fuzz_target!(|path: &str| {
    match Route::parse(path) {
        Ok(route) => check(path, &route),
        Err(error) => {
            assert!(matches!(error.status(), 400 | 404), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
            assert!(error != RouteError::NotFound || error.status() == 404);
        }
    }
});

fn check(path: &str, route: &Route) {
    let canonical = route.path();
    assert_eq!(Route::parse(&canonical).as_ref(), Ok(route), "{path:?}");
    assert!(canonical.starts_with("/v2/"));
    assert!(canonical.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-:".contains(&byte)), "{canonical}");
    let decoded = percent_decode_str(path).decode_utf8().expect("what is accepted is text");
    assert_eq!(decoded.trim_end_matches('/'), canonical.trim_end_matches('/'));
    assert_eq!(path.matches('/').count(), decoded.matches('/').count(), "an encoded slash separates nothing");
    if let Some(name) = route.name() {
        check_name(name.as_str());
    }
    if let Route::Upload { session, .. } = route {
        assert!((1..=128).contains(&session.len()) && !session.contains(['/', '.']));
    }
}

fn check_name(name: &str) {
    let (namespace, repository) = name.split_once('/').expect("a name has two parts");
    assert!((1..=64).contains(&namespace.len()) && (1..=128).contains(&repository.len()));
    assert!(name.starts_with(|first: char| first.is_ascii_lowercase()));
    assert!(
        !["..", "//", "./", "/.", "___", ".-", "-.", "_-", "-_", "._", "_.", "/-", "-/", "/_", "_/"]
            .iter()
            .any(|pair| name.contains(pair))
    );
    assert!(name.ends_with(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit()));
}
