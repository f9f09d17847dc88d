use super::{AuthFailure, Credentials, credentials};
use http::request::Parts;

const SIGNED: &str = "SDK-HMAC-SHA256 Access=A, SignedHeaders=x-sdk-date, Signature=00";

fn parts(headers: &[(&str, &str)]) -> Parts {
    let mut builder = http::Request::builder().uri("/v2/manage/namespaces");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

#[test]
fn exactly_one_kind_of_credentials_is_taken() {
    assert!(matches!(credentials(&parts(&[])), Err(AuthFailure::Missing)));
    assert!(matches!(credentials(&parts(&[("x-auth-token", " ")])), Err(AuthFailure::Missing)));
    assert!(matches!(credentials(&parts(&[("x-auth-token", "t")])), Ok(Credentials::Token("t"))));
    assert!(matches!(credentials(&parts(&[("authorization", SIGNED)])), Ok(Credentials::Signature(_))));
    for both in [
        parts(&[("x-auth-token", "t"), ("authorization", SIGNED)]),
        parts(&[("x-auth-token", "t"), ("authorization", "Bearer t")]),
        parts(&[("x-auth-token", "t"), ("x-auth-token", "t")]),
        parts(&[("authorization", SIGNED), ("authorization", SIGNED)]),
    ] {
        assert!(matches!(credentials(&both), Err(AuthFailure::Ambiguous)));
    }
}

#[test]
fn registry_credentials_and_other_algorithms_are_told_apart() {
    for other in ["Basic YTpi", "Bearer abc", "garbage", ""] {
        assert!(matches!(credentials(&parts(&[("authorization", other)])), Err(AuthFailure::OtherScheme)), "{other}");
    }
    for algorithm in ["V11-HMAC-SHA256 Access=A", "SDK-HMAC-SM3 Access=A"] {
        let failure = credentials(&parts(&[("authorization", algorithm)])).unwrap_err();
        assert!(matches!(failure, AuthFailure::Signature(_)), "{algorithm}");
    }
}
