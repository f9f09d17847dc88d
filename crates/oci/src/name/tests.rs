use proptest::prelude::{Strategy, prop_oneof, proptest};

use super::{NamespaceName, Reference, RegionId, RepositoryName, RepositoryPath, Tag};
use crate::testing::{
    DIGEST, NAMESPACE, REPOSITORY, TAG, assert_accepts_exactly, digest_text, namespace_text, nearly, repository_text,
    tag_text, whole,
};

const NAME_CHARS: &str = "abz019._-/A%$ ";

fn is_namespace(text: &str) -> bool {
    text.len() <= 64 && whole(NAMESPACE).is_match(text)
}

fn is_repository(text: &str) -> bool {
    text.len() <= 128 && whole(REPOSITORY).is_match(text)
}

fn repository_name_text() -> impl Strategy<Value = String> + Clone {
    (namespace_text(), repository_text())
        .prop_map(|(namespace, repository)| format!("{namespace}/{repository}"))
        .boxed()
}

fn reference_text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![tag_text(), digest_text()].boxed()
}

/// Lengths around the limits, which the short texts of the other tests never reach.
fn long(word: &'static str) -> impl Strategy<Value = String> {
    (0..140_usize).prop_map(move |len| word.chars().cycle().take(len).collect())
}

proptest! {
    #[test]
    fn namespaces_keep_their_text(text in namespace_text()) {
        assert_accepts_exactly::<NamespaceName>(&text, true);
    }

    #[test]
    fn namespaces_are_those_of_the_contract(text in nearly(namespace_text(), NAME_CHARS)) {
        assert_accepts_exactly::<NamespaceName>(&text, is_namespace(&text));
    }

    #[test]
    fn repositories_keep_their_text(text in repository_text()) {
        assert_accepts_exactly::<RepositoryPath>(&text, true);
    }

    #[test]
    fn repositories_are_those_of_the_contract(text in nearly(repository_text(), NAME_CHARS)) {
        assert_accepts_exactly::<RepositoryPath>(&text, is_repository(&text));
    }

    #[test]
    fn lengths_are_those_of_the_contract(text in long("ab-")) {
        assert_accepts_exactly::<NamespaceName>(&text, is_namespace(&text));
        assert_accepts_exactly::<RepositoryPath>(&text, is_repository(&text));
        assert_accepts_exactly::<Tag>(&text, whole(TAG).is_match(&text));
        assert_accepts_exactly::<RegionId>(&text, text.len() <= 64 && whole("[a-z0-9]+(-[a-z0-9]+)*").is_match(&text));
    }

    #[test]
    fn repository_names_are_a_namespace_and_a_repository(text in nearly(repository_name_text(), NAME_CHARS)) {
        let parts = text.split_once('/');
        let expected = parts.is_some_and(|(namespace, rest)| is_namespace(namespace) && is_repository(rest));
        assert_accepts_exactly::<RepositoryName>(&text, expected);
    }

    #[test]
    fn repository_names_sort_as_their_texts(one in repository_name_text(), other in repository_name_text()) {
        let names = (one.parse::<RepositoryName>().unwrap(), other.parse::<RepositoryName>().unwrap());
        assert_eq!(names.0.cmp(&names.1), one.cmp(&other));
    }

    #[test]
    fn tags_keep_their_text(text in tag_text()) {
        assert_accepts_exactly::<Tag>(&text, true);
    }

    #[test]
    fn tags_are_those_of_the_specification(text in nearly(tag_text(), "aZ09_.-:/ ")) {
        assert_accepts_exactly::<Tag>(&text, whole(TAG).is_match(&text));
    }

    #[test]
    fn references_are_tags_and_digests(text in nearly(reference_text(), "aZ09_.-:sha256")) {
        assert_accepts_exactly::<Reference>(&text, whole(&format!("{TAG}|{DIGEST}")).is_match(&text));
        if let Ok(reference) = text.parse::<Reference>() {
            assert_eq!(matches!(reference, Reference::Digest(_)), text.contains(':'));
        }
    }

    #[test]
    fn regions_are_words_with_hyphens(text in nearly("[a-z0-9]{1,5}(-[a-z0-9]{1,5}){0,3}", "az09-_.A/:")) {
        let expected = text.len() <= 64 && whole("[a-z0-9]+(-[a-z0-9]+)*").is_match(&text);
        assert_accepts_exactly::<RegionId>(&text, expected);
    }
}

#[test]
fn bad_names_are_refused() {
    for text in [
        "UPPER/repo",
        "a//b",
        "/a",
        "a/",
        "a",
        "",
        "../b",
        "a/../b",
        "a/./b",
        "a..b/c",
        "a___b/c",
        "a.-b/c",
        "a./b",
        "a/b.",
        "ä/b",
        "а/b",
        "ａ/b",
        "a/\u{202e}b",
        "a/b\u{fffd}",
        "a$b/c",
        "a%2fb",
        "library%2fx",
        "_catalog/x",
        "_oci/ext",
        "9team/app",
        "a/b\n",
        "a/b\0",
        "a /b",
    ] {
        assert!(text.parse::<RepositoryName>().is_err(), "{text:?}");
    }
    let components = vec!["a"; 130].join("/");
    assert!(components.parse::<RepositoryName>().is_err());
}

#[test]
fn unusual_names_are_accepted() {
    for text in [
        "a/b",
        "team/app",
        "v2/v2",
        "a---b/c__d",
        "con/aux",
        "manage/x",
        "a/manifests/tags/list",
        "a.b-c_d/0/1/2",
        "team/9",
    ] {
        let name: RepositoryName = text.parse().unwrap();
        assert_eq!(format!("{}/{}", name.namespace(), name.repository()), text);
    }
}

#[test]
fn two_namespaces_are_reserved() {
    for (text, expected) in [("manage", true), ("library", true), ("managed", false), ("team", false)] {
        assert_eq!(text.parse::<NamespaceName>().unwrap().is_reserved(), expected, "{text}");
    }
}

#[test]
fn the_longest_name_leaves_room_for_a_host() {
    let name = RepositoryName::new("n".repeat(64).parse().unwrap(), "r".repeat(128).parse().unwrap());
    assert_eq!(name.as_str().len(), 193);
}

#[test]
fn names_are_json_strings_and_checked_when_read() {
    let name: RepositoryName = serde_json::from_str("\"team/app\"").unwrap();
    assert_eq!(serde_json::to_string(&name).unwrap(), "\"team/app\"");
    assert!(serde_json::from_str::<RepositoryName>("\"team\"").is_err());
    let reference: Reference = serde_json::from_str("\"v1\"").unwrap();
    assert_eq!(serde_json::to_string(&reference).unwrap(), "\"v1\"");
    assert!(serde_json::from_str::<Tag>("\".bad\"").is_err());
    assert_eq!(serde_json::to_string(&"cn-north-4".parse::<RegionId>().unwrap()).unwrap(), "\"cn-north-4\"");
}
