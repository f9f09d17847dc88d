//! What a namespace may use, and the refusal of more.
//!
//! Owns: the kinds of things that are limited. Never: counting them ([`crate::quotas`]).

use std::fmt;

use transship_oci::NamespaceName;

/// What a namespace has a quota of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of the distinct blobs that its repositories link, of its distinct manifests, and of open upload sessions.
    Bytes,
    /// Repositories.
    Repositories,
    /// Tags.
    Tags,
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Bytes => "bytes",
            Self::Repositories => "repositories",
            Self::Tags => "tags",
        })
    }
}

/// A change that a namespace has no room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the quota of organization {namespace} is {limit} {resource}: {used} are used and this needs {asked} more; delete what is not needed, or have the operator raise the quota"
)]
pub struct QuotaExceeded {
    /// What there is not enough of.
    pub resource: Resource,
    /// The namespace.
    pub namespace: NamespaceName,
    /// How much it may use.
    pub limit: i64,
    /// How much it uses.
    pub used: i64,
    /// How much more was needed.
    pub asked: i64,
}

/// What namespaces may use where nothing else was said; nothing is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Bytes of distinct blobs.
    pub bytes: Option<i64>,
    /// Repositories.
    pub repositories: Option<i64>,
    /// Tags.
    pub tags: Option<i64>,
}

impl Quotas {
    pub(crate) const fn of(&self, resource: Resource) -> Option<i64> {
        match resource {
            Resource::Bytes => self.bytes,
            Resource::Repositories => self.repositories,
            Resource::Tags => self.tags,
        }
    }
}
