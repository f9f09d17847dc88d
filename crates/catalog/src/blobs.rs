//! Blobs: which content there is, where its bytes lie, and which repositories may serve it.
//!
//! A repository serves a blob only through a link of its own. A location that nothing names any more becomes a
//! tombstone, until its bytes are deleted.

use sqlx::any::AnyRow;
use transship_oci::Digest;

use crate::level::may_read;
use crate::quotas::{links_gone, links_made, upload_ended};
use crate::retry::{is_foreign_key_violation, repeated};
use crate::row::{Columns as _, list_of, list_parameter};
use crate::stored::{stored_less, stored_more};
use crate::tx::Tx;
use crate::{Catalog, CatalogError};

/// A blob that a repository links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Where its bytes lie.
    pub location: String,
}

/// The outcome of removing a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// It is gone.
    Done,
    /// A manifest of the repository names the blob, so the link stays.
    InUse,
    /// There was none.
    Absent,
}

impl Catalog {
    /// Returns a blob if the repository links it and it is in service.
    pub async fn find_blob(&self, repository_id: i64, digest: &Digest) -> Result<Option<Blob>, CatalogError> {
        let sql = "SELECT b.digest, b.size_bytes, b.location FROM blob_link l JOIN blob b ON b.digest = l.digest
            WHERE l.repository_id = $1 AND l.digest = $2 AND b.quarantined_at = 0";
        let row = self.read_optional(|| self.query(sql).bind(repository_id).bind(digest.as_str())).await?;
        row.as_ref().map(blob).transpose()
    }

    /// Returns those of the given blobs that the repository links, with their sizes, sorted by digest.
    pub async fn find_linked(
        &self,
        repository_id: i64,
        digests: &[Digest],
    ) -> Result<Vec<(Digest, u64)>, CatalogError> {
        let sql = "SELECT b.digest, b.size_bytes FROM blob_link l JOIN blob b ON b.digest = l.digest
            WHERE l.repository_id = $1 AND l.digest IN (SELECT value FROM {list:$2}) AND b.quarantined_at = 0
            ORDER BY b.digest";
        let list = list_parameter(digests);
        let rows = self.read_all(|| self.query(sql).bind(repository_id).bind(&list)).await?;
        rows.iter().map(|row| Ok((row.parsed("digest")?, row.size("size_bytes")?))).collect()
    }

    /// Links a blob of one repository into another, and returns its size; `None` if the first does not link it.
    pub async fn mount_blob(
        &self,
        from_repository_id: i64,
        to_repository_id: i64,
        digest: &Digest,
    ) -> Result<Option<u64>, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let sql = "UPDATE blob SET seen_at = {now} WHERE digest = $2 AND quarantined_at = 0
                AND EXISTS (SELECT 1 FROM blob_link l WHERE l.repository_id = $1 AND l.digest = $2)
                RETURNING size_bytes";
            let row = tx.optional(tx.query(sql).bind(from_repository_id).bind(digest.as_str())).await?;
            let Some(row) = row else { return Ok(None) };
            link(&mut tx, to_repository_id, digest, 0).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(Some(row.size("size_bytes")?))
        })
    }

    /// Links the given blobs into a repository, as far as the user may read them in some repository.
    ///
    /// The user may read a public repository, and one of its own account that it has a level on or administers. Returns
    /// the digests that are linked now, sorted.
    pub async fn mount_readable(
        &self,
        to_repository_id: i64,
        account_id: &str,
        user_id: &str,
        is_admin: bool,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, CatalogError> {
        self.mount_readable_from(None, to_repository_id, account_id, user_id, is_admin, digests).await
    }

    /// Does the same as [`Catalog::mount_readable`], but only from repositories of `namespace_id` if it is given.
    pub async fn mount_readable_from(
        &self,
        namespace_id: Option<i64>,
        to_repository_id: i64,
        account_id: &str,
        user_id: &str,
        is_admin: bool,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, CatalogError> {
        let wanted = list_parameter(digests);
        let readable = concat!(
            "SELECT DISTINCT l.digest AS digest FROM blob_link l JOIN repository r ON r.id = l.repository_id
            JOIN namespace n ON n.id = r.namespace_id
            WHERE l.digest IN (SELECT value FROM {list:$4}) AND ($5 IS NULL OR r.namespace_id = $5)
            AND ",
            may_read!("$1", "$2", "$3")
        );
        // Every transaction that touches several blobs locks them in this order, so that none deadlock.
        let touch = "UPDATE blob SET seen_at = {now} WHERE digest IN (
                SELECT digest FROM blob WHERE digest IN (SELECT value FROM {list:$1}) AND quarantined_at = 0
                ORDER BY digest{for_touch})
            RETURNING digest";
        let insert = "INSERT INTO blob_link (repository_id, digest, linked_at)
            SELECT $1, digest, {now} FROM blob WHERE digest IN (SELECT value FROM {list:$2}) ORDER BY digest
            ON CONFLICT (repository_id, digest) DO NOTHING RETURNING digest";
        let renew = "UPDATE blob_link SET linked_at = {now} WHERE repository_id = $1 AND digest IN (
            SELECT digest FROM blob_link WHERE repository_id = $1 AND digest IN (SELECT value FROM {list:$2})
            ORDER BY digest{for_touch})";
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let statement = tx.query(readable).bind(account_id).bind(user_id).bind(i64::from(is_admin)).bind(&wanted);
            let statement = statement.bind(namespace_id);
            let readable = list_of(&tx.all(statement).await?)?;
            let touched = list_of(&tx.all(tx.query(touch).bind(list_parameter(&readable))).await?)?;
            let list = list_parameter(&touched);
            tx.execute(tx.query(renew).bind(to_repository_id).bind(&list)).await?;
            let made = tx.all(tx.query(insert).bind(to_repository_id).bind(&list)).await;
            let made = list_of(&made.map_err(|error| repository_absent(error, to_repository_id))?)?;
            if !made.is_empty() {
                links_made(&mut tx, to_repository_id, &list_parameter(&made), 0).await?;
                stored_more(&mut tx, to_repository_id, &list_parameter(&made)).await?;
            }
            tx.commit().await?;
            Ok::<_, CatalogError>(touched)
        })
    }

    /// Removes a link, unless a manifest of the repository needs it.
    pub async fn unlink_blob(&self, repository_id: i64, digest: &Digest) -> Result<Unlinked, CatalogError> {
        let sql = "DELETE FROM blob_link WHERE repository_id = $1 AND digest = $2 AND NOT EXISTS (
            SELECT 1 FROM manifest_blob m WHERE m.repository_id = $1 AND m.blob_digest = $2) AND NOT EXISTS (
            SELECT 1 FROM manifest_missing_blob m WHERE m.repository_id = $1 AND m.blob_digest = $2)";
        let unlinked = repeated!(Write, {
            let mut tx = self.begin().await?;
            let gone = tx.execute(tx.query(sql).bind(repository_id).bind(digest.as_str())).await? > 0;
            if gone {
                links_gone(&mut tx, repository_id, &list_parameter([digest])).await?;
                stored_less(&mut tx, repository_id, &list_parameter([digest])).await?;
                tx.commit().await?;
            }
            Ok::<_, CatalogError>(gone)
        });
        match unlinked {
            Ok(false) => {}
            Ok(true) => return Ok(Unlinked::Done),
            // A manifest was stored in between.
            Err(error) if is_foreign_key_violation(&error) => return Ok(Unlinked::InUse),
            Err(error) => return Err(error),
        }
        let found = self.find_blob(repository_id, digest).await?;
        Ok(if found.is_some() { Unlinked::InUse } else { Unlinked::Absent })
    }
}

