//! Namespaces ("organizations" in SWR's words): contract 5.1.

use transship_catalog::{Deleted, Level, ListNamespaces, Namespace};
use transship_oci::NamespaceName;

use crate::access::policy::Principal;
use crate::access::policy::{denied, level_number};
use crate::content::service::Content;
use crate::error::ServiceError;

/// A namespace as one caller sees it.
#[derive(Clone, Debug)]
pub struct NamespaceSummary {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Name of the user who created it.
    pub creator_name: String,
    /// The caller's level, 0 for none.
    pub level: i64,
    /// Repositories in it.
    pub repository_count: i64,
    /// Users with a level of their own on it.
    pub user_count: i64,
}

/// What an account has in this region (`ShowDomainOverview`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Namespaces.
    pub namespaces: i64,
    /// Repositories.
    pub repositories: i64,
    /// Tags.
    pub tags: i64,
    /// Bytes of the distinct blobs that its repositories link.
    pub stored_bytes: i64,
}

impl Content {
    /// Creates a namespace; its creator gets level 7.
    pub async fn create_namespace(&self, principal: &Principal, name: &NamespaceName) -> Result<(), ServiceError> {
        use transship_catalog::CreateNamespaceError as Refused;
        if name.is_reserved() {
            return Err(ServiceError::NamespaceReserved(name.to_string()));
        }
        let user = self.catalog().find_user_by_id(&principal.user_id).await?;
        let user = user.ok_or_else(|| ServiceError::UserAbsent(principal.user_name.clone()))?;
        let limit = self.settings().namespaces_per_account;
        match self.catalog().create_namespace(name, &user, limit).await {
            Ok(_) => Ok(()),
            Err(Refused::Taken) => Err(ServiceError::NamespaceTaken(name.to_string())),
            Err(Refused::QuotaExceeded) => {
                let setting = "limits.namespaces_per_account";
                Err(ServiceError::QuotaExceeded { setting, what: "organizations", limit })
            }
            Err(Refused::Catalog(error)) => Err(error.into()),
        }
    }

    /// The namespaces on which a caller has a level; with `visible`, also those with a repository on which it has one.
    pub async fn list_namespaces(
        &self,
        principal: &Principal,
        name: Option<&str>,
        visible: bool,
    ) -> Result<Vec<NamespaceSummary>, ServiceError> {
        let rows = self
            .catalog()
            .list_namespaces(ListNamespaces {
                account_id: principal.account_id.clone(),
                user_id: principal.user_id.clone(),
                is_admin: principal.is_admin,
                name: name.map(str::to_owned),
                visible,
            })
            .await?;
        let summaries = rows.into_iter().map(|row| {
            let level = if principal.is_admin { Some(Level::Manage) } else { row.level };
            NamespaceSummary {
                id: row.namespace.id,
                name: row.namespace.name.to_string(),
                creator_name: row.namespace.creator_name,
                level: level_number(level),
                repository_count: row.repository_count,
                user_count: row.user_count,
            }
        });
        Ok(summaries.collect())
    }

    /// One namespace, for a caller with a level on it or on a repository of it.
    pub async fn show_namespace(
        &self,
        principal: &Principal,
        name: &NamespaceName,
    ) -> Result<NamespaceSummary, ServiceError> {
        if self.catalog().find_namespace(name).await?.is_none() {
            return Err(self.access.namespace_absent(name));
        }
        let mut seen = self.list_namespaces(principal, Some(name.as_str()), true).await?;
        seen.retain(|namespace| namespace.name == name.as_str());
        seen.pop().ok_or_else(|| denied(principal, "any permission", name))
    }

    /// Deletes an empty namespace.
    pub async fn delete_namespace(&self, principal: &Principal, name: &NamespaceName) -> Result<(), ServiceError> {
        let (namespace, _) = self.access.namespace_for(principal, name, Level::Manage).await?;
        match self.catalog().delete_namespace(namespace.id).await? {
            Deleted::Done => Ok(()),
            Deleted::HasRepositories => Err(ServiceError::NamespaceNotEmpty(name.to_string())),
            Deleted::Absent => Err(self.access.namespace_absent(name)),
        }
    }

    /// What the caller's account has in this region.
    pub async fn overview(&self, principal: &Principal) -> Result<Overview, ServiceError> {
        let row = self.catalog().account_overview(&principal.account_id).await?;
        Ok(Overview {
            namespaces: row.namespaces,
            repositories: row.repositories,
            tags: row.tags,
            stored_bytes: row.stored_bytes,
        })
    }

    pub(crate) async fn namespace(&self, name: &NamespaceName) -> Result<Namespace, ServiceError> {
        self.catalog().find_namespace(name).await?.ok_or_else(|| self.access.namespace_absent(name))
    }
}
