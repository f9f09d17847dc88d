//! Grants of levels to users, on namespaces (contract 5.2) and on repositories (contract 5.4).

use transship_catalog::{CatalogError, Grant as GrantRow, Level};
use transship_oci::{NamespaceName, RepositoryName};

use crate::access::policy::Principal;
use crate::access::policy::denied;
use crate::access::service::Access;
use crate::error::ServiceError;

/// A grant to create or change.
#[derive(Clone, Debug)]
pub struct GrantSpec {
    /// The user who receives the grant.
    pub user_id: String,
    /// The user's name, as the caller gave it.
    pub user_name: String,
    /// 1, 3 or 7.
    pub level: i64,
}

/// The grants on a namespace or repository.
#[derive(Clone, Debug)]
pub struct GrantList {
    /// The id of the namespace or repository.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Name of the user who created it; empty for callers of another account.
    pub creator_name: String,
    /// The caller's level on it, 0 for none.
    pub own_level: i64,
    /// The grants of everybody else: id and name of the user, level.
    pub others: Vec<(String, String, i64)>,
}

/// The object of a grant.
enum Object {
    Namespace(i64),
    Repository(i64),
}

impl Access {
    /// The grants on a namespace.
    pub async fn namespace_grants(
        &self,
        principal: &Principal,
        name: &NamespaceName,
    ) -> Result<GrantList, ServiceError> {
        let (namespace, own) = self.namespace_for(principal, name, Level::Read).await?;
        let rows = self.catalog().namespace_grants(namespace.id).await?;
        Ok(grant_list(principal, namespace.id, namespace.name.to_string(), namespace.creator_name, own, rows))
    }

    /// Makes grants on a namespace.
    pub async fn add_namespace_grants(
        &self,
        principal: &Principal,
        name: &NamespaceName,
        specs: &[GrantSpec],
    ) -> Result<(), ServiceError> {
        let object = self.namespace_to_grant(principal, name).await?;
        let grants = self.grants_to_give(principal, specs).await?;
        self.add_grants(&object, &grants).await
    }

    /// Changes grants on a namespace.
    pub async fn update_namespace_grants(
        &self,
        principal: &Principal,
        name: &NamespaceName,
        specs: &[GrantSpec],
    ) -> Result<(), ServiceError> {
        let object = self.namespace_to_grant(principal, name).await?;
        let grants = self.grants_to_give(principal, specs).await?;
        self.update_grants(&object, &grants).await
    }

    /// Removes grants on a namespace.
    pub async fn remove_namespace_grants(
        &self,
        principal: &Principal,
        name: &NamespaceName,
        user_ids: &[String],
    ) -> Result<(), ServiceError> {
        let object = self.namespace_to_grant(principal, name).await?;
        self.not_oneself(principal, user_ids.iter().map(String::as_str))?;
        self.remove_grants(&object, user_ids).await
    }

    /// The grants on a repository; an empty list for callers of another account, who may see a public repository.
    pub async fn repository_grants(
        &self,
        principal: &Principal,
        name: &RepositoryName,
    ) -> Result<GrantList, ServiceError> {
        let (repository, access) = self.repository_for(principal, name, Level::Read).await?;
        // Another account may read a public repository, but must not learn who works on it.
        if repository.account_id != principal.account_id {
            let (name, creator_name) = (repository.name.to_string(), String::new());
            return Ok(GrantList { id: repository.id, name, creator_name, own_level: 0, others: Vec::new() });
        }
        let rows = self.catalog().repository_grants(repository.id).await?;
        let (id, title) = (repository.id, repository.name.to_string());
        Ok(grant_list(principal, id, title, repository.creator_name, access.level, rows))
    }

    /// Makes grants on a repository.
    pub async fn add_repository_grants(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        specs: &[GrantSpec],
    ) -> Result<(), ServiceError> {
        let object = self.repository_to_grant(principal, name).await?;
        let grants = self.grants_to_give(principal, specs).await?;
        self.add_grants(&object, &grants).await
    }

    /// Changes grants on a repository.
    pub async fn update_repository_grants(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        specs: &[GrantSpec],
    ) -> Result<(), ServiceError> {
        let object = self.repository_to_grant(principal, name).await?;
        let grants = self.grants_to_give(principal, specs).await?;
        self.update_grants(&object, &grants).await
    }

