//! Scopes: the access that a client requests, in the form of the docker token protocol.
//!
//! Owns the grammar `type[(class)]:name:action,…`. Never decides what is granted, and accepts any name in a scope.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::RepositoryName;
use crate::text::GrammarError;

/// The maximum number of scopes that are read from one token request; a mount needs two.
pub const MAX_SCOPES: usize = 64;
/// The maximum length of a scope that is read: twice what a repository name, a host and all actions need.
pub const MAX_SCOPE_CHARS: usize = 512;

const REPOSITORY: &str = "repository";

/// An action on a resource.
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

/// A resource and the actions on it. Serialised, it is an entry in the `access` claim of a registry token.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The type of the resource: `repository`, or `registry` for the catalog. Other types grant nothing.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of the resource, unchecked: see [`Scope::repository_name`].
    pub name: String,
    /// The actions; unknown ones are dropped.
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

    /// The repository that the scope names; `None` if its type is not `repository` or the name is invalid.
    pub fn repository_name(&self) -> Option<RepositoryName> {
        if self.kind == REPOSITORY { self.name.parse().ok() } else { None }
    }

    /// Whether the scope includes the action, by its own name or by `*`.
    pub fn allows(&self, action: Action) -> bool {
        self.actions.contains(&action) || self.actions.contains(&Action::All)
    }
}

impl FromStr for Scope {
    type Err = GrammarError;

    /// Splits at the first and the last colon, because the name between them may hold a host with a port.
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

/// Reads the `scope` parameters of a token request, each of which may hold several scopes separated by spaces.
///
/// Malformed scopes, and those beyond [`MAX_SCOPES`], are dropped: they grant nothing, and requesting too much is not
/// an error.
pub fn parse_scopes(parameters: &[&str]) -> Vec<Scope> {
    let words = parameters.iter().flat_map(|parameter| parameter.split(' ')).filter(|word| !word.is_empty());
    words.take(MAX_SCOPES).filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
