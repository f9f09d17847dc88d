//! Repositories (contract 5.3).

use std::collections::HashMap;

use sqlx::any::AnyRow;
use transship_oci::{NamespaceName, RepositoryName, RepositoryPath};

use crate::immutability::judge_all;
use crate::jobs::cancel_jobs;
use crate::level::may_read;
use crate::quotas::{repository_goes, repository_made};
use crate::retry::{is_foreign_key_violation, repeated};
use crate::row::{Columns as _, list_parameter, one_changed, storable, touched};
use crate::stored::stored_repository_goes;
use crate::tx::Tx;
use crate::{Catalog, CatalogError};

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its number, never used twice; below 2^31 because SDKs decode repository markers into 32 bits (contract 1.4).
    pub id: i64,
    /// The number of its namespace.
    pub namespace_id: i64,
    /// The name of its namespace.
    pub namespace: NamespaceName,
    /// The account that owns the namespace.
    pub account_id: String,
    /// Its path below the namespace.
    pub name: RepositoryPath,
    /// Whether everybody may pull.
    pub is_public: bool,
    /// One of the contract's categories.
    pub category: String,
    /// Free text.
    pub description: String,
    /// The user who made it.
    pub creator_id: String,
    /// That user's name at the time.
    pub creator_name: String,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it, its tags or its manifests last changed.
    pub updated_at_ms: i64,
}

impl Repository {
    /// `namespace/path`.
    pub fn full_name(&self) -> RepositoryName {
        RepositoryName::new(self.namespace.clone(), self.name.clone())
    }
}

/// A repository to make.
#[derive(Clone, Debug)]
pub struct NewRepository {
    /// The number of its namespace.
    pub namespace_id: i64,
    /// Its path below the namespace.
    pub name: RepositoryPath,
    /// Whether everybody may pull.
    pub is_public: bool,
    /// One of the contract's categories.
    pub category: String,
    /// Free text.
    pub description: String,
    /// The user who makes it.
    pub creator_id: String,
    /// That user's name.
    pub creator_name: String,
}

/// A repository with its counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositorySummary {
    /// The repository.
    pub repository: Repository,
    /// The name of the account that owns it.
    pub account_name: String,
    /// How many tags it has.
    pub tag_count: i64,
    /// Bytes of the blobs that it links.
    pub size_bytes: u64,
    /// Its newest tags, the newest first; not all if there are many.
    pub tags: Vec<String>,
}

/// A repository on a page: with its counts, and without its long texts, which [`Catalog::repository_texts`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRepository {
    /// The repository, its description and tags empty.
    pub summary: RepositorySummary,
    /// How many bytes the description has.
    pub description_bytes: u64,
}

/// The texts of a repository that may be long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositoryTexts {
    /// Its description.
    pub description: String,
    /// Its newest tags, the newest first.
    pub tags: Vec<String>,
}

/// The order of repositories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepoOrder {
    /// Path, then namespace.
    #[default]
    Name,
    /// Last change.
    UpdatedAt,
    /// Number of tags.
    TagCount,
}

/// Which repositories to list.
#[derive(Clone, Debug)]
pub struct ListRepositories {
    /// Only those of this account.
    pub account_id: String,
    /// Only those where this user has a level, or everybody may pull.
    pub user_id: String,
    /// Whether the user sees everything in the account.
    pub is_admin: bool,
    /// Only those of this namespace.
    pub namespace: Option<String>,
    /// Only those whose path contains this.
    pub name_contains: Option<String>,
    /// Only those of this category.
    pub category: Option<String>,
    /// Only public, or only private ones.
    pub is_public: Option<bool>,
    /// The order.
    pub order: RepoOrder,
    /// Whether the order is reversed.
    pub descending: bool,
    /// Page size.
    pub limit: i64,
    /// How many records to skip.
    pub offset: i64,
    /// Only those with a higher number, in the order of numbers; `order` and `descending` are ignored then.
    pub after_id: Option<i64>,
}

/// The columns of a repository `r`, with names that do not clash with those of its namespace.
macro_rules! repository_columns {
    () => {
        "r.id AS repository_id, r.name AS repository, r.is_public AS is_public, r.category AS category, \
         r.description AS description, r.creator_id AS creator_id, r.creator_name AS creator_name, \
         r.created_at AS created_at, r.updated_at AS updated_at"
    };
}
pub(crate) use repository_columns;

