//! Upload sessions: everything that another process needs in order to go on with one.
//!
//! One writer at a time holds a session, under a lease by the database's clock, and every change it makes names its token.

use sqlx::any::AnyRow;
use transship_oci::{Digest, DigestAlgorithm};

use crate::blobs::{condemn, link, repository_absent};
use crate::catalog::Commit;
use crate::quarantine::replace_bytes;
use crate::retry::{is_unique_violation, repeated};
use crate::row::{Columns as _, limit_parameter, size_column};
use crate::{Catalog, CatalogError};

/// An upload session to open.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its id; not to be guessed.
    pub id: String,
    /// The repository that the blob will be linked to.
    pub repository_id: i64,
    /// The user it is bound to.
    pub user_id: String,
    /// Where its bytes go; fresh.
    pub location: String,
    /// How its bytes are hashed.
    pub algorithm: DigestAlgorithm,
    /// When it ends, should nothing come. Each checkpoint gives it the same time again.
    pub expires_at_ms: i64,
    /// How many sessions of the user there may be, this one included.
    pub most_of_user: i64,
}

/// An upload session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// The repository that the blob will be linked to.
    pub repository_id: i64,
    /// The user it is bound to.
    pub user_id: String,
    /// Where its bytes go.
    pub location: String,
    /// How its bytes are hashed.
    pub algorithm: DigestAlgorithm,
    /// Bytes that are durable.
    pub offset_bytes: u64,
    /// The hasher after those bytes.
    pub hash_state: Option<String>,
    /// What the store needs to go on after those bytes.
    pub store_state: Option<String>,
}

/// What closing a session left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedUpload {
    /// The session's own location when the content was there already: a tombstone now.
    pub unused_location: Option<String>,
}

macro_rules! upload_columns {
    () => {
        "id, repository_id, user_id, location, algorithm, offset_bytes, hash_state, store_state"
    };
}

