//! Scopes: what a client asks to be allowed, in the words of the docker token protocol.
//!
//! Owns the grammar `type[(class)]:name:action,…`. What is granted is decided elsewhere; a name in a scope may be
//! anything.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::RepositoryName;
use crate::text::GrammarError;

/// The most scopes of one token request that are looked at; a mount needs two.
pub const MAX_SCOPES: usize = 64;
/// The longest scope that is looked at: a repository name, a host and all actions fit twice.
pub const MAX_SCOPE_CHARS: usize = 512;

const REPOSITORY: &str = "repository";

/// What may be done with a resource.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Read.
    #[serde(rename = "pull")]
    Pull,
    /// Write.
    #[serde(rename = "push")]
    Push,
    /// Remove.
    #[serde(rename = "delete")]
    Delete,
    /// Everything.
    #[serde(rename = "*")]
    All,
}

impl Action {
    const EVERY: [Action; 4] = [Action::Pull, Action::Push, Action::Delete, Action::All];

    /// The word in a scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Delete => "delete",
            Action::All => "*",
        }
    }

    fn find(text: &str) -> Option<Action> {
        Self::EVERY.into_iter().find(|action| action.as_str() == text)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A resource and what may be done with it. Serialised, it is an entry of a registry token's `access` claim.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The type of resource: `repository`, or `registry` for the catalog. Others grant nothing.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of the resource, not checked: see [`Scope::repository_name`].
    pub name: String,
    /// The actions; words that are none are left out.
    pub actions: BTreeSet<Action>,
}

impl Scope {
    /// The scope of these actions on a repository.
    pub fn repository(name: &RepositoryName, actions: &[Action]) -> Scope {
        Scope {
            kind: REPOSITORY.to_owned(),
            name: name.as_str().to_owned(),
            actions: actions.iter().copied().collect(),
        }
    }

    /// The repository that the scope is about, if it is about one and its name is valid.
    pub fn repository_name(&self) -> Option<RepositoryName> {
        if self.kind == REPOSITORY { self.name.parse().ok() } else { None }
    }

    /// Whether the action is among the scope's, by its own name or by `*`.
    pub fn allows(&self, action: Action) -> bool {
        self.actions.contains(&action) || self.actions.contains(&Action::All)
    }
}

impl FromStr for Scope {
    type Err = GrammarError;

    /// The type ends at the first colon and the actions begin after the last, because a name may hold a host with a
    /// port.
    fn from_str(text: &str) -> Result<Self, GrammarError> {
        parse(text).ok_or_else(|| GrammarError::new("scope", text, "\"type:name:action,action\""))
    }
}

fn parse(text: &str) -> Option<Scope> {
    if text.len() > MAX_SCOPE_CHARS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let (kind, rest) = text.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let kind = match kind.split_once('(') {
        Some((kind, class)) if is_word(class.strip_suffix(')')?) => kind,
        Some(_) => return None,
        None => kind,
    };
    if !is_word(kind) || name.is_empty() {
        return None;
    }
    let actions = actions.split(',').filter_map(Action::find).collect();
    Some(Scope { kind: kind.to_owned(), name: name.to_owned(), actions })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<&str> = self.actions.iter().map(|action| action.as_str()).collect();
        write!(formatter, "{}:{}:{}", self.kind, self.name, actions.join(","))
    }
}

/// Reads the `scope` parameters of a token request, each of which may hold several scopes with spaces between them.
///
/// Malformed scopes, and those beyond [`MAX_SCOPES`], are left out: they grant nothing, and asking for too much is no
/// error.
pub fn parse_scopes(parameters: &[&str]) -> Vec<Scope> {
    let words = parameters.iter().flat_map(|parameter| parameter.split(' ')).filter(|word| !word.is_empty());
    words.take(MAX_SCOPES).filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
