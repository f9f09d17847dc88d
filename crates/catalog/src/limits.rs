//! What a namespace may use, and the error when it would use more.
//!
//! Owns the kinds of things that are limited. It never counts them; [`crate::quotas`] does.

use std::fmt;

use transship_oci::NamespaceName;

/// A resource for which a namespace has a quota.
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

/// A change that would exceed a quota of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the quota of organization {namespace} is {limit} {resource}: {used} are used and this needs {asked} more; delete what is not needed, or have the operator raise the quota"
)]
pub struct QuotaExceeded {
    /// The resource that is exhausted.
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

/// The default quotas of namespaces; `None` means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Bytes, as [`Resource::Bytes`] counts them.
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