impl Catalog {
    /// Opens a session; `false` when the user has too many of them. (On PostgreSQL, calls at the same moment do not see
    /// each other and may go some sessions beyond the limit.)
    ///
    /// A power cut may take the session away as long as it has no durable bytes.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] without the repository, [`CatalogError::Conflict`] when id or location is used already.
    pub async fn create_upload(&self, new: &NewUpload) -> Result<bool, CatalogError> {
        // How long the session lives is kept by the database's clock, whatever that of the process says later.
        let sql = "INSERT INTO upload (id, repository_id, user_id, location, algorithm, offset_bytes, writer_until,
                life_ms, expires_at)
            SELECT $1, $2, $3, $4, $5, 0, 0, CASE WHEN $6 > {now} THEN $6 - {now} ELSE 0 END, $6
            WHERE (SELECT COUNT(*) FROM (SELECT 1 AS one FROM upload WHERE user_id = $3 LIMIT $7) AS own) < $7";
        let made = self
            .write_with(Commit::Volatile, || {
                self.query(sql)
                    .bind(&new.id)
                    .bind(new.repository_id)
                    .bind(&new.user_id)
                    .bind(&new.location)
                    .bind(new.algorithm.as_str())
                    .bind(new.expires_at_ms)
                    .bind(new.most_of_user)
            })
            .await;
        match made {
            Ok(rows) => Ok(rows > 0),
            Err(error) if is_unique_violation(&error) => {
                Err(CatalogError::conflict(format!("upload session {}", new.id)))
            }
            Err(error) => Err(repository_absent(error, new.repository_id)),
        }
    }

    /// The session with that id.
    pub async fn find_upload(&self, id: &str) -> Result<Option<Upload>, CatalogError> {
        let sql = concat!("SELECT ", upload_columns!(), " FROM upload WHERE id = $1");
        let row = self.read_optional(|| self.query(sql).bind(id)).await?;
        row.as_ref().map(upload).transpose()
    }

    /// Makes `token` the session's writer for `lease_ms`; nothing while another writer lives, or without the session.
    pub async fn take_writer(&self, id: &str, token: &str, lease_ms: i64) -> Result<Option<Upload>, CatalogError> {
        let sql = concat!(
            "UPDATE upload SET writer_token = $2, writer_until = {now} + $3, expires_at = {now} + life_ms
            WHERE id = $1 AND (writer_token IS NULL OR writer_token = $2 OR writer_until <= {now}) RETURNING ",
            upload_columns!()
        );
        let row =
            self.write_returning_with(Commit::Volatile, || self.query(sql).bind(id).bind(token).bind(lease_ms)).await?;
        row.as_ref().map(upload).transpose()
    }

    /// Records how far the writer's bytes are durable, and renews its lease. `false` when it is not the writer any more.
    pub async fn save_checkpoint(
        &self,
        id: &str,
        token: &str,
        offset_bytes: u64,
        hash_state: &str,
        store_state: &str,
        lease_ms: i64,
    ) -> Result<bool, CatalogError> {
        let sql = "UPDATE upload SET offset_bytes = $3, hash_state = $4, store_state = $5,
                writer_until = {now} + $6, expires_at = {now} + life_ms
            WHERE id = $1 AND writer_token = $2 AND offset_bytes <= $3";
        let offset = size_column(offset_bytes)?;
        let changed = self
            .write(|| {
                self.query(sql).bind(id).bind(token).bind(offset).bind(hash_state).bind(store_state).bind(lease_ms)
            })
            .await?;
        Ok(changed > 0)
    }

    /// Renews the writer's lease and the session's life, and records nothing. `false` when it is not the writer any more.
    pub async fn renew_writer(&self, id: &str, token: &str, lease_ms: i64) -> Result<bool, CatalogError> {
        let sql = "UPDATE upload SET writer_until = {now} + $3, expires_at = {now} + life_ms
            WHERE id = $1 AND writer_token = $2";
        Ok(self.write(|| self.query(sql).bind(id).bind(token).bind(lease_ms)).await? > 0)
    }

    /// Ends the writer's lease. `false` when it was not the writer.
    pub async fn release_writer(&self, id: &str, token: &str) -> Result<bool, CatalogError> {
        let sql = "UPDATE upload SET writer_token = NULL, writer_until = 0 WHERE id = $1 AND writer_token = $2";
        Ok(self.write_with(Commit::Volatile, || self.query(sql).bind(id).bind(token)).await? > 0)
    }

    /// Closes a session whose bytes are durable and have this digest: the blob exists, the repository links it, and the
    /// session is gone but for the note that it ended so, all in one transaction. Content that was there already keeps its
    /// location.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] without the session, or when `token` is not its writer any more;
    /// [`CatalogError::QuotaExceeded`], which leaves the session.
    pub async fn finish_upload(
        &self,
        id: &str,
        token: &str,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<FinishedUpload, CatalogError> {
        let size = size_column(size_bytes)?;
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let sql = "DELETE FROM upload WHERE id = $1 AND writer_token = $2
                RETURNING repository_id, user_id, location";
            let session = tx.optional(tx.query(sql).bind(id).bind(token)).await?;
            let session = session.ok_or_else(|| CatalogError::not_found(format!("upload session {id}")))?;
            let (repository_id, location) = (session.number("repository_id")?, session.text("location")?);
            let sql = "INSERT INTO blob (digest, size_bytes, location, seen_at) VALUES ($1, $2, $3, {now})
                ON CONFLICT (digest) DO UPDATE SET seen_at = {now}
                RETURNING size_bytes, location, quarantined_at";
            let blob = tx.optional(tx.query(sql).bind(digest.as_str()).bind(size).bind(&location)).await?;
            let blob = blob.ok_or_else(|| CatalogError::not_found(format!("blob {digest}")))?;
            if blob.number("size_bytes")? != size {
                return Err(CatalogError::Corrupt {
                    what: format!("size of blob {digest}: it has {size_bytes} bytes"),
                });
            }
            let known = blob.text("location")?;
            let unused_location = if known == location {
                None
            } else if blob.number("quarantined_at")? > 0 {
                // The bytes that are known are wrong or gone, and these are right.
                replace_bytes(&mut tx, digest, &known, &location).await?;
                None
            } else {
                condemn(&mut tx, &location).await?;
                Some(location)
            };
            link(&mut tx, repository_id, digest).await?;
            let sql = "INSERT INTO finished_upload (id, repository_id, user_id, digest, finished_at)
                VALUES ($1, $2, $3, $4, {now})";
            let user_id = session.text("user_id")?;
            tx.execute(tx.query(sql).bind(id).bind(repository_id).bind(&user_id).bind(digest.as_str())).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(FinishedUpload { unused_location })
        })
    }

    /// Whether this session of this user ended with this blob not long ago, and the repository still links it.
    pub async fn has_finished_upload(
        &self,
        id: &str,
        repository_id: i64,
        user_id: &str,
        digest: &Digest,
    ) -> Result<bool, CatalogError> {
        let sql = "SELECT f.id FROM finished_upload f
            JOIN blob_link l ON l.repository_id = f.repository_id AND l.digest = f.digest
            WHERE f.id = $1 AND f.repository_id = $2 AND f.user_id = $3 AND f.digest = $4";
        let row = self
            .read_optional(|| self.query(sql).bind(id).bind(repository_id).bind(user_id).bind(digest.as_str()))
            .await?;
        Ok(row.is_some())
    }

    /// Forgets sessions that ended longer ago than this. Tells how many.
    pub async fn forget_finished_uploads(&self, kept_ms: i64) -> Result<u64, CatalogError> {
        let sql = "DELETE FROM finished_upload WHERE finished_at < {now} - $1";
        self.write(|| self.query(sql).bind(kept_ms)).await
    }

    /// Takes a session back; its location becomes a tombstone. `false` when there was none.
    pub async fn abandon_upload(&self, id: &str) -> Result<bool, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let session = tx.optional(tx.query("DELETE FROM upload WHERE id = $1 RETURNING location").bind(id)).await?;
            let Some(session) = session else { return Ok(false) };
            condemn(&mut tx, &session.text("location")?).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(true)
        })
    }

    /// Sessions whose time is over and that no writer holds, the oldest first.
    pub async fn expired_uploads(&self, limit: usize) -> Result<Vec<String>, CatalogError> {
        let sql = "SELECT id FROM upload WHERE expires_at <= {now} AND writer_until <= {now}
            ORDER BY expires_at, id LIMIT $1";
        let rows = self.read_all(|| self.query(sql).bind(limit_parameter(limit))).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }
}

fn upload(row: &AnyRow) -> Result<Upload, CatalogError> {
    Ok(Upload {
        id: row.text("id")?,
        repository_id: row.number("repository_id")?,
        user_id: row.text("user_id")?,
        location: row.text("location")?,
        algorithm: row.parsed("algorithm")?,
        offset_bytes: row.size("offset_bytes")?,
        hash_state: row.optional_text("hash_state")?,
        store_state: row.optional_text("store_state")?,
    })
}
