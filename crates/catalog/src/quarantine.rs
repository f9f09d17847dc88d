//! Quarantine: blobs whose bytes turned out to be wrong or missing, and the progress of the search for them.
//!
//! A quarantined blob keeps its row, its links and its location, but is treated as absent: it is not served or mounted,
//! and no new manifest may rely on it. So a client that pushes the content again sends it. The bytes come back at a new
//! location, and only then is the old one condemned.

use sqlx::any::AnyRow;
use transship_oci::Digest;

use crate::blobs::{blob, condemn};
use crate::quotas::upload_ended;
use crate::retry::repeated;
use crate::row::{Columns as _, limit_parameter, list_parameter, size_column};
use crate::{Blob, Catalog, CatalogError};

/// A blob, whichever repositories link it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Digest, size and location.
    pub blob: Blob,
    /// Why it is in quarantine; `None` if it is not.
    pub quarantined: Option<String>,
}

/// A turn in the round of checks over all blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubTurn {
    /// The last blob that was checked in this round; `None` at its beginning.
    pub after: Option<Digest>,
}

impl Catalog {
    /// Returns one page of all blobs, sorted by digest.
    pub async fn stored_blobs(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>, CatalogError> {
        let sql = "SELECT digest, size_bytes, location, quarantined_at, quarantine_reason FROM blob
            WHERE digest > $1 ORDER BY digest LIMIT $2";
        let after = after.map_or("", Digest::as_str);
        let rows = self.read_all(|| self.query(sql).bind(after).bind(limit_parameter(limit))).await?;
        rows.iter().map(stored).collect()
    }

    /// Returns a blob as it is now, whichever repositories link it.
    pub async fn stored_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>, CatalogError> {
        let sql = "SELECT digest, size_bytes, location, quarantined_at, quarantine_reason FROM blob WHERE digest = $1";
        let row = self.read_optional(|| self.query(sql).bind(digest.as_str())).await?;
        row.as_ref().map(stored).transpose()
    }

    /// Takes a blob out of service. Returns `false` if it has another location by now or is in quarantine already.
    pub async fn quarantine_blob(&self, blob: &Blob, reason: &str) -> Result<bool, CatalogError> {
        let sql = "UPDATE blob SET quarantined_at = {now}, quarantine_reason = $3, repair_at = 0
            WHERE digest = $1 AND location = $2 AND quarantined_at = 0";
        let changed = self.write(|| self.query(sql).bind(blob.digest.as_str()).bind(&blob.location).bind(reason));
        Ok(changed.await? > 0)
    }

    /// Puts a blob back into service, because its bytes at this location are right. Returns `false` if it was not in
    /// quarantine there.
    pub async fn release_blob(&self, blob: &Blob) -> Result<bool, CatalogError> {
        let sql = "UPDATE blob SET quarantined_at = 0, quarantine_reason = NULL
            WHERE digest = $1 AND location = $2 AND quarantined_at > 0";
        Ok(self.write(|| self.query(sql).bind(blob.digest.as_str()).bind(&blob.location)).await? > 0)
    }

    /// Claims at most `limit` quarantined blobs that a repository links and whose repair is due. Nobody else gets them
    /// for `pause_ms`.
    pub async fn claim_repairs(&self, pause_ms: i64, limit: usize) -> Result<Vec<StoredBlob>, CatalogError> {
        let due = "SELECT digest FROM blob WHERE quarantined_at > 0 AND repair_at <= {now}
            AND EXISTS (SELECT 1 FROM blob_link l WHERE l.digest = blob.digest) ORDER BY repair_at, digest LIMIT $1";
        // Nearly always nothing is due, and finding that out needs no turn to write.
        let found = self.read_all(|| self.query(due).bind(limit_parameter(limit))).await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let digests = found.iter().map(|row| row.text("digest")).collect::<Result<Vec<_>, _>>()?;
        let sql = "UPDATE blob SET repair_at = {now} + $1
            WHERE quarantined_at > 0 AND repair_at <= {now} AND digest IN (SELECT value FROM {list:$2})
            RETURNING digest, size_bytes, location, quarantined_at, quarantine_reason";
        let list = list_parameter(&digests);
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let rows = tx.all(tx.query(sql).bind(pause_ms).bind(&list)).await?;
            tx.commit().await?;
            rows.iter().map(stored).collect::<Result<Vec<_>, CatalogError>>()
        })
    }

    /// Returns at most `limit` names of accounts that link a blob, and one repository that links it; `None` if none
    /// does.
    pub async fn linked_by(&self, digest: &Digest, limit: usize) -> Result<Option<(i64, Vec<String>)>, CatalogError> {
        let sql =
            "SELECT a.name, MIN(r.id) AS repository_id FROM blob_link l JOIN repository r ON r.id = l.repository_id
            JOIN namespace n ON n.id = r.namespace_id JOIN account a ON a.id = n.account_id
            WHERE l.digest = $1 GROUP BY a.name ORDER BY a.name LIMIT $2";
        let rows = self.read_all(|| self.query(sql).bind(digest.as_str()).bind(limit_parameter(limit))).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let names = rows.iter().map(|row| row.text("name")).collect::<Result<Vec<_>, _>>()?;
        Ok(Some((first.number("repository_id")?, names)))
    }

    /// Returns a blob if it is in service and a repository of one of these accounts links it.
    pub async fn blob_of_accounts(&self, digest: &Digest, accounts: &[String]) -> Result<Option<Blob>, CatalogError> {
        let sql = "SELECT b.digest, b.size_bytes, b.location FROM blob b
            WHERE b.digest = $1 AND b.quarantined_at = 0 AND EXISTS (
                SELECT 1 FROM blob_link l JOIN repository r ON r.id = l.repository_id
                JOIN namespace n ON n.id = r.namespace_id JOIN account a ON a.id = n.account_id
                WHERE l.digest = b.digest AND a.name IN (SELECT value FROM {list:$2}))";
        let list = list_parameter(accounts);
        let row = self.read_optional(|| self.query(sql).bind(digest.as_str()).bind(&list)).await?;
        row.as_ref().map(blob).transpose()
    }

    /// Returns at most `limit` names of namespaces of these accounts that link a blob, sorted.
    pub async fn namespaces_of_accounts(
        &self,
        digest: &Digest,
        accounts: &[String],
        limit: usize,
    ) -> Result<Vec<String>, CatalogError> {
        let sql = "SELECT DISTINCT n.name AS name FROM blob_link l JOIN repository r ON r.id = l.repository_id
            JOIN namespace n ON n.id = r.namespace_id JOIN account a ON a.id = n.account_id
            WHERE l.digest = $1 AND a.name IN (SELECT value FROM {list:$2}) ORDER BY n.name LIMIT $3";
        let (list, limit) = (list_parameter(accounts), limit_parameter(limit));
        let rows = self.read_all(|| self.query(sql).bind(digest.as_str()).bind(&list).bind(limit)).await?;
        rows.iter().map(|row| row.text("name")).collect()
    }

    /// Gives a quarantined blob the bytes of an upload session, and ends the session.
    ///
    /// The bytes must be durable and have the blob's digest. Links stay as they are. Returns `false` if the blob is no
    /// longer in quarantine; the session's bytes are then condemned.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such session, or `token` is not its writer.
    pub async fn finish_repair(
        &self,
        upload_id: &str,
        token: &str,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<bool, CatalogError> {
        let size = size_column(size_bytes)?;
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let sql = "DELETE FROM upload WHERE id = $1 AND writer_token = $2 RETURNING location, repository_id,
                reserved_bytes";
            let session = tx.optional(tx.query(sql).bind(upload_id).bind(token)).await?;
            let session = session.ok_or_else(|| CatalogError::not_found(format!("upload session {upload_id}")))?;
            let fresh = session.text("location")?;
            let lock =
                "SELECT location FROM blob WHERE digest = $1 AND size_bytes = $2 AND quarantined_at > 0{for_touch}";
            let bad = tx.optional(tx.query(lock).bind(digest.as_str()).bind(size)).await?;
            let bad = bad.map(|row| row.text("location")).transpose()?;
            if let Some(bad) = &bad {
                set_location(&mut tx, digest, &fresh).await?;
                condemn(&mut tx, bad).await?;
            } else {
                condemn(&mut tx, &fresh).await?;
            }
            upload_ended(&mut tx, session.number("repository_id")?, session.number("reserved_bytes")?).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(bad.is_some())
        })
    }

    /// Begins or continues the round of checks. Returns `None` while another process holds it, or before the next round
    /// is due.
    pub async fn take_scrub(&self, owner: &str, lease_ms: i64) -> Result<Option<ScrubTurn>, CatalogError> {
        let due = "SELECT id FROM scrub WHERE next_at <= {now} AND (owner = $1 OR lease_until <= {now})";
        if self.read_optional(|| self.query(due).bind(owner)).await?.is_none() {
            return Ok(None);
        }
        let sql = "UPDATE scrub SET owner = $1, lease_until = {now} + $2,
                begun_at = CASE WHEN after_digest = '' THEN {now} ELSE begun_at END
            WHERE next_at <= {now} AND (owner = $1 OR lease_until <= {now}) RETURNING after_digest";
        let row = self.write_returning(|| self.query(sql).bind(owner).bind(lease_ms)).await?;
        let Some(row) = row else { return Ok(None) };
        let after = row.text("after_digest")?;
        let after = if after.is_empty() { None } else { Some(row.parsed("after_digest")?) };
        Ok(Some(ScrubTurn { after }))
    }

    /// Records the progress of a round. Returns `false` if another process holds it.
    pub async fn save_scrub(&self, owner: &str, lease_ms: i64, after: &Digest) -> Result<bool, CatalogError> {
        let sql = "UPDATE scrub SET after_digest = $3, lease_until = {now} + $2 WHERE owner = $1";
        Ok(self.write(|| self.query(sql).bind(owner).bind(lease_ms).bind(after.as_str())).await? > 0)
    }

    /// Ends a round; the next one begins `interval_ms` after this one began.
    pub async fn end_scrub(&self, owner: &str, interval_ms: i64) -> Result<bool, CatalogError> {
        let sql = "UPDATE scrub SET after_digest = '', owner = NULL, lease_until = 0, next_at = begun_at + $2 WHERE owner = $1";
        Ok(self.write(|| self.query(sql).bind(owner).bind(interval_ms)).await? > 0)
    }
}

/// Puts a blob into service with new bytes. This transaction must hold the row, and condemns the old bytes.
pub(crate) async fn set_location(tx: &mut crate::tx::Tx, digest: &Digest, location: &str) -> Result<(), CatalogError> {
    let sql = "UPDATE blob SET location = $2, quarantined_at = 0, quarantine_reason = NULL, seen_at = {now} WHERE digest = $1";
    tx.execute(tx.query(sql).bind(digest.as_str()).bind(location)).await.map(|_| ())
}

fn stored(row: &AnyRow) -> Result<StoredBlob, CatalogError> {
    let quarantined = if row.number("quarantined_at")? > 0 {
        Some(row.optional_text("quarantine_reason")?.unwrap_or_default())
    } else {
        None
    };
    Ok(StoredBlob { blob: blob(row)?, quarantined })
}
