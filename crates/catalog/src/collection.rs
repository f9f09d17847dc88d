//! Collection: finds what nothing needs any more and removes it, but never what a push relies on.
//!
//! Each step reads one page of a table in key order, without a lock. It then removes, in one transaction, the rows that
//! are **still** garbage. A transaction that relies on a row updates that row. If it commits first, the collector finds
//! the row in use; if the collector commits first, the other transaction finds the row gone.

use sqlx::any::AnyRow;
use transship_oci::Digest;

use crate::quotas::links_gone;
use crate::retry::{is_foreign_key_violation, repeated};
use crate::row::{Columns as _, limit_parameter, list_of, list_parameter};
use crate::stored::stored_less;
use crate::{Catalog, CatalogError};

/// A link of a repository to a blob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkKey {
    /// The repository.
    pub repository_id: i64,
    /// The blob.
    pub digest: Digest,
}

/// The garbage on one page of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    /// The keys of those rows, in order.
    pub garbage: Vec<K>,
    /// The last row of the page; `None` at the end of the table.
    pub last: Option<K>,
}

/// The outcome of condemning blobs that nothing links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condemned {
    /// Number of blobs that are tombstones now.
    pub blobs: u64,
    /// Their total size.
    pub size_bytes: u64,
}

/// A location whose bytes are to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The location.
    pub location: String,
    /// When it was condemned.
    pub condemned_at_ms: i64,
}

/// Which bytes to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Bytes that nobody could ever read.
    Unread,
    /// Bytes that somebody may still be reading, once their grace is over.
    Readable {
        /// Time since they were condemned after which they may be deleted.
        grace_ms: i64,
    },
}

/// An SQL expression that is true if no blob and no upload session names `$location`, so that its bytes are garbage.
macro_rules! is_unnamed {
    ($location:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM blob b WHERE b.location = ",
            $location,
            ") AND NOT EXISTS (SELECT 1 FROM upload u WHERE u.location = ",
            $location,
            ")"
        )
    };
}

/// An SQL expression that is true if no manifest of its repository names the blob of a link, whichever came first.
macro_rules! is_unneeded {
    ($link:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM manifest_blob m WHERE m.repository_id = ",
            $link,
            ".repository_id AND m.blob_digest = ",
            $link,
            ".digest) AND NOT EXISTS (SELECT 1 FROM manifest_missing_blob m WHERE m.repository_id = ",
            $link,
            ".repository_id AND m.blob_digest = ",
            $link,
            ".digest)"
        )
    };
}

impl Catalog {
    /// Returns one page of links. A link is garbage if no manifest of its repository names the blob and nobody has
    /// touched the link for `grace_ms`.
    pub async fn unneeded_links(
        &self,
        grace_ms: i64,
        after: Option<&LinkKey>,
        limit: usize,
    ) -> Result<Page<LinkKey>, CatalogError> {
        let sql = concat!(
            "SELECT l.repository_id, l.digest, CAST(CASE WHEN l.linked_at <= {now} - $3 AND ",
            is_unneeded!("l"),
            " THEN 1 ELSE 0 END AS BIGINT) AS garbage
            FROM blob_link l WHERE (l.repository_id, l.digest) > ($1, $2) ORDER BY l.repository_id, l.digest LIMIT $4"
        );
        // Repositories are numbered from 1, and every digest is greater than the empty text.
        let (repository_id, digest) = after.map_or((0, ""), |key| (key.repository_id, key.digest.as_str()));
        let limit = limit_parameter(limit);
        let rows =
            self.read_all(|| self.query(sql).bind(repository_id).bind(digest).bind(grace_ms).bind(limit)).await?;
        page(&rows, |row| Ok(LinkKey { repository_id: row.number("repository_id")?, digest: row.parsed("digest")? }))
    }

    /// Removes those of the given links of a repository that are still unneeded, and returns them, sorted.
    pub async fn remove_links(
        &self,
        repository_id: i64,
        digests: &[Digest],
        grace_ms: i64,
    ) -> Result<Vec<Digest>, CatalogError> {
        let list = list_parameter(digests);
        // First wait for the transactions that touch these links, locking in the same order as they do. The deletion
        // then sees what they have committed.
        let lock = "SELECT digest FROM blob_link WHERE repository_id = $1 AND digest IN (SELECT value FROM {list:$2})
            ORDER BY digest{for_update}";
        let delete = concat!(
            "DELETE FROM blob_link WHERE repository_id = $1 AND digest IN (SELECT value FROM {list:$2})
            AND linked_at <= {now} - $3 AND ",
            is_unneeded!("blob_link"),
            " RETURNING digest"
        );
        repeated!(Write, {
            let mut tx = self.begin().await?;
            tx.all(tx.query(lock).bind(repository_id).bind(&list)).await?;
            let removed = tx.all(tx.query(delete).bind(repository_id).bind(&list).bind(grace_ms)).await;
            let removed = list_of(&removed.map_err(needed_again)?)?;
            if !removed.is_empty() {
                links_gone(&mut tx, repository_id, &list_parameter(&removed)).await?;
                stored_less(&mut tx, repository_id, &list_parameter(&removed)).await?;
            }
            tx.commit().await?;
            Ok::<_, CatalogError>(removed)
        })
    }

