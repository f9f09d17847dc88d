//! Counters of what an account has, so that an overview costs the same however much that is.
//!
//! Bytes are those of the distinct blobs that the account's repositories link, in whichever organization. The quota of
//! each organization counts its own bytes (see `quotas`). The transaction that makes or removes links changes this
//! counter after those of the organization.

use sqlx::any::AnyRow;

use crate::row::{Columns as _, list_of, list_parameter};
use crate::tx::Tx;
use crate::{Catalog, CatalogError};

/// What an account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountOverview {
    /// Namespaces.
    pub namespaces: i64,
    /// Repositories.
    pub repositories: i64,
    /// Tags.
    pub tags: i64,
    /// Bytes of the distinct blobs that its repositories link.
    pub stored_bytes: i64,
}

/// A counter of stored bytes whose value is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongStoredBytes {
    /// The value of the counter.
    pub says: i64,
    /// The right value.
    pub is: i64,
}

/// The right value of the counter of the account `a`.
macro_rules! counted {
    () => {
        "(SELECT CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) FROM blob b WHERE b.digest IN
            (SELECT l.digest FROM blob_link l JOIN repository r ON r.id = l.repository_id WHERE r.account_id = a.id))"
    };
}

const COUNT: &str =
    concat!("SELECT a.stored_bytes AS says, ", counted!(), " AS counted FROM account a WHERE a.id = $1");

/// Bytes of those blobs of the JSON list `$2` that no repository of the account links except `$1`.
macro_rules! bytes_only_here {
    () => {
        "(SELECT CAST(COALESCE(SUM(b.size_bytes), 0) AS BIGINT) FROM blob b
            WHERE b.digest IN (SELECT value FROM {list:$2}) AND NOT EXISTS (
                SELECT 1 FROM blob_link l JOIN repository r ON r.id = l.repository_id
                WHERE l.digest = b.digest AND l.repository_id <> $1 AND r.account_id = account.id))"
    };
}

const MORE: &str = concat!(
    "UPDATE account SET stored_bytes = stored_bytes + ",
    bytes_only_here!(),
    " WHERE id = (SELECT account_id FROM repository WHERE id = $1)"
);
const LESS: &str = concat!(
    "UPDATE account SET stored_bytes = stored_bytes - ",
    bytes_only_here!(),
    " WHERE id = (SELECT account_id FROM repository WHERE id = $1)"
);

impl Catalog {
    /// Returns what an account has; zeros if there is no such account.
    pub async fn account_overview(&self, account_id: &str) -> Result<AccountOverview, CatalogError> {
        // One statement, so that all is of one moment.
        let sql = "SELECT a.stored_bytes AS stored_bytes, COUNT(n.id) AS namespaces,
                CAST(COALESCE(SUM(n.used_repositories), 0) AS BIGINT) AS repositories,
                CAST(COALESCE(SUM(n.used_tags), 0) AS BIGINT) AS tags
            FROM account a LEFT JOIN namespace n ON n.account_id = a.id WHERE a.id = $1 GROUP BY a.id, a.stored_bytes";
        let Some(row) = self.read_optional(|| self.query(sql).bind(account_id)).await? else {
            return Ok(AccountOverview::default());
        };
        Ok(AccountOverview {
            namespaces: row.number("namespaces")?,
            repositories: row.number("repositories")?,
            tags: row.number("tags")?,
            stored_bytes: row.number("stored_bytes")?,
        })
    }

    /// Counts again what an account stores; returns `None` if its counter is right.
    pub async fn wrong_stored_bytes(&self, account_id: &str) -> Result<Option<WrongStoredBytes>, CatalogError> {
        let row = self.read_optional(|| self.query(COUNT).bind(account_id)).await?;
        row.as_ref().map_or(Ok(None), wrong)
    }

    /// Corrects an account's counter; returns `None` if it was right.
    pub async fn recount_stored_bytes(&self, account_id: &str) -> Result<Option<WrongStoredBytes>, CatalogError> {
        crate::retry::repeated!(Write, {
            let mut tx = self.begin().await?;
            tx.all(tx.query("SELECT id FROM account WHERE id = $1{for_touch}").bind(account_id)).await?;
            let Some(row) = tx.optional(tx.query(COUNT).bind(account_id)).await? else { return Ok(None) };
            let found = wrong(&row)?;
            if let Some(found) = found {
                let sql = "UPDATE account SET stored_bytes = $2 WHERE id = $1";
                tx.execute(tx.query(sql).bind(account_id).bind(found.is)).await?;
                tx.commit().await?;
            }
            Ok::<_, CatalogError>(found)
        })
    }
}

fn wrong(row: &AnyRow) -> Result<Option<WrongStoredBytes>, CatalogError> {
    let (says, is) = (row.number("says")?, row.number("counted")?);
    Ok((says != is).then_some(WrongStoredBytes { says, is }))
}

/// Counts the links that this transaction has made in a repository; `digests` is a JSON list.
pub(crate) async fn stored_more(tx: &mut Tx, repository_id: i64, digests: &str) -> Result<(), CatalogError> {
    change(tx, MORE, repository_id, digests).await
}

/// Subtracts the links that this transaction has removed from a repository; `digests` is a JSON list.
pub(crate) async fn stored_less(tx: &mut Tx, repository_id: i64, digests: &str) -> Result<(), CatalogError> {
    change(tx, LESS, repository_id, digests).await
}

/// Subtracts all links of a repository that this transaction is about to delete. The transaction must hold it.
pub(crate) async fn stored_repository_goes(tx: &mut Tx, repository_id: i64) -> Result<(), CatalogError> {
    let rows = tx.all(tx.query("SELECT digest FROM blob_link WHERE repository_id = $1").bind(repository_id)).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let digests = list_parameter(&list_of(&rows)?);
    change(tx, LESS, repository_id, &digests).await
}

/// Changes the counter of an account, which it locks first: a statement that waits for a row has read everything else
/// before it waited.
async fn change(tx: &mut Tx, sql: &'static str, repository_id: i64, digests: &str) -> Result<(), CatalogError> {
    let hold = "SELECT id FROM account WHERE id = (SELECT account_id FROM repository WHERE id = $1){for_touch}";
    tx.all(tx.query(hold).bind(repository_id)).await?;
    tx.execute(tx.query(sql).bind(repository_id).bind(digests)).await.map(|_| ())
}
