//! Who may do what: the one policy function that every API calls.
//!
//! Owns: the meaning of the three levels (contract 5.2) and of public repositories. Never: where levels are stored.

use serde::{Deserialize, Serialize};
use transship_catalog::{Level, Namespace, Repository};
use transship_oci::{Action, NamespaceName, RepositoryName};

use crate::access::service::Access;
use crate::error::ServiceError;

/// A user who has proved their identity. Only a row of the catalog, or the claims of a verified token, become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::manual_non_exhaustive, reason = "other modules of this crate must not make one either")]
pub struct Principal {
    /// Id of the user, 32 hex digits.
    pub user_id: String,
    /// Name of the user, unique in its account.
    pub user_name: String,
    /// Id of the account, 32 hex digits.
    pub account_id: String,
    /// Name of the account.
    pub account_name: String,
    /// Administrators have level 7 everywhere in their account.
    pub is_admin: bool,
    /// Keeps other modules from making one.
    #[serde(skip)]
    proved: (),
}

#[cfg(test)]
impl Principal {
    /// A user without a name, for tests that check no permission.
    pub(crate) const fn nobody() -> Self {
        Self {
            user_id: String::new(),
            user_name: String::new(),
            account_id: String::new(),
            account_name: String::new(),
            is_admin: false,
            proved: (),
        }
    }
}

impl From<transship_catalog::User> for Principal {
    fn from(user: transship_catalog::User) -> Self {
        Self {
            user_id: user.id,
            user_name: user.name,
            account_id: user.account_id,
            account_name: user.account_name,
            is_admin: user.is_admin,
            proved: (),
        }
    }
}

/// The access of one caller to one repository, which need not exist.
#[derive(Clone, Debug)]
pub struct EffectiveAccess {
    /// The namespace, if one of that name exists.
    pub namespace: Option<Namespace>,
    /// The repository, if one of that name exists.
    pub repository: Option<Repository>,
    /// The caller's level on the namespace.
    pub namespace_level: Option<Level>,
    /// The higher of namespace level and repository level.
    pub level: Option<Level>,
    /// Whether the caller may use public repositories; a region may require a login for those too.
    public_counts: bool,
}

impl EffectiveAccess {
    fn new(access: transship_catalog::Access, principal: Option<&Principal>) -> Self {
        let own = principal.filter(|p| access.namespace.as_ref().is_some_and(|n| n.account_id == p.account_id));
        let (namespace_level, level) = match own {
            None => (None, None),
            Some(principal) if principal.is_admin => (Some(Level::Manage), Some(Level::Manage)),
            Some(_) => (access.namespace_level, access.namespace_level.max(access.repository_level)),
        };
        Self { namespace: access.namespace, repository: access.repository, namespace_level, level, public_counts: true }
    }

    /// Whether the registry protocol may do this.
    ///
    /// A push needs write on the organization; a write level on one repository is not enough (contract 3.3).
    pub fn allows(&self, action: Action) -> bool {
        match action {
            Action::Pull => {
                self.level >= Some(Level::Read)
                    || (self.public_counts && self.repository.as_ref().is_some_and(|repository| repository.is_public))
            }
            Action::Push => self.namespace_level >= Some(Level::Write),
            Action::Delete => self.level >= Some(Level::Manage),
            Action::All => [Action::Pull, Action::Push, Action::Delete].into_iter().all(|action| self.allows(action)),
        }
    }
}

impl Access {
    /// Computes a caller's access to a repository, in one query.
    pub async fn effective_access(
        &self,
        name: &RepositoryName,
        principal: Option<&Principal>,
    ) -> Result<EffectiveAccess, ServiceError> {
        let access = self.catalog().access(name, principal.map(|p| p.user_id.as_str())).await?;
        let mut effective = EffectiveAccess::new(access, principal);
        effective.public_counts = principal.is_some() || self.settings().access.anonymous_pull;
        Ok(effective)
    }

    /// The repository, for a management caller with at least `level` on it.
    ///
    /// A caller without any level gets the same answer whether the repository exists or not (H3: no existence oracle).
    /// Two cases are named, as contract 3.5 asks: an absent namespace, and an absent repository of a readable
    /// namespace.
    pub(crate) async fn repository_for(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        level: Level,
    ) -> Result<(Repository, EffectiveAccess), ServiceError> {
        let mut access = self.effective_access(name, Some(principal)).await?;
        if access.namespace.is_none() {
            return Err(self.namespace_absent(name.namespace()));
        }
        if access.level.is_none() && !access.allows(Action::Pull) {
            return Err(denied(principal, "any permission", name));
        }
        let Some(repository) = access.repository.take() else {
            return Err(ServiceError::RepositoryAbsent(name.to_string()));
        };
        // Everybody may read a public repository, even without a level.
        let readable = level == Level::Read && repository.is_public;
        if access.level < Some(level) && !readable {
            return Err(denied(principal, level_word(level), name));
        }
        Ok((repository, access))
    }

    /// The namespace, for a management caller with at least `level` on it.
    pub(crate) async fn namespace_for(
        &self,
        principal: &Principal,
        name: &NamespaceName,
        level: Level,
    ) -> Result<(Namespace, Option<Level>), ServiceError> {
        let Some((namespace, stored)) = self.catalog().namespace_access(name, Some(&principal.user_id)).await? else {
            return Err(self.namespace_absent(name));
        };
        let own = namespace.account_id == principal.account_id;
        let has = if own && principal.is_admin { Some(Level::Manage) } else { stored.filter(|_| own) };
        if has < Some(level) {
            return Err(denied(principal, level_word(level), name));
        }
        Ok((namespace, has))
    }

    pub(crate) fn namespace_absent(&self, name: &NamespaceName) -> ServiceError {
        ServiceError::NamespaceAbsent { namespace: name.to_string(), region: self.settings().region.to_string() }
    }
}

/// The number that the API shows for a level.
pub(crate) fn level_number(level: Option<Level>) -> i64 {
    level.map_or(0, |level| level as i64)
}

pub(crate) const fn level_word(level: Level) -> &'static str {
    match level {
        Level::Read => "read permission (1)",
        Level::Write => "write permission (3)",
        Level::Manage => "manage permission (7)",
    }
}

pub(crate) fn denied(principal: &Principal, needs: &str, on: impl std::fmt::Display) -> ServiceError {
    ServiceError::Denied(format!("user {} needs {needs} on {on}", principal.user_name))
}

#[cfg(test)]
mod tests;
