//! Levels that users have on namespaces (contract 5.2) and on repositories (contract 5.4).

use sqlx::any::AnyRow;

use crate::level::level;
use crate::retry::{is_foreign_key_violation, repeated};
use crate::row::{Columns as _, one_changed};
use crate::{Catalog, CatalogError, Level};

/// The level of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The user.
    pub user_id: String,
    /// The user's name.
    pub user_name: String,
    /// The level.
    pub level: Level,
}

/// The statements for the grants on one kind of thing; `$1` is its number, `$2` the user, `$3` the level.
struct Statements {
    kind: &'static str,
    list: &'static str,
    add: &'static str,
    update: &'static str,
    remove: &'static str,
}

macro_rules! statements {
    ($kind:literal) => {
        Statements {
            kind: $kind,
            list: concat!(
                "SELECT p.user_id, u.name, p.level FROM ",
                $kind,
                "_permission p JOIN iam_user u ON u.id = p.user_id
                WHERE p.",
                $kind,
                "_id = $1 ORDER BY u.name"
            ),
            add: concat!(
                "INSERT INTO ",
                $kind,
                "_permission (",
                $kind,
                "_id, user_id, level) VALUES ($1, $2, $3)
                ON CONFLICT (",
                $kind,
                "_id, user_id) DO NOTHING"
            ),
            update: concat!("UPDATE ", $kind, "_permission SET level = $3 WHERE ", $kind, "_id = $1 AND user_id = $2"),
            remove: concat!("DELETE FROM ", $kind, "_permission WHERE ", $kind, "_id = $1 AND user_id = $2"),
        }
    };
}

const NAMESPACE: Statements = statements!("namespace");
const REPOSITORY: Statements = statements!("repository");

impl Catalog {
    /// Returns the levels on a namespace, sorted by user name.
    pub async fn namespace_grants(&self, namespace_id: i64) -> Result<Vec<Grant>, CatalogError> {
        self.grants(&NAMESPACE, namespace_id).await
    }

    /// Gives levels on a namespace, all or none.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`], naming the user, if one has a level already; [`CatalogError::NotFound`] if the
    /// namespace or a user does not exist.
    pub async fn add_namespace_grants(
        &self,
        namespace_id: i64,
        grants: &[(String, Level)],
    ) -> Result<(), CatalogError> {
        self.add_grants(&NAMESPACE, namespace_id, grants).await
    }

    /// Changes levels on a namespace, all or none.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], naming the user, if one has no level.
    pub async fn update_namespace_grants(
        &self,
        namespace_id: i64,
        grants: &[(String, Level)],
    ) -> Result<(), CatalogError> {
        self.update_grants(&NAMESPACE, namespace_id, grants).await
    }

    /// Removes levels on a namespace, all or none.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], naming the user, if one has no level.
    pub async fn remove_namespace_grants(&self, namespace_id: i64, user_ids: &[String]) -> Result<(), CatalogError> {
        self.remove_grants(&NAMESPACE, namespace_id, user_ids).await
    }

    /// Returns the levels on a repository, sorted by user name.
    pub async fn repository_grants(&self, repository_id: i64) -> Result<Vec<Grant>, CatalogError> {
        self.grants(&REPOSITORY, repository_id).await
    }

    /// Gives levels on a repository, all or none.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`], naming the user, if one has a level already; [`CatalogError::NotFound`] if the
    /// repository or a user does not exist.
    pub async fn add_repository_grants(
        &self,
        repository_id: i64,
        grants: &[(String, Level)],
    ) -> Result<(), CatalogError> {
        self.add_grants(&REPOSITORY, repository_id, grants).await
    }

    /// Changes levels on a repository, all or none.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], naming the user, if one has no level.
    pub async fn update_repository_grants(
        &self,
        repository_id: i64,
        grants: &[(String, Level)],
    ) -> Result<(), CatalogError> {
        self.update_grants(&REPOSITORY, repository_id, grants).await
    }

    /// Removes levels on a repository, all or none.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], naming the user, if one has no level.
    pub async fn remove_repository_grants(&self, repository_id: i64, user_ids: &[String]) -> Result<(), CatalogError> {
        self.remove_grants(&REPOSITORY, repository_id, user_ids).await
    }

    async fn grants(&self, on: &Statements, id: i64) -> Result<Vec<Grant>, CatalogError> {
        let rows = self.read_all(|| self.query(on.list).bind(id)).await?;
        rows.iter().map(grant).collect()
    }

    async fn add_grants(&self, on: &Statements, id: i64, grants: &[(String, Level)]) -> Result<(), CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            for (user_id, level) in grants {
                match tx.execute(tx.query(on.add).bind(id).bind(user_id).bind(level.number())).await {
                    Ok(0) => return Err(CatalogError::conflict(user_id)),
                    Ok(_) => {}
                    Err(error) if is_foreign_key_violation(&error) => {
                        return Err(CatalogError::not_found(format!("{} {id} or user {user_id}", on.kind)));
                    }
                    Err(error) => return Err(error),
                }
            }
            tx.commit().await
        })
    }

    async fn update_grants(&self, on: &Statements, id: i64, grants: &[(String, Level)]) -> Result<(), CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            for (user_id, level) in grants {
                let changed = tx.execute(tx.query(on.update).bind(id).bind(user_id).bind(level.number())).await?;
                one_changed(changed, || user_id.clone())?;
            }
            tx.commit().await
        })
    }

    async fn remove_grants(&self, on: &Statements, id: i64, user_ids: &[String]) -> Result<(), CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            for user_id in user_ids {
                let changed = tx.execute(tx.query(on.remove).bind(id).bind(user_id)).await?;
                one_changed(changed, || user_id.clone())?;
            }
            tx.commit().await
        })
    }
}

fn grant(row: &AnyRow) -> Result<Grant, CatalogError> {
    let level = level(row, "level")?.ok_or_else(|| CatalogError::Corrupt { what: "level".to_owned() })?;
    Ok(Grant { user_id: row.text("user_id")?, user_name: row.text("name")?, level })
}