macro_rules! select_repository {
    () => {
        concat!(
            "SELECT n.id AS namespace_id, n.name AS namespace, n.account_id AS account_id, ",
            repository_columns!(),
            " FROM repository r JOIN namespace n ON n.id = r.namespace_id "
        )
    };
}

/// The same for a page, with the length of the description in place of its text.
macro_rules! select_listed {
    () => {
        "SELECT n.id AS namespace_id, n.name AS namespace, n.account_id AS account_id, r.id AS repository_id,
            r.name AS repository, r.is_public AS is_public, r.category AS category,
            octet_length(r.description) AS description_bytes, r.creator_id AS creator_id,
            r.creator_name AS creator_name, r.created_at AS created_at, r.updated_at AS updated_at
        FROM repository r JOIN namespace n ON n.id = r.namespace_id "
    };
}

/// The columns that a summary adds to the repositories `page` with the account `a`.
macro_rules! select_summary {
    () => {
        "SELECT page.*, a.name AS account_name,
            (SELECT COUNT(*) FROM tag t WHERE t.repository_id = page.repository_id) AS tag_count,
            (SELECT CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) FROM blob_link l JOIN blob b ON b.digest = l.digest
             WHERE l.repository_id = page.repository_id) AS size_bytes "
    };
}

/// The newest tags of the repository `r`, at most `$2`. Tags hold no spaces.
macro_rules! newest_tags {
    () => {
        "(SELECT string_agg(newest.name, ' ') FROM (
            SELECT t.name FROM tag t WHERE t.repository_id = r.id
            ORDER BY t.updated_at DESC, t.name DESC LIMIT $2) newest) AS tags"
    };
}

/// Maximum number of tags of a repository that is shown alone: more than a list shows.
const TAGS_OF_ONE: i64 = 100;

