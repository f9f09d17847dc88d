//! The rights that a verified registry token carries.
//!
//! Owns: which right on which repository a token carries, and for which organization it was made. Never: whether a
//! token is valid (`identity`).

use std::collections::BTreeMap;

use transship_oci::{Action, NamespaceName, RegionId, RepositoryName, Scope};

use crate::access::policy::Principal;
use crate::error::ServiceError;

/// The rights of a verified registry token.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The user who holds it; `None` for an anonymous token.
    pub principal: Option<Principal>,
    /// The pushing region that holds the token; `None` if a client holds it.
    pub via: Option<RegionId>,
    access: Vec<Scope>,
    /// The namespaces of `access`, by name, with the ids they had when the token was made.
    namespaces: BTreeMap<String, i64>,
    /// Every right on every repository: the grant of an open region.
    everything: bool,
}

/// An id that no namespace has.
const NO_NAMESPACE: i64 = 0;

impl Grant {
    /// The grant of a token.
    ///
    /// `namespaces` are those of `access`, by name, with the ids they had when the token was made.
    pub(crate) const fn of_token(
        principal: Option<Principal>,
        via: Option<RegionId>,
        access: Vec<Scope>,
        namespaces: BTreeMap<String, i64>,
    ) -> Self {
        Self { principal, via, access, namespaces, everything: false }
    }

    /// The grant that everybody has in an open region, in the name of this administrator.
    pub(crate) const fn of_open_region(principal: Principal) -> Self {
        Self {
            principal: Some(principal),
            via: None,
            access: Vec::new(),
            namespaces: BTreeMap::new(),
            everything: true,
        }
    }

    /// Whether the token itself carries this right.
    pub fn allows(&self, name: &RepositoryName, action: Action) -> bool {
        let allows = |scope: &Scope| {
            scope.kind == "repository" && scope.name == name.as_str() && scope.actions.contains(&action)
        };
        self.everything || self.access.iter().any(allows)
    }

    /// Returns an error if `namespace_id` is not the namespace that had this name when the token was made.
    pub(crate) fn require(&self, namespace: &NamespaceName, namespace_id: i64) -> Result<(), ServiceError> {
        let granted = self.namespaces.get(namespace.as_str()).copied().unwrap_or(NO_NAMESPACE);
        if self.everything || granted == namespace_id {
            return Ok(());
        }
        Err(ServiceError::GrantOutdated(namespace.to_string()))
    }

    /// All scopes of the token, as one `scope` parameter.
    pub fn scope(&self) -> String {
        self.access.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Whether this is the grant of an open region.
    pub const fn may_do_everything(&self) -> bool {
        self.everything
    }

    /// Whether the token names this repository, with any rights.
    pub fn speaks_of(&self, name: &RepositoryName) -> bool {
        self.access.iter().any(|scope| scope.kind == "repository" && scope.name == name.as_str())
    }

    /// The user that upload sessions are bound to; empty for an anonymous caller.
    pub fn user_id(&self) -> &str {
        self.principal.as_ref().map_or("", |principal| &principal.user_id)
    }
}
