//! Names of namespaces, repositories, tags, references and regions.
//!
//! Owns their grammar (contract 2.1). Never decides whether a name exists or may be created.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::text::{GrammarError, checked_text};

/// The maximum length of a namespace name (contract 2.1).
pub const MAX_NAMESPACE_CHARS: usize = 64;
/// The maximum length of a repository path below a namespace (contract 2.1).
pub const MAX_REPOSITORY_CHARS: usize = 128;
/// The maximum length of a tag (OCI distribution specification).
pub const MAX_TAG_CHARS: usize = 128;
/// The maximum length of a region id, the same as for a namespace.
pub const MAX_REGION_CHARS: usize = 64;

checked_text! {
    /// A namespace, which the management API calls an organization: the first component of a repository name.
    NamespaceName, "namespace", is_namespace,
    "1 to 64 of a-z, 0-9 and single separators (a dot, one or two underscores, hyphens), a letter first"
}

checked_text! {
    /// The part of a repository name below its namespace; it may hold slashes.
    RepositoryPath, "repository", is_repository,
    "1 to 128 of a-z, 0-9 and single separators (a dot, a slash, one or two underscores, hyphens) between them"
}

checked_text! {
    /// A tag of a repository.
    Tag, "tag", is_tag, "1 to 128 of A-Z, a-z, 0-9, underscore, dot and hyphen, the last two not first"
}

checked_text! {
    /// The id of a region, such as `cn-north-4`; a key into the configuration, never an address.
    RegionId, "region", is_region, "1 to 64 of a-z and 0-9 in words joined by single hyphens"
}

fn is_namespace(text: &str) -> bool {
    text.len() <= MAX_NAMESPACE_CHARS
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && is_words(text, false)
}

fn is_repository(text: &str) -> bool {
    text.len() <= MAX_REPOSITORY_CHARS && is_words(text, true)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG_CHARS
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

fn is_region(text: &str) -> bool {
    text.len() <= MAX_REGION_CHARS && text.split('-').all(|word| !word.is_empty() && word.bytes().all(is_word_byte))
}

/// Whether the text consists of words of `a-z0-9`, joined by one separator each: `.`, `_`, `__`, any number of `-`, or
/// `/` if slashes are allowed.
fn is_words(text: &str, slash_allowed: bool) -> bool {
    let mut rest = text.as_bytes();
    loop {
        let word_len = rest.iter().take_while(|byte| is_word_byte(**byte)).count();
        rest = &rest[word_len..];
        if word_len == 0 || rest.is_empty() {
            return word_len > 0;
        }
        let separator_len = rest.iter().take_while(|byte| !is_word_byte(**byte)).count();
        let (separator, after) = rest.split_at(separator_len);
        let is_separator = match separator {
            b"." | b"_" | b"__" => true,
            b"/" => slash_allowed,
            other => other.iter().all(|byte| *byte == b'-'),
        };
        if !is_separator {
            return false;
        }
        rest = after;
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

impl NamespaceName {
    /// Whether the name is reserved, so that nobody may own it: `manage` would hide the paths of the management API,
    /// and the contract reserves `library`.
    pub fn is_reserved(&self) -> bool {
        matches!(self.as_str(), "manage" | "library")
    }
}

/// The full name of a repository: its namespace, a slash, its path.
///
/// The limits of the parts keep it to 193 characters. Clients refuse a host and a name of more than 255 characters
/// together, so the host may have up to 61.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName {
    // The text is the first field, so that names sort as their texts do.
    text: String,
    namespace: NamespaceName,
    repository: RepositoryPath,
}

impl RepositoryName {
    /// Joins a namespace and a path to a full name.
    pub fn new(namespace: NamespaceName, repository: RepositoryPath) -> Self {
        Self { text: format!("{namespace}/{repository}"), namespace, repository }
    }

    /// The namespace.
    pub fn namespace(&self) -> &NamespaceName {
        &self.namespace
    }

    /// The path below the namespace.
    pub fn repository(&self) -> &RepositoryPath {
        &self.repository
    }

    /// The whole name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for RepositoryName {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let (namespace, repository) = text
            .split_once('/')
            .ok_or_else(|| GrammarError::new("repository name", text, "a namespace, a slash and a repository"))?;
        Ok(Self::new(namespace.parse()?, repository.parse()?))
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = GrammarError;

    fn try_from(text: String) -> Result<Self, GrammarError> {
        text.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> String {
        name.text
    }
}

impl AsRef<str> for RepositoryName {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RepositoryName({})", self.text)
    }
}

/// The name of a manifest in its repository: a tag, which may move, or a digest, which cannot.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reference {
    /// A tag.
    Tag(Tag),
    /// A digest.
    Digest(Digest),
}

impl Reference {
    /// The reference as text.
    pub fn as_str(&self) -> &str {
        match self {
            Reference::Tag(tag) => tag.as_str(),
            Reference::Digest(digest) => digest.as_str(),
        }
    }
}

impl FromStr for Reference {
    type Err = GrammarError;

    /// Text with a colon is read as a digest: every digest has a colon, and no tag can have one.
    fn from_str(text: &str) -> Result<Self, GrammarError> {
        if text.contains(':') { text.parse().map(Reference::Digest) } else { text.parse().map(Reference::Tag) }
    }
}

impl TryFrom<String> for Reference {
    type Error = GrammarError;

    fn try_from(text: String) -> Result<Self, GrammarError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        match reference {
            Reference::Tag(tag) => tag.into(),
            Reference::Digest(digest) => digest.into(),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Reference {
        Reference::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Reference {
        Reference::Digest(digest)
    }
}

impl AsRef<str> for Reference {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
