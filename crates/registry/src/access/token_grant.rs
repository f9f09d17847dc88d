//! The rights that a verified registry token carries.
//!
//! Owns: which right on which repository a token carries, and for which organization it was made. Never: whether a
//! token is valid (`identity`).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use transship_oci::{Action, RegionId, RepositoryName, Scope};

use crate::access::asks::Asks;
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

/// A repository as a token names it: its name, and the namespace that had that name when the token was made.
///
/// A namespace that was deleted and created again is a different one, whoever created it.
#[derive(Clone, Copy, Debug)]
pub struct GrantedName<'a> {
    pub(crate) name: &'a RepositoryName,
    /// The id of the namespace; `None` if any namespace is accepted.
    namespace_id: Option<i64>,
    /// The caller who asks for it.
    pub(crate) asks: Asks<'a>,
}

impl GrantedName<'_> {
    /// Sets the caller's address, which tells anonymous callers apart.
    #[must_use]
    pub fn from_address(mut self, address: IpAddr) -> Self {
        if let Asks::Stranger(unknown) = &mut self.asks {
            *unknown = address;
        }
        self
    }

    /// Returns an error if `namespace_id` is not the namespace that the token was made for.
    pub(crate) fn require(&self, namespace_id: i64) -> Result<(), ServiceError> {
        match self.namespace_id {
            Some(granted) if granted != namespace_id => {
                Err(ServiceError::GrantOutdated(self.name.namespace().to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// Tests may use a name without a token.
#[cfg(test)]
impl<'a> From<&'a RepositoryName> for GrantedName<'a> {
    fn from(name: &'a RepositoryName) -> Self {
        Self { name, namespace_id: None, asks: Asks::Account("") }
    }
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

    /// A repository, as this token names it.
    pub fn on<'a>(&'a self, name: &'a RepositoryName) -> GrantedName<'a> {
        let granted = || self.namespaces.get(name.namespace().as_str()).copied().unwrap_or(NO_NAMESPACE);
        GrantedName { name, namespace_id: (!self.everything).then(granted), asks: self.asks() }
    }

    /// The caller who holds this grant.
    pub(crate) fn asks(&self) -> Asks<'_> {
        let nobody = Asks::Stranger(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.principal.as_ref().map_or(nobody, |principal| Asks::Account(&principal.account_id))
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
