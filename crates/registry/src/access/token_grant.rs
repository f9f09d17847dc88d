//! What a registry token allows, once it has been verified.
//!
//! Owns: which right on which repository a token carries, and for which organization it was made. Never: whether a token holds
//! (`identity`).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use transship_oci::{Action, RegionId, RepositoryName, Scope};

use crate::access::asks::Asks;
use crate::access::policy::Principal;
use crate::error::ServiceError;

/// What a verified registry token allows.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who holds it; nobody for an anonymous token.
    pub principal: Option<Principal>,
    /// The region that pushes, when the token was given to a region and not to a client.
    pub via: Option<RegionId>,
    access: Vec<Scope>,
    /// The namespaces of `access`, by name: their numbers when the token was made.
    namespaces: BTreeMap<String, i64>,
    /// Everything on every repository: what an open region gives.
    everything: bool,
}

/// A repository as a token speaks of it: by its name, and in the namespace that had the name when the token was made.
/// A namespace that was deleted and made again is another one, whoever made it.
#[derive(Clone, Copy, Debug)]
pub struct GrantedName<'a> {
    pub(crate) name: &'a RepositoryName,
    /// The number of the namespace; nothing where any will do.
    namespace_id: Option<i64>,
    /// Who asks for it.
    pub(crate) asks: Asks<'a>,
}

impl GrantedName<'_> {
    /// The same for a request from that address, by which strangers are told apart.
    #[must_use]
    pub fn from_address(mut self, address: IpAddr) -> Self {
        if let Asks::Stranger(unknown) = &mut self.asks {
            *unknown = address;
        }
        self
    }

    /// Refuses when the namespace of that name is not the one that the token was made for.
    pub(crate) fn require(&self, namespace_id: i64) -> Result<(), ServiceError> {
        match self.namespace_id {
            Some(granted) if granted != namespace_id => {
                Err(ServiceError::GrantOutdated(self.name.namespace().to_string()))
            }
            _ => Ok(()),
        }
    }
}

/// In tests a name alone will do.
#[cfg(test)]
impl<'a> From<&'a RepositoryName> for GrantedName<'a> {
    fn from(name: &'a RepositoryName) -> Self {
        Self { name, namespace_id: None, asks: Asks::Account("") }
    }
}

/// No namespace has this number.
const NO_NAMESPACE: i64 = 0;

impl Grant {
    /// What a token carries; `namespaces` are those of `access`, by name, with their numbers when the token was made.
    pub(crate) const fn of_token(
        principal: Option<Principal>,
        via: Option<RegionId>,
        access: Vec<Scope>,
        namespaces: BTreeMap<String, i64>,
    ) -> Self {
        Self { principal, via, access, namespaces, everything: false }
    }

    /// What everybody has in an open region, in the name of this administrator.
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

    /// A repository that the token is about.
    pub fn on<'a>(&'a self, name: &'a RepositoryName) -> GrantedName<'a> {
        let granted = || self.namespaces.get(name.namespace().as_str()).copied().unwrap_or(NO_NAMESPACE);
        GrantedName { name, namespace_id: (!self.everything).then(granted), asks: self.asks() }
    }

    /// Who asks with it.
    pub(crate) fn asks(&self) -> Asks<'_> {
        let nobody = Asks::Stranger(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.principal.as_ref().map_or(nobody, |principal| Asks::Account(&principal.account_id))
    }

    /// Everything that the token carries, as one `scope` parameter.
    pub fn scope(&self) -> String {
        self.access.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// Whether this is the grant of an open region.
    pub const fn may_do_everything(&self) -> bool {
        self.everything
    }

    /// Whether the token names this repository, with whatever rights.
    pub fn speaks_of(&self, name: &RepositoryName) -> bool {
        self.access.iter().any(|scope| scope.kind == "repository" && scope.name == name.as_str())
    }

    /// What upload sessions are bound to: the user, or nothing for nobody.
    pub fn user_id(&self) -> &str {
        self.principal.as_ref().map_or("", |principal| &principal.user_id)
    }
}