impl Catalog {
    /// Creates a repository.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if it exists, [`CatalogError::NotFound`] if its namespace does not.
    pub async fn create_repository(&self, new: NewRepository) -> Result<Repository, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            if existing(&mut tx, &new).await?.is_some() {
                return Err(CatalogError::conflict(format!("repository {}", new.name)));
            }
            let made = insert(&mut tx, &new).await?;
            let made = made.ok_or_else(|| CatalogError::conflict(format!("repository {}", new.name)))?;
            tx.commit().await?;
            Ok(made)
        })
    }

    /// Creates a repository, or returns the existing one unchanged.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if its namespace does not exist.
    pub async fn ensure_repository(&self, new: NewRepository) -> Result<Repository, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            if let Some(found) = existing(&mut tx, &new).await? {
                return Ok(found);
            }
            // Another transaction may have created it since; then the next attempt finds it.
            let made = insert(&mut tx, &new).await?.ok_or(CatalogError::Busy)?;
            tx.commit().await?;
            Ok(made)
        })
    }

    /// Returns the repository of that name.
    pub async fn find_repository(&self, name: &RepositoryName) -> Result<Option<Repository>, CatalogError> {
        let sql = concat!(select_repository!(), "WHERE n.name = $1 AND r.name = $2");
        let row = self
            .read_optional(|| self.query(sql).bind(name.namespace().as_str()).bind(name.repository().as_str()))
            .await?;
        row.as_ref().map(repository).transpose()
    }

    /// Changes the visibility, category and description of a repository.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such repository.
    pub async fn update_repository(
        &self,
        id: i64,
        is_public: bool,
        category: &str,
        description: &str,
    ) -> Result<(), CatalogError> {
        let (category, description) = (storable("category", category)?, storable("description", description)?);
        let sql = concat!(
            "UPDATE repository SET is_public = $2, category = $3, description = $4, ",
            touched!(),
            " WHERE id = $1"
        );
        let changed =
            self.write(|| self.query(sql).bind(id).bind(i64::from(is_public)).bind(category).bind(description)).await?;
        one_changed(changed, || format!("repository {id}"))
    }

    /// Deletes a repository with its tags, manifests, links, grants and upload sessions, and cancels its open jobs. The
    /// locations of the sessions become tombstones. Returns `false` if there was none.
    ///
    /// # Errors
    /// [`CatalogError::Immutable`] if one of its tags is immutable.
    pub async fn delete_repository(&self, id: i64) -> Result<bool, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            // A transaction that adds a row to the repository either has ended by now or waits for this one.
            let lock = tx.query("SELECT immutable_tags FROM repository WHERE id = $1{for_update}").bind(id);
            let Some(row) = tx.optional(lock).await? else { return Ok(false) };
            judge_all(&mut tx, id, &row.text("immutable_tags")?).await?;
            // From here on no session can move or reserve more.
            let lock = "SELECT id FROM upload WHERE repository_id = $1 ORDER BY id{for_update}";
            tx.all(tx.query(lock).bind(id)).await?;
            let sql = "INSERT INTO tombstone (location, condemned_at)
                SELECT location, {now} FROM upload WHERE repository_id = $1 ON CONFLICT (location) DO NOTHING";
            tx.execute(tx.query(sql).bind(id)).await?;
            cancel_jobs(&mut tx, id).await?;
            repository_goes(&mut tx, id).await?;
            stored_repository_goes(&mut tx, id).await?;
            // Manifests first, because they refer to the links. Tags are deleted with them, everything else with the
            // repository.
            for sql in [
                "DELETE FROM manifest WHERE repository_id = $1",
                "DELETE FROM blob_link WHERE repository_id = $1",
                "DELETE FROM repository WHERE id = $1",
            ] {
                tx.execute(tx.query(sql).bind(id)).await?;
            }
            tx.commit().await?;
            Ok::<_, CatalogError>(true)
        })
    }

    /// Returns one repository with its counts.
    pub async fn repository_summary(&self, id: i64) -> Result<Option<RepositorySummary>, CatalogError> {
        let sql = concat!(
            select_summary!(),
            "FROM (",
            select_repository!(),
            "WHERE r.id = $1) page JOIN account a ON a.id = page.account_id"
        );
        let Some(row) = self.read_optional(|| self.query(sql).bind(id)).await? else { return Ok(None) };
        let mut summary = summary(&row, row.text("description")?)?;
        let tags = self.repository_texts(&[id], false, TAGS_OF_ONE).await?.remove(&id);
        summary.tags = tags.unwrap_or_default().tags;
        Ok(Some(summary))
    }

    /// Returns the long texts of the given repositories: the descriptions if `with_descriptions`, and at most
    /// `most_tags` of the newest tags of each.
    pub async fn repository_texts(
        &self,
        ids: &[i64],
        with_descriptions: bool,
        most_tags: i64,
    ) -> Result<HashMap<i64, RepositoryTexts>, CatalogError> {
        let sql = concat!(
            "SELECT r.id, CASE WHEN $3 = 1 THEN r.description ELSE '' END AS description, ",
            newest_tags!(),
            " FROM repository r WHERE r.id IN (SELECT CAST(value AS BIGINT) FROM {list:$1})"
        );
        let list = list_parameter(ids.iter().map(i64::to_string));
        let rows =
            self.read_all(|| self.query(sql).bind(&list).bind(most_tags).bind(i64::from(with_descriptions))).await?;
        let texts = |row: &AnyRow| {
            let tags = row.optional_text("tags")?.unwrap_or_default();
            let tags = tags.split_whitespace().map(str::to_owned).collect();
            Ok((row.number("id")?, RepositoryTexts { description: row.text("description")?, tags }))
        };
        rows.iter().map(texts).collect()
    }

    /// Returns one page of the repositories that a user can see in an account, and their total number.
    pub async fn list_repositories(
        &self,
        list: ListRepositories,
    ) -> Result<(Vec<ListedRepository>, i64), CatalogError> {
        let filter = concat!(
            "WHERE n.account_id = $1 AND ",
            may_read!("$1", "$2", "$3"),
            " AND ($4 IS NULL OR n.name = $4) AND ($5 IS NULL OR {position}(r.name, $5) > 0)
            AND ($6 IS NULL OR r.category = $6) AND ($7 IS NULL OR r.is_public = $7) "
        );
        let (direction, inner, outer) = match (list.after_id, list.order) {
            (Some(_), _) => ("", ["r.id", "r.id"], ["page.repository_id", "page.repository_id"]),
            (None, RepoOrder::Name) => {
                (direction(list.descending), ["r.name", "n.name"], ["page.repository", "page.namespace"])
            }
            (None, RepoOrder::UpdatedAt) => {
                (direction(list.descending), ["r.updated_at", "r.id"], ["page.updated_at", "page.repository_id"])
            }
            (None, RepoOrder::TagCount) => (
                direction(list.descending),
                ["(SELECT COUNT(*) FROM tag t WHERE t.repository_id = r.id)", "r.id"],
                ["tag_count", "page.repository_id"],
            ),
        };
        // The inner query selects the page first, so that tags and bytes are counted only for its repositories.
        let page = format!(
            "{summary} FROM ({select} {filter} AND ($8 IS NULL OR r.id > $8)
                ORDER BY {first}{direction}, {second}{direction} LIMIT $9 OFFSET $10) page
            JOIN account a ON a.id = page.account_id ORDER BY {outer_first}{direction}, {outer_second}{direction}",
            summary = select_summary!(),
            select = select_listed!(),
            first = inner[0],
            second = inner[1],
            outer_first = outer[0],
            outer_second = outer[1],
        );
        let count =
            format!("SELECT COUNT(*) AS total FROM repository r JOIN namespace n ON n.id = r.namespace_id {filter}");
        let filtered = |text: &str| {
            self.dialect()
                .query_from_pieces(text)
                .bind(&list.account_id)
                .bind(&list.user_id)
                .bind(i64::from(list.is_admin))
                .bind(list.namespace.as_deref())
                .bind(list.name_contains.as_deref())
                .bind(list.category.as_deref())
                .bind(list.is_public.map(i64::from))
        };
        let rows = self
            .read_all(|| filtered(&page).bind(list.after_id).bind(list.limit.max(0)).bind(list.offset.max(0)))
            .await?;
        let total = self.read_optional(|| filtered(&count)).await?;
        let total = total.map_or(Ok(0), |row| row.number("total"))?;
        let listed = |row: &AnyRow| {
            let description_bytes = row.size("description_bytes")?;
            Ok(ListedRepository { summary: summary(row, String::new())?, description_bytes })
        };
        Ok((rows.iter().map(listed).collect::<Result<_, CatalogError>>()?, total))
    }
}

