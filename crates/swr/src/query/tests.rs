use proptest::prelude::{prop_assert_eq, proptest};

use super::*;

#[test]
fn every_spelling_of_a_filter_is_read() {
    for raw in [
        "filter=limit%3A%3A10%7Coffset%3A%3A0%7Corder%3A%3Adesc",
        "filter=limit::10|offset::0|order::desc",
        "filter=limit::10%7Coffset::0%7Corder::desc&limit=99",
    ] {
        let filter = Query::parse(raw).unwrap().effective().unwrap();
        assert_eq!(filter.get("limit"), Some("10"), "{raw}");
        assert_eq!(filter.get("order"), Some("desc"), "{raw}");
    }
}

#[test]
fn plain_parameters_count_without_a_filter_only() {
    let query = Query::parse("limit=5&name=a+b%7E&empty&filter=").unwrap();
    let effective = query.effective().unwrap();
    assert_eq!(effective.get("limit"), Some("5"));
    assert_eq!(effective.get("name"), Some("a b~"));
    assert_eq!(effective.get("empty"), None);
}

#[test]
fn junk_is_named() {
    let error = Query::parse("filter=limit:10").unwrap().effective().unwrap_err();
    assert_eq!(error.code, ErrorCode::BadFilter);
    assert!(error.message.contains("limit:10"), "{}", error.message);
    assert_eq!(Query::parse("limit=1").unwrap().mandatory_filter().unwrap_err().code, ErrorCode::ParameterMissing);
}

#[test]
fn flags_are_read_in_any_case_and_nul_is_no_value() {
    let flag = |raw: &str| Query::parse(raw).unwrap().flag("is_public").map_err(|error| error.code);
    for (raw, expected) in [("", None), ("is_public=true", Some(true)), ("is_public=False", Some(false))] {
        assert_eq!(flag(raw), Ok(expected), "{raw}");
    }
    assert_eq!(flag("is_public=1"), Err(ErrorCode::BadQuery));
    assert_eq!(Query::parse("name=a%00b").unwrap_err().code, ErrorCode::BadQuery);
}

#[test]
fn what_a_filter_cannot_say_is_refused_before_it_is_sent() {
    for (key, value) in [("a|b", "c"), ("a::b", "c"), ("", "c"), ("a", "b|c")] {
        let error = Query::default().with(key, value).into_filter().unwrap_err();
        assert_eq!(error.code, ErrorCode::BadFilter, "{key} {value}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        pairs in proptest::collection::vec(("[a-z_]{1,8}", "[^|\\x00]{1,12}"), 1..6),
    ) {
        let written = pairs.iter().fold(Query::default(), |query, (key, value)| query.with(key, value));
        prop_assert_eq!(Query::parse(&written.to_string()).unwrap(), written.clone());
        let filter = Query::parse(&written.clone().into_filter().unwrap().to_string()).unwrap();
        prop_assert_eq!(filter.effective().unwrap(), written);
    }

    #[test]
    fn no_query_makes_the_reader_panic(raw in "\\PC{0,80}") {
        if let Ok(query) = Query::parse(&raw) {
            let _ = query.effective();
        }
    }
}