    /// Returns one page of blobs. A blob is garbage if no repository links it.
    pub async fn unlinked_blobs(&self, after: Option<&Digest>, limit: usize) -> Result<Page<Digest>, CatalogError> {
        let sql = "SELECT b.digest, CAST(CASE WHEN NOT EXISTS (SELECT 1 FROM blob_link l WHERE l.digest = b.digest)
                THEN 1 ELSE 0 END AS BIGINT) AS garbage
            FROM blob b WHERE b.digest > $1 ORDER BY b.digest LIMIT $2";
        let after = after.map_or("", Digest::as_str);
        let rows = self.read_all(|| self.query(sql).bind(after).bind(limit_parameter(limit))).await?;
        page(&rows, |row| row.parsed("digest"))
    }

    /// Turns those of the given blobs that still have no link into tombstones of their locations. From then on nobody
    /// can link them; a push of the same content gets a new location.
    pub async fn condemn_blobs(&self, digests: &[Digest]) -> Result<Condemned, CatalogError> {
        let list = list_parameter(digests);
        let lock = "SELECT digest FROM blob WHERE digest IN (SELECT value FROM {list:$1}) ORDER BY digest{for_update}";
        let delete = "DELETE FROM blob WHERE digest IN (SELECT value FROM {list:$1})
            AND NOT EXISTS (SELECT 1 FROM blob_link l WHERE l.digest = blob.digest)
            RETURNING location, size_bytes";
        repeated!(Write, {
            let mut tx = self.begin().await?;
            tx.all(tx.query(lock).bind(&list)).await?;
            let rows = tx.all(tx.query(delete).bind(&list)).await.map_err(needed_again)?;
            let mut condemned = Condemned::default();
            let mut locations = Vec::with_capacity(rows.len());
            for row in &rows {
                locations.push(row.text("location")?);
                condemned.blobs += 1;
                condemned.size_bytes += row.size("size_bytes")?;
            }
            let bury = "INSERT INTO tombstone (location, condemned_at, was_readable)
                SELECT value, {now}, 1 FROM {list:$1} WHERE true ON CONFLICT (location) DO NOTHING";
            tx.execute(tx.query(bury).bind(list_parameter(&locations))).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(condemned)
        })
    }

    /// Returns those of the given locations that no row names, sorted. All of them must hold bytes.
    ///
    /// A location is recorded before its first byte is written, and never recorded twice. So a location that was found
    /// in the store **before** this call and is not named now never will be.
    pub async fn unnamed_locations<T: AsRef<str>>(&self, found: &[T]) -> Result<Vec<String>, CatalogError> {
        // One statement, so that a location that moves meanwhile from its upload session to its blob is seen in one of
        // them.
        let sql = concat!(
            "SELECT value AS location FROM {list:$1} WHERE ",
            is_unnamed!("value"),
            " AND NOT EXISTS (SELECT 1 FROM tombstone t WHERE t.location = value) ORDER BY value"
        );
        let list = list_parameter(found);
        let rows = self.read_all(|| self.query(sql).bind(&list)).await?;
        rows.iter().map(|row| row.text("location")).collect()
    }

    /// Turns those of the given locations that no row names into tombstones, and returns their number.
    pub async fn condemn_unnamed(&self, locations: &[String]) -> Result<u64, CatalogError> {
        let sql = concat!(
            "INSERT INTO tombstone (location, condemned_at, was_readable)
            SELECT value, {now}, 1 FROM {list:$1} WHERE ",
            is_unnamed!("value"),
            " ON CONFLICT (location) DO NOTHING"
        );
        let list = list_parameter(locations);
        self.write(|| self.query(sql).bind(&list)).await
    }

    /// Returns one page of tombstones after `after` whose bytes may be deleted now, oldest first. No row should name
    /// one of them; if one does, the tombstone is left out, because deleting bytes is the only step that cannot be
    /// undone.
    pub async fn due_tombstones(
        &self,
        remains: Remains,
        after: Option<&Tombstone>,
        limit: usize,
    ) -> Result<Vec<Tombstone>, CatalogError> {
        let sql = concat!(
            "SELECT t.location, t.condemned_at FROM tombstone t
            WHERE t.was_readable = $1 AND t.condemned_at <= {now} - $2 AND (t.condemned_at, t.location) > ($3, $4) AND ",
            is_unnamed!("t.location"),
            " ORDER BY t.condemned_at, t.location LIMIT $5"
        );
        let (was_readable, grace_ms) = match remains {
            Remains::Unread => (0_i64, 0),
            Remains::Readable { grace_ms } => (1, grace_ms),
        };
        let (at, location) = after.map_or((0, ""), |last| (last.condemned_at_ms, last.location.as_str()));
        let limit = limit_parameter(limit);
        let rows = self
            .read_all(|| self.query(sql).bind(was_readable).bind(grace_ms).bind(at).bind(location).bind(limit))
            .await?;
        let tombstone = |row: &AnyRow| {
            Ok(Tombstone { location: row.text("location")?, condemned_at_ms: row.number("condemned_at")? })
        };
        rows.iter().map(tombstone).collect()
    }

    /// Deletes the tombstone of a location whose bytes are deleted. Returns `false` if there was none.
    pub async fn forget_tombstone(&self, location: &str) -> Result<bool, CatalogError> {
        let sql = "DELETE FROM tombstone WHERE location = $1";
        Ok(self.write(|| self.query(sql).bind(location)).await? > 0)
    }
}

fn page<K>(rows: &[AnyRow], key: impl Fn(&AnyRow) -> Result<K, CatalogError>) -> Result<Page<K>, CatalogError> {
    let mut garbage = Vec::new();
    for row in rows {
        if row.flag("garbage")? {
            garbage.push(key(row)?);
        }
    }
    Ok(Page { garbage, last: rows.last().map(key).transpose()? })
}

/// Turns a foreign key violation, the second safeguard, into [`CatalogError::Busy`]: a row that was added in between
/// needs one that was to be deleted. Nothing was changed, and the next attempt sees the new row.
fn needed_again(error: CatalogError) -> CatalogError {
    if is_foreign_key_violation(&error) { CatalogError::Busy } else { error }
}
