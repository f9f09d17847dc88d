//! Namespaces, which the management API calls organizations (contract 5.1).

use sqlx::any::AnyRow;
use transship_oci::NamespaceName;

use crate::level::level;
use crate::retry::{fallible, is_foreign_key_violation, repeated};
use crate::row::{Columns as _, one_changed};
use crate::{Catalog, CatalogError, Level, User};

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its number, below 2^31 because SDKs decode ids into 32 bits (contract 1.4).
    pub id: i64,
    /// Its name, unique in the region.
    pub name: NamespaceName,
    /// The account that owns it.
    pub account_id: String,
    /// The user who made it.
    pub creator_id: String,
    /// That user's name at the time.
    pub creator_name: String,
    /// When it was made.
    pub created_at_ms: i64,
}

/// Which namespaces to list.
#[derive(Clone, Debug)]
pub struct ListNamespaces {
    /// Only those of this account.
    pub account_id: String,
    /// The user whose levels count.
    pub user_id: String,
    /// Whether the user sees everything in the account.
    pub is_admin: bool,
    /// Only the one of this name.
    pub name: Option<String>,
    /// Whether to include those where the user only has a level on a repository.
    pub visible: bool,
}

/// A namespace as one user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceSummary {
    /// The namespace.
    pub namespace: Namespace,
    /// The user's own level on it, as stored.
    pub level: Option<Level>,
    /// Repositories in it.
    pub repository_count: i64,
    /// Users with a level of their own on it.
    pub user_count: i64,
}

/// Why a namespace was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateNamespaceError {
    /// The name is taken.
    #[error("the namespace exists already")]
    Taken,
    /// The account has its maximum number of namespaces.
    #[error("the account has as many namespaces as it may")]
    QuotaExceeded,
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

fallible!(CreateNamespaceError);

/// The outcome of deleting a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// It still holds repositories, so it stays.
    HasRepositories,
    /// It did not exist.
    Absent,
}

/// The columns of a namespace `n`, with names that do not clash with those of a repository.
macro_rules! namespace_columns {
    () => {
        "n.id AS namespace_id, n.name AS namespace, n.account_id AS account_id, n.creator_id AS namespace_creator_id, \
         n.creator_name AS namespace_creator_name, n.created_at AS namespace_created_at"
    };
}
pub(crate) use namespace_columns;

/// The same for RETURNING, where SQLite allows no alias of the table.
macro_rules! namespace_returning {
    () => {
        "id AS namespace_id, name AS namespace, account_id, creator_id AS namespace_creator_id, \
         creator_name AS namespace_creator_name, created_at AS namespace_created_at"
    };
}