    /// Removes grants on a repository.
    pub async fn remove_repository_grants(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        user_ids: &[String],
    ) -> Result<(), ServiceError> {
        let object = self.repository_to_grant(principal, name).await?;
        self.not_oneself(principal, user_ids.iter().map(String::as_str))?;
        self.remove_grants(&object, user_ids).await
    }

    /// Requires level 7 on the organization or an administrator: only they may grant on it (contract 5.2).
    async fn namespace_to_grant(&self, principal: &Principal, name: &NamespaceName) -> Result<Object, ServiceError> {
        let (namespace, _) = self.namespace_for(principal, name, Level::Manage).await?;
        Ok(Object::Namespace(namespace.id))
    }

    /// Requires write or more on the organization, or manage on the repository (contract 5.4).
    async fn repository_to_grant(&self, principal: &Principal, name: &RepositoryName) -> Result<Object, ServiceError> {
        let (repository, access) = self.repository_for(principal, name, Level::Read).await?;
        if access.namespace_level >= Some(Level::Write) || access.level >= Some(Level::Manage) {
            return Ok(Object::Repository(repository.id));
        }
        Err(denied(principal, "write permission (3) on the organization or manage permission (7)", name))
    }

    /// Checks that levels are 1, 3 or 7, that the users belong to the account, and that the caller is none of them.
    async fn grants_to_give(
        &self,
        principal: &Principal,
        specs: &[GrantSpec],
    ) -> Result<Vec<(String, Level)>, ServiceError> {
        let mut grants = Vec::with_capacity(specs.len());
        for spec in specs {
            let level = Level::try_from(spec.level).map_err(|_| ServiceError::InvalidLevel(spec.level))?;
            let user = self.catalog().find_user_by_id(&spec.user_id).await?;
            let known = user.filter(|user| user.account_id == principal.account_id);
            let user = known.ok_or_else(|| ServiceError::UserAbsent(spec.user_id.clone()))?;
            grants.push((user.id, level));
        }
        self.not_oneself(principal, specs.iter().map(|spec| spec.user_id.as_str()))?;
        Ok(grants)
    }

    #[expect(clippy::unused_self, reason = "reads as a rule of the service beside its sisters")]
    fn not_oneself<'a>(
        &self,
        principal: &Principal,
        mut user_ids: impl Iterator<Item = &'a str>,
    ) -> Result<(), ServiceError> {
        if user_ids.any(|id| id == principal.user_id) {
            return Err(ServiceError::Denied("nobody changes their own permission; ask another manager".to_owned()));
        }
        Ok(())
    }

    async fn add_grants(&self, object: &Object, grants: &[(String, Level)]) -> Result<(), ServiceError> {
        let added = match object {
            Object::Namespace(id) => self.catalog().add_namespace_grants(*id, grants).await,
            Object::Repository(id) => self.catalog().add_repository_grants(*id, grants).await,
        };
        added.map_err(|error| match error {
            CatalogError::Conflict { what } => ServiceError::GrantExists(what),
            other => other.into(),
        })
    }

    async fn update_grants(&self, object: &Object, grants: &[(String, Level)]) -> Result<(), ServiceError> {
        let updated = match object {
            Object::Namespace(id) => self.catalog().update_namespace_grants(*id, grants).await,
            Object::Repository(id) => self.catalog().update_repository_grants(*id, grants).await,
        };
        updated.map_err(grant_absent)
    }

    async fn remove_grants(&self, object: &Object, user_ids: &[String]) -> Result<(), ServiceError> {
        let removed = match object {
            Object::Namespace(id) => self.catalog().remove_namespace_grants(*id, user_ids).await,
            Object::Repository(id) => self.catalog().remove_repository_grants(*id, user_ids).await,
        };
        removed.map_err(grant_absent)
    }
}

fn grant_absent(error: CatalogError) -> ServiceError {
    match error {
        CatalogError::NotFound { what } => ServiceError::GrantAbsent(what),
        other => other.into(),
    }
}

fn grant_list(
    principal: &Principal,
    id: i64,
    name: String,
    creator_name: String,
    own: Option<Level>,
    rows: Vec<GrantRow>,
) -> GrantList {
    let others = rows
        .into_iter()
        .filter(|row| row.user_id != principal.user_id)
        .map(|row| (row.user_id, row.user_name, row.level as i64))
        .collect();
    GrantList { id, name, creator_name, own_level: crate::access::policy::level_number(own), others }
}