async fn existing(tx: &mut Tx, new: &NewRepository) -> Result<Option<Repository>, CatalogError> {
    let sql = concat!(select_repository!(), "WHERE r.namespace_id = $1 AND r.name = $2");
    let row = tx.optional(tx.query(sql).bind(new.namespace_id).bind(new.name.as_str())).await?;
    row.as_ref().map(repository).transpose()
}

/// Inserts a repository; returns `None` if another transaction has done so.
async fn insert(tx: &mut Tx, new: &NewRepository) -> Result<Option<Repository>, CatalogError> {
    // If there is no such namespace the foreign key refuses the row, so path and account do not matter then.
    let sql = "INSERT INTO repository (namespace_id, name, is_public, category, description, creator_id, creator_name,
            created_at, updated_at, path, account_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, {now}, {now},
            COALESCE((SELECT name FROM namespace WHERE id = $1), '') || '/' || $2,
            COALESCE((SELECT account_id FROM namespace WHERE id = $1), ''))
        ON CONFLICT (namespace_id, name) DO NOTHING";
    let statement = tx
        .query(sql)
        .bind(new.namespace_id)
        .bind(new.name.as_str())
        .bind(i64::from(new.is_public))
        .bind(storable("category", &new.category)?)
        .bind(storable("description", &new.description)?)
        .bind(&new.creator_id)
        .bind(&new.creator_name);
    match tx.execute(statement).await {
        Ok(0) => Ok(None),
        Ok(_) => {
            repository_made(tx, new.namespace_id).await?;
            existing(tx, new).await
        }
        Err(error) if is_foreign_key_violation(&error) => {
            Err(CatalogError::not_found(format!("namespace {}", new.namespace_id)))
        }
        Err(error) => Err(error),
    }
}

pub(crate) const fn direction(descending: bool) -> &'static str {
    if descending { " DESC" } else { "" }
}

pub(crate) fn repository(row: &AnyRow) -> Result<Repository, CatalogError> {
    described(row, row.text("description")?)
}

fn described(row: &AnyRow, description: String) -> Result<Repository, CatalogError> {
    Ok(Repository {
        id: row.number("repository_id")?,
        namespace_id: row.number("namespace_id")?,
        namespace: row.parsed("namespace")?,
        account_id: row.text("account_id")?,
        name: row.parsed("repository")?,
        is_public: row.flag("is_public")?,
        category: row.text("category")?,
        description,
        creator_id: row.text("creator_id")?,
        creator_name: row.text("creator_name")?,
        created_at_ms: row.number("created_at")?,
        updated_at_ms: row.number("updated_at")?,
    })
}

fn summary(row: &AnyRow, description: String) -> Result<RepositorySummary, CatalogError> {
    Ok(RepositorySummary {
        repository: described(row, description)?,
        account_name: row.text("account_name")?,
        tag_count: row.number("tag_count")?,
        size_bytes: row.size("size_bytes")?,
        tags: Vec::new(),
    })
}