pub(crate) fn blob(row: &AnyRow) -> Result<Blob, CatalogError> {
    Ok(Blob { digest: row.parsed("digest")?, size_bytes: row.size("size_bytes")?, location: row.text("location")? })
}

/// Links a blob into a repository. This transaction must have updated the blob's row.
///
/// Call it last in a transaction, because it changes counters. `reserved_bytes` is the reservation of the upload
/// session that ends with this, 0 without one.
pub(crate) async fn link(
    tx: &mut Tx,
    repository_id: i64,
    digest: &Digest,
    reserved_bytes: i64,
) -> Result<(), CatalogError> {
    let renew = "UPDATE blob_link SET linked_at = {now} WHERE repository_id = $1 AND digest = $2";
    if tx.execute(tx.query(renew).bind(repository_id).bind(digest.as_str())).await? > 0 {
        return upload_ended(tx, repository_id, reserved_bytes).await;
    }
    let insert = "INSERT INTO blob_link (repository_id, digest, linked_at) VALUES ($1, $2, {now})
        ON CONFLICT (repository_id, digest) DO NOTHING";
    let linked = tx.execute(tx.query(insert).bind(repository_id).bind(digest.as_str())).await;
    if linked.map_err(|error| repository_absent(error, repository_id))? == 0 {
        // Another transaction has made the link since; the next attempt renews it.
        return Err(CatalogError::Busy);
    }
    links_made(tx, repository_id, &list_parameter([digest]), reserved_bytes).await?;
    stored_more(tx, repository_id, &list_parameter([digest])).await
}

/// Makes a tombstone for bytes that nobody could ever read and nothing names any more.
pub(crate) async fn condemn(tx: &mut Tx, location: &str) -> Result<(), CatalogError> {
    let sql = "INSERT INTO tombstone (location, condemned_at) VALUES ($1, {now}) ON CONFLICT (location) DO NOTHING";
    tx.execute(tx.query(sql).bind(location)).await.map(|_| ())
}

/// Makes a tombstone for bytes that somebody may still be reading.
pub(crate) async fn condemn_readable(tx: &mut Tx, location: &str) -> Result<(), CatalogError> {
    let sql = "INSERT INTO tombstone (location, condemned_at, was_readable) VALUES ($1, {now}, 1)
        ON CONFLICT (location) DO NOTHING";
    tx.execute(tx.query(sql).bind(location)).await.map(|_| ())
}

/// Turns a foreign key violation into an error that names the missing repository.
pub(crate) fn repository_absent(error: CatalogError, repository_id: i64) -> CatalogError {
    if is_foreign_key_violation(&error) {
        CatalogError::not_found(format!("repository {repository_id}"))
    } else {
        error
    }
}