impl Catalog {
    /// Creates a namespace in the creator's account, with level 7 (manage) for the creator, unless the account has
    /// `quota` already.
    pub async fn create_namespace(
        &self,
        name: &NamespaceName,
        creator: &User,
        quota: i64,
    ) -> Result<Namespace, CreateNamespaceError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            if tx.optional(tx.query("SELECT id FROM namespace WHERE name = $1").bind(name.as_str())).await?.is_some() {
                return Err(CreateNamespaceError::Taken);
            }
            // Other calls for this account wait here, so that the count stays right.
            let own = tx.query("UPDATE account SET name = name WHERE id = $1").bind(&creator.account_id);
            one_changed(tx.execute(own).await?, || format!("account {}", creator.account_id))?;
            let sql = "SELECT COUNT(*) AS used FROM namespace WHERE account_id = $1";
            let row = tx.optional(tx.query(sql).bind(&creator.account_id)).await?;
            let used = row.map_or(Ok(0), |row| row.number("used"))?;
            if used >= quota {
                return Err(CreateNamespaceError::QuotaExceeded);
            }
            let sql = concat!(
                "INSERT INTO namespace (name, account_id, creator_id, creator_name, created_at)
                VALUES ($1, $2, $3, $4, {now}) ON CONFLICT (name) DO NOTHING RETURNING ",
                namespace_returning!()
            );
            let statement =
                tx.query(sql).bind(name.as_str()).bind(&creator.account_id).bind(&creator.id).bind(&creator.name);
            let row = tx.optional(statement).await?.ok_or(CreateNamespaceError::Taken)?;
            let namespace = namespace(&row)?;
            let sql = "INSERT INTO namespace_permission (namespace_id, user_id, level) VALUES ($1, $2, $3)";
            let statement = tx.query(sql).bind(namespace.id).bind(&creator.id).bind(Level::Manage.number());
            tx.execute(statement).await.map_err(|error| {
                if is_foreign_key_violation(&error) {
                    CatalogError::not_found(format!("user {}", creator.id))
                } else {
                    error
                }
            })?;
            tx.commit().await?;
            Ok(namespace)
        })
    }

    /// Returns the namespace of that name, whichever account owns it.
    pub async fn find_namespace(&self, name: &NamespaceName) -> Result<Option<Namespace>, CatalogError> {
        let sql = concat!("SELECT ", namespace_columns!(), " FROM namespace n WHERE n.name = $1");
        let row = self.read_optional(|| self.query(sql).bind(name.as_str())).await?;
        row.as_ref().map(namespace).transpose()
    }

    /// Deletes a namespace, unless it holds repositories.
    pub async fn delete_namespace(&self, id: i64) -> Result<Deleted, CatalogError> {
        let sql = "DELETE FROM namespace WHERE id = $1
            AND NOT EXISTS (SELECT 1 FROM repository WHERE namespace_id = $1)";
        match self.write(|| self.query(sql).bind(id)).await {
            Ok(0) => {}
            Ok(_) => return Ok(Deleted::Done),
            // A repository was created in between.
            Err(error) if is_foreign_key_violation(&error) => return Ok(Deleted::HasRepositories),
            Err(error) => return Err(error),
        }
        let found = self.read_optional(|| self.query("SELECT id FROM namespace WHERE id = $1").bind(id)).await?;
        Ok(if found.is_some() { Deleted::HasRepositories } else { Deleted::Absent })
    }

    /// Returns the namespaces that a user can see, sorted by name.
    pub async fn list_namespaces(&self, list: ListNamespaces) -> Result<Vec<NamespaceSummary>, CatalogError> {
        let sql = concat!(
            "SELECT ",
            namespace_columns!(),
            ", p.level AS level,
                (SELECT COUNT(*) FROM repository r WHERE r.namespace_id = n.id) AS repositories,
                (SELECT COUNT(*) FROM namespace_permission u WHERE u.namespace_id = n.id) AS users
            FROM namespace n
            LEFT JOIN namespace_permission p ON p.namespace_id = n.id AND p.user_id = $2
            WHERE n.account_id = $1 AND ($5 IS NULL OR n.name = $5)
                AND ($3 = 1 OR p.level IS NOT NULL OR ($4 = 1 AND EXISTS (
                    SELECT 1 FROM repository_permission rp JOIN repository r ON r.id = rp.repository_id
                    WHERE r.namespace_id = n.id AND rp.user_id = $2)))
            ORDER BY n.name"
        );
        let ListNamespaces { account_id, user_id, is_admin, name, visible } = list;
        let rows = self
            .read_all(|| {
                self.query(sql)
                    .bind(&account_id)
                    .bind(&user_id)
                    .bind(i64::from(is_admin))
                    .bind(i64::from(visible))
                    .bind(name.as_deref())
            })
            .await?;
        let summary = |row: &AnyRow| {
            Ok(NamespaceSummary {
                namespace: namespace(row)?,
                level: level(row, "level")?,
                repository_count: row.number("repositories")?,
                user_count: row.number("users")?,
            })
        };
        rows.iter().map(summary).collect()
    }
}

pub(crate) fn namespace(row: &AnyRow) -> Result<Namespace, CatalogError> {
    Ok(Namespace {
        id: row.number("namespace_id")?,
        name: row.parsed("namespace")?,
        account_id: row.text("account_id")?,
        creator_id: row.text("namespace_creator_id")?,
        creator_name: row.text("namespace_creator_name")?,
        created_at_ms: row.number("namespace_created_at")?,
    })
}
