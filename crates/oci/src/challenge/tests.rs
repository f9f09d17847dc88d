use proptest::option;
use proptest::prelude::{Strategy, proptest};

use super::{Challenge, INSUFFICIENT_SCOPE, INVALID_TOKEN};
use crate::testing::{nearly, whole};

fn challenge() -> impl Strategy<Value = Challenge> + Clone {
    let text = "[ -~]{0,12}";
    (text, text, option::of(text), option::of(text))
        .prop_map(|(realm, service, scope, error)| Challenge { realm, service, scope, error })
        .boxed()
}

/// Lists of challenges in many forms, most with a Bearer challenge somewhere.
fn header() -> impl Strategy<Value = String> + Clone {
    let before = r#"(Basic realm=x|Negotiate|Digest a="b,c", d=e), ?|"#;
    let bearer = r#"[Bb]earer (scope=x, ?)?realm=("[a-z:/ ]{0,5}"|[a-z]{1,5})(,service="[a-z]{0,4}")?"#;
    let after = r#"( , Basic realm="x\\"y")?"#;
    (before, bearer, after).prop_map(|(before, bearer, after)| before + &bearer + &after).boxed()
}

/// RFC 9110, section 11: a list of challenges, one of which is Bearer with a realm.
fn is_bearer_list(header: &str) -> bool {
    let token = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+";
    let value = format!(r#"(?:{token}|"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t -~])*")"#);
    let comma = r"[ \t]*,[ \t]*";
    let parameter = format!("{token}={value}");
    let challenge = format!(r"{token}(?: [ \t]*{parameter}(?:{comma}{parameter})*)?");
    let bearer = format!(r"(?i:bearer) [ \t]*(?:{parameter}{comma})*(?i:realm)={value}(?:{comma}{parameter})*");
    whole(&format!(r"[ \t]*(?:{challenge}{comma})*{bearer}(?:{comma}{challenge})*[ \t]*")).is_match(header)
}

proptest! {
    #[test]
    fn challenges_keep_their_text(challenge in challenge()) {
        let header = challenge.to_string();
        assert!(is_bearer_list(&header));
        assert_eq!(header.parse(), Ok(challenge));
    }

    #[test]
    fn challenges_are_those_of_http(header in nearly(header(), "Bearer realm=\"\\,ab ")) {
        let parsed = header.parse::<Challenge>();
        assert_eq!(parsed.is_ok(), is_bearer_list(&header), "{header:?} gives {parsed:?}");
    }

    #[test]
    fn no_value_can_break_out_of_the_header(realm in "\\PC{0,20}|[\r\n\"\\\\a]{0,9}") {
        let header = Challenge { realm, ..Challenge::default() }.to_string();
        assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
        assert_eq!(header.parse::<Challenge>().unwrap().service, "");
    }
}

#[test]
fn format_is_the_one_that_docker_expects() {
    let challenge = Challenge {
        realm: "https://registry.example.com/swr/auth/v2/registry/auth/".into(),
        service: "dockyard".into(),
        scope: Some("repository:team/app:pull,push".into()),
        error: Some(INSUFFICIENT_SCOPE.into()),
    };
    let expected = "Bearer realm=\"https://registry.example.com/swr/auth/v2/registry/auth/\",service=\"dockyard\",\
                    scope=\"repository:team/app:pull,push\",error=\"insufficient_scope\"";
    assert_eq!(challenge.to_string(), expected);
    let bare = Challenge { scope: None, error: Some(INVALID_TOKEN.into()), ..challenge };
    assert!(bare.to_string().ends_with("service=\"dockyard\",error=\"invalid_token\""));
}

#[test]
fn the_bearer_challenge_is_found_among_others() {
    let header = r#"Basic realm="Bearer realm=evil, a", bearer realm="https://a/token", Service=x, error="a\"b""#;
    let challenge: Challenge = header.parse().unwrap();
    assert_eq!(challenge.realm, "https://a/token");
    assert_eq!(challenge.service, "x");
    assert_eq!(challenge.error.as_deref(), Some("a\"b"));
    for header in [
        "",
        "Basic realm=\"x\"",
        "Bearer",
        "Bearer service=\"x\"",
        "Bearer realm=\"x",
        "realm=\"x\"",
        "Bearer realm=\"x\" y",
        "Bearer realm=x,",
        "A b,Bearer realm=x",
    ] {
        assert!(header.parse::<Challenge>().is_err(), "{header}");
    }
}
