//! Shared by the property tests: generators of valid and nearly valid texts, and the check that a parser accepts
//! exactly the texts that an independent pattern accepts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::Index;
use regex::Regex;

use crate::digest::{Digest, DigestAlgorithm};
use crate::name::{NamespaceName, Reference, RepositoryName, RepositoryPath, Tag};

/// The contract's pattern of a namespace, without its limit of length.
pub(crate) const NAMESPACE: &str = r"[a-z][a-z0-9]*(?:(?:\.|_|__|-+)[a-z0-9]+)*";
/// The contract's pattern of a repository path, without its limit of length.
pub(crate) const REPOSITORY: &str = r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*";
/// The contract's pattern of a tag.
pub(crate) const TAG: &str = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}";
/// The two digests of the image specification.
pub(crate) const DIGEST: &str = r"(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})";

thread_local! {
    /// Compiled patterns: compiling one takes much longer than matching a text.
    static PATTERNS: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// Compiles the pattern so that it matches whole texts only.
pub(crate) fn whole(pattern: &str) -> Regex {
    let compile = || Regex::new(&format!(r"\A(?:{pattern})\z")).unwrap();
    PATTERNS.with_borrow_mut(|patterns| patterns.entry(pattern.to_owned()).or_insert_with(compile).clone())
}

/// Checks that a text is accepted exactly when it should be, and that its value is shown as the same text.
pub(crate) fn assert_accepts_exactly<T>(text: &str, expected: bool)
where
    T: FromStr + Display,
    T::Err: Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            assert!(expected, "{text:?} must be refused");
            assert_eq!(value.to_string(), text);
        }
        Err(error) => assert!(!expected, "{text:?} must be accepted: {error:?}"),
    }
}

/// Generates valid texts, valid texts with a few characters changed, texts of the alphabet, and arbitrary texts.
pub(crate) fn nearly(
    valid: impl Strategy<Value = String> + Clone + 'static,
    alphabet: &'static str,
) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => valid.clone(),
        4 => (valid, vec(edit(alphabet), 1..4)).prop_map(edited),
        3 => vec(char_of(alphabet), 0..12).prop_map(String::from_iter),
        1 => any::<String>(),
    ]
}

fn edited((text, edits): (String, Vec<Edit>)) -> String {
    edits.into_iter().fold(text, |text, edit| apply(&text, edit))
}

/// One change of a text: the position, the number of characters to remove there, and the character to insert.
type Edit = (Index, usize, Option<char>);

fn edit(alphabet: &'static str) -> impl Strategy<Value = Edit> {
    let put = prop_oneof![6 => char_of(alphabet).prop_map(Some), 1 => any::<Option<char>>()];
    (any::<Index>(), 0..2_usize, put)
}

fn apply(text: &str, (position, removed, put): Edit) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let position = position.index(chars.len() + 1);
    let end = (position + removed).min(chars.len());
    chars.splice(position..end, put);
    chars.into_iter().collect()
}

fn char_of(alphabet: &'static str) -> impl Strategy<Value = char> {
    let chars: Vec<char> = alphabet.chars().collect();
    any::<Index>().prop_map(move |index| *index.get(&chars))
}

pub(crate) fn namespace_text() -> impl Strategy<Value = String> + Clone {
    r"[a-z][a-z0-9]{0,8}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,4}"
}

/// Sometimes includes words of the protocol, because those are valid components.
pub(crate) fn repository_text() -> impl Strategy<Value = String> + Clone {
    r"([a-z0-9]{1,6}|tags|blobs|referrers)((\.|_|__|-{1,3}|/)([a-z0-9]{1,6}|tags|list|blobs|uploads|manifests)){0,6}"
}

pub(crate) fn tag_text() -> impl Strategy<Value = String> + Clone {
    r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}|list|uploads|latest"
}

pub(crate) fn digest_text() -> impl Strategy<Value = String> + Clone {
    r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}"
}

pub(crate) fn algorithm() -> impl Strategy<Value = DigestAlgorithm> {
    prop_oneof![proptest::strategy::Just(DigestAlgorithm::Sha256), proptest::strategy::Just(DigestAlgorithm::Sha512)]
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    (algorithm(), any::<[u8; 4]>()).prop_map(|(algorithm, content)| Digest::of(algorithm, &content))
}

pub(crate) fn repository_name() -> impl Strategy<Value = RepositoryName> {
    (namespace_text(), repository_text()).prop_map(|(namespace, repository)| {
        RepositoryName::new(namespace.parse::<NamespaceName>().unwrap(), repository.parse::<RepositoryPath>().unwrap())
    })
}

pub(crate) fn reference() -> impl Strategy<Value = Reference> {
    prop_oneof![
        tag_text().prop_map(|text| Reference::Tag(text.parse::<Tag>().unwrap())),
        digest().prop_map(Reference::Digest)
    ]
}
