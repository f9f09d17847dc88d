use super::{GrammarError, excerpt};

#[test]
fn error_names_the_kind_the_value_and_the_rule() {
    let error = GrammarError::new("tag", "a b", "no space");
    assert_eq!(error.to_string(), "invalid tag \"a b\": expected no space");
}

#[test]
fn excerpt_is_short_and_on_one_line() {
    assert_eq!(excerpt("it's \"fine\""), "it's \"fine\"");
    assert_eq!(excerpt("a\r\nX: y\0\u{202e}"), "a\\r\\nX: y\\0\\u{202e}");
    assert_eq!(excerpt(&"ä".repeat(100)), "ä".repeat(100));
    assert_eq!(excerpt(&"ä".repeat(101)), format!("{}…", "ä".repeat(100)));
}
