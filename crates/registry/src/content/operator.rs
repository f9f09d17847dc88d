//! An operator's commands for organizations and permissions, without being a user of any account.
//!
//! Owns: finding the user and the object that the operator names. Never: a login; whoever can read the catalog and its
//! keys may do all of this.

use transship_catalog::{CatalogError, Deleted, Level, ListNamespaces, Namespace, NamespaceSummary, User};
use transship_oci::{NamespaceName, RepositoryName, RepositoryPath};

use crate::access::policy::Principal;
use crate::content::service::Content;
use crate::error::ServiceError;

impl Content {
    /// Creates a namespace in the name of a user, as that user would by the API.
    pub async fn create_namespace_for(
        &self,
        account: &str,
        user: &str,
        name: &NamespaceName,
    ) -> Result<(), ServiceError> {
        let user: Principal = self.user_named(account, user).await?.into();
        self.create_namespace(&user, name).await
    }

    /// The namespaces of one account, or of all, each with the name of its account.
    pub async fn all_namespaces(&self, account: Option<&str>) -> Result<Vec<(String, NamespaceSummary)>, ServiceError> {
        let accounts = match account {
            None => self.catalog().list_accounts().await?,
            Some(name) => {
                let found = self.catalog().find_account(name).await?;
                vec![found.ok_or_else(|| ServiceError::Absent(format!("account {name:?}")))?]
            }
        };
        let mut all = Vec::new();
        for account in accounts {
            let list = ListNamespaces {
                account_id: account.id,
                user_id: String::new(),
                is_admin: true,
                name: None,
                visible: true,
            };
            let found = self.catalog().list_namespaces(list).await?;
            all.extend(found.into_iter().map(|summary| (account.name.clone(), summary)));
        }
        Ok(all)
    }

    /// Deletes an empty namespace of any account.
    pub async fn delete_any_namespace(&self, name: &NamespaceName) -> Result<(), ServiceError> {
        let namespace = self.namespace(name).await?;
        match self.catalog().delete_namespace(namespace.id).await? {
            Deleted::Done => Ok(()),
            Deleted::HasRepositories => Err(ServiceError::NamespaceNotEmpty(name.to_string())),
            Deleted::Absent => Err(self.access.namespace_absent(name)),
        }
    }

    /// Sets the level of a user of the owning account on a namespace, or on a repository of it, and returns the user.
    ///
    /// `None` removes the grant.
    pub async fn set_grant(
        &self,
        name: &NamespaceName,
        repository: Option<&RepositoryPath>,
        user: &str,
        level: Option<Level>,
    ) -> Result<User, ServiceError> {
        let namespace = self.namespace(name).await?;
        let user = self.user_of_owner(&namespace, user).await?;
        let grants = level.map(|level| vec![(user.id.clone(), level)]);
        let users = [user.id.clone()];
        let catalog = self.catalog();
        let Some(path) = repository else {
            match grants {
                None => catalog.remove_namespace_grants(namespace.id, &users).await.or_else(absent_is_fine)?,
                Some(grants) => match catalog.add_namespace_grants(namespace.id, &grants).await {
                    Err(CatalogError::Conflict { .. }) => {
                        catalog.update_namespace_grants(namespace.id, &grants).await?;
                    }
                    other => other?,
                },
            }
            return Ok(user);
        };
        let full = RepositoryName::new(name.clone(), path.clone());
        let id = self.repository(&full).await?.id;
        match grants {
            None => catalog.remove_repository_grants(id, &users).await.or_else(absent_is_fine)?,
            Some(grants) => match catalog.add_repository_grants(id, &grants).await {
                Err(CatalogError::Conflict { .. }) => {
                    catalog.update_repository_grants(id, &grants).await?;
                }
                other => other?,
            },
        }
        Ok(user)
    }

    async fn user_named(&self, account: &str, user: &str) -> Result<User, ServiceError> {
        let found = self.catalog().find_user(account, user).await?;
        found.ok_or_else(|| ServiceError::Absent(format!("user {user:?} of account {account:?}")))
    }

    async fn user_of_owner(&self, namespace: &Namespace, user: &str) -> Result<User, ServiceError> {
        let account = self.catalog().find_account_by_id(&namespace.account_id).await?;
        let account =
            account.ok_or_else(|| ServiceError::Absent(format!("the account of organization {}", namespace.name)))?;
        self.user_named(&account.name, user).await
    }
}

/// Removing an absent grant succeeds.
fn absent_is_fine(error: CatalogError) -> Result<(), CatalogError> {
    if matches!(error, CatalogError::NotFound { .. }) { Ok(()) } else { Err(error) }
}
