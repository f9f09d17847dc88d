//! Upload sessions: everything that another process needs to continue one.
//!
//! One writer at a time holds a session under a lease, and every change that it makes names its token. A writer that
//! finds bytes of another writer that it cannot use moves the session to a fresh location and leaves the old one as a
//! tombstone, because the other may still write there. Leases and sessions expire by the database's clock.

use sqlx::any::AnyRow;
use transship_oci::{Digest, DigestAlgorithm};

use crate::blobs::{condemn, condemn_readable, link, repository_absent};
use crate::catalog::Commit;
use crate::quarantine::set_location;
use crate::quotas::upload_ended;
use crate::retry::{is_unique_violation, repeated};
use crate::row::{Columns as _, limit_parameter, size_column};
use crate::tx::Tx;
use crate::{Blob, Catalog, CatalogError};

/// An upload session to open.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its id, which must not be guessable.
    pub id: String,
    /// The repository that the blob will be linked to.
    pub repository_id: i64,
    /// The user it is bound to.
    pub user_id: String,
    /// Where its bytes go; fresh.
    pub location: String,
    /// How its bytes are hashed.
    pub algorithm: DigestAlgorithm,
    /// Time after which it expires. Each checkpoint starts the time again.
    pub life_ms: i64,
    /// Maximum number of sessions of the user, this one included.
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
    /// The state of the hasher after those bytes.
    pub hash_state: Option<String>,
    /// The state that the store needs to continue after those bytes.
    pub store_state: Option<String>,
    /// How many of its bytes count against the quota of its namespace.
    pub reserved_bytes: u64,
}

/// What a caller has seen at the location of content that is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBytes<'a> {
    /// Nobody has looked.
    Unseen,
    /// The expected number of bytes is at this location.
    There(&'a str),
    /// The expected number of bytes is not at this location.
    Missing(&'a str),
}

/// The outcome of closing a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It is closed.
    Done(FinishedUpload),
    /// It is still open: this content is known already, and the caller must look at its bytes first.
    Known(Blob),
}

/// Who abandons a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandon<'a> {
    /// Its user, even while somebody writes to it.
    User,
    /// The writer with this token, unless another one holds the session by now.
    Writer(&'a str),
    /// The search for expired sessions: only if it has expired and nobody writes to it.
    Expired,
}

/// What is left of a closed session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedUpload {
    /// The session's own location, now a tombstone, if the content was there already.
    pub unused_location: Option<String>,
}

macro_rules! upload_columns {
    () => {
        "id, repository_id, user_id, location, algorithm, offset_bytes, hash_state, store_state, reserved_bytes"
    };
}

impl Catalog {
    /// Opens a session; returns `false` if the user has too many. (On PostgreSQL, calls at the same moment do not see
    /// each other and may exceed the limit by some sessions.)
    ///
    /// A power cut may lose the session as long as it has no durable bytes.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such repository, [`CatalogError::Conflict`] if id or location is used
    /// already.
    pub async fn create_upload(&self, new: &NewUpload) -> Result<bool, CatalogError> {
        // `writer_until` is 0 until somebody takes the session to write: until then nothing can be at the location.
        let sql = "INSERT INTO upload (id, repository_id, user_id, location, algorithm, offset_bytes, writer_until,
                life_ms, expires_at)
            SELECT $1, $2, $3, $4, $5, 0, 0, $6, {now} + $6
            WHERE (SELECT COUNT(*) FROM (SELECT 1 AS one FROM upload WHERE user_id = $3 LIMIT $7) AS own) < $7";
        let made = self
            .write_with(Commit::Volatile, || {
                self.query(sql)
                    .bind(&new.id)
                    .bind(new.repository_id)
                    .bind(&new.user_id)
                    .bind(&new.location)
                    .bind(new.algorithm.as_str())
                    .bind(new.life_ms)
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

    /// Returns the session with that id.
    pub async fn find_upload(&self, id: &str) -> Result<Option<Upload>, CatalogError> {
        let sql = concat!("SELECT ", upload_columns!(), " FROM upload WHERE id = $1");
        let row = self.read_optional(|| self.query(sql).bind(id)).await?;
        row.as_ref().map(upload).transpose()
    }

    /// Makes `token` the session's writer for `lease_ms`; returns `None` while another writer holds it, or if there is
    /// no such session.
    ///
    /// If an earlier writer has left no checkpoint, nobody knows what is at the location, or whether that writer still
    /// writes there. The session then moves to `fresh`, in the same transaction.
    pub async fn take_writer(
        &self,
        id: &str,
        token: &str,
        lease_ms: i64,
        fresh: &str,
    ) -> Result<Option<Upload>, CatalogError> {
        let sql = concat!(
            "UPDATE upload SET writer_token = $2, writer_until = {now} + $3, expires_at = {now} + life_ms
            WHERE id = $1 AND (writer_token IS NULL OR writer_token = $2 OR writer_until <= {now})
                AND (store_state IS NOT NULL OR writer_until = 0 OR writer_token = $2) RETURNING ",
            upload_columns!()
        );
        let row =
            self.write_returning_with(Commit::Volatile, || self.query(sql).bind(id).bind(token).bind(lease_ms)).await?;
        if let Some(row) = row {
            return upload(&row).map(Some);
        }
        let sql = concat!(
            "UPDATE upload SET writer_token = $2, writer_until = {now} + $3, expires_at = {now} + life_ms, location = $4
            WHERE id = $1 AND (writer_token IS NULL OR writer_until <= {now}) AND store_state IS NULL RETURNING ",
            upload_columns!()
        );
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let Some(old) = location_of(&mut tx, id).await? else { return Ok(None) };
            let moved = tx.optional(tx.query(sql).bind(id).bind(token).bind(lease_ms).bind(fresh)).await?;
            let Some(moved) = moved else { return Ok(None) };
            condemn(&mut tx, &old).await?;
            tx.commit().await?;
            upload(&moved).map(Some)
        })
    }

    /// Moves a session without a checkpoint to a fresh location, because its writer has found bytes at the old one.
    /// Returns `false` if `token` is no longer its writer.
    pub async fn move_upload(&self, id: &str, token: &str, fresh: &str) -> Result<bool, CatalogError> {
        let sql = "UPDATE upload SET location = $3 WHERE id = $1 AND writer_token = $2 AND store_state IS NULL";
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let Some(old) = location_of(&mut tx, id).await? else { return Ok(false) };
            if tx.execute(tx.query(sql).bind(id).bind(token).bind(fresh)).await? == 0 {
                return Ok(false);
            }
            condemn(&mut tx, &old).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(true)
        })
    }

    /// Ends the writer's lease. Returns `false` if `token` was not the writer.
    pub async fn release_writer(&self, id: &str, token: &str) -> Result<bool, CatalogError> {
        let sql = "UPDATE upload SET writer_token = NULL, writer_until = {now} WHERE id = $1 AND writer_token = $2";
        Ok(self.write_with(Commit::Volatile, || self.query(sql).bind(id).bind(token)).await? > 0)
    }

    /// Closes a session whose bytes are durable and have this digest.
    ///
    /// One transaction creates the blob, links it to the repository, deletes the session and notes how it ended.
    /// Content that was there already keeps its location if the caller has seen its bytes there (`known`); if the
    /// caller has seen that they are missing, it gets the bytes of the session.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such session, or `token` is no longer its writer;
    /// [`CatalogError::QuotaExceeded`], which leaves the session open.
    pub async fn finish_upload(
        &self,
        id: &str,
        token: &str,
        digest: &Digest,
        size_bytes: u64,
        known: KnownBytes<'_>,
    ) -> Result<Closing, CatalogError> {
        let size = size_column(size_bytes)?;
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let sql = "DELETE FROM upload WHERE id = $1 AND writer_token = $2
                RETURNING repository_id, user_id, location, reserved_bytes";
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
            let old = blob.text("location")?;
            let unused_location = if old == location {
                None
            } else if blob.number("quarantined_at")? > 0 {
                // The known bytes are wrong or missing, and these are right.
                set_location(&mut tx, digest, &location).await?;
                condemn(&mut tx, &old).await?;
                None
            } else if known == KnownBytes::There(&old) {
                condemn(&mut tx, &location).await?;
                Some(location)
            } else if known == KnownBytes::Missing(&old) {
                set_location(&mut tx, digest, &location).await?;
                condemn_readable(&mut tx, &old).await?;
                None
            } else {
                return Ok(Closing::Known(Blob { digest: digest.clone(), size_bytes, location: old }));
            };
            link(&mut tx, repository_id, digest, session.number("reserved_bytes")?).await?;
            let sql = "INSERT INTO finished_upload (id, repository_id, user_id, digest, finished_at)
                VALUES ($1, $2, $3, $4, {now})";
            let user_id = session.text("user_id")?;
            tx.execute(tx.query(sql).bind(id).bind(repository_id).bind(&user_id).bind(digest.as_str())).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(Closing::Done(FinishedUpload { unused_location }))
        })
    }

    /// Returns whether this session of this user ended recently with this blob, the repository still links the blob,
    /// and it is in service.
    pub async fn has_finished_upload(
        &self,
        id: &str,
        repository_id: i64,
        user_id: &str,
        digest: &Digest,
    ) -> Result<bool, CatalogError> {
        let sql = "SELECT f.id FROM finished_upload f
            JOIN blob_link l ON l.repository_id = f.repository_id AND l.digest = f.digest
            JOIN blob b ON b.digest = l.digest AND b.quarantined_at = 0
            WHERE f.id = $1 AND f.repository_id = $2 AND f.user_id = $3 AND f.digest = $4";
        let row = self
            .read_optional(|| self.query(sql).bind(id).bind(repository_id).bind(user_id).bind(digest.as_str()))
            .await?;
        Ok(row.is_some())
    }

    /// Forgets sessions that ended more than `kept_ms` ago. Returns their number.
    pub async fn forget_finished_uploads(&self, kept_ms: i64) -> Result<u64, CatalogError> {
        let sql = "DELETE FROM finished_upload WHERE finished_at < {now} - $1";
        self.write(|| self.query(sql).bind(kept_ms)).await
    }

    /// Abandons a session. Makes its location a tombstone and returns it; `None` if there was no such session.
    pub async fn abandon_upload(&self, id: &str, by: Abandon<'_>) -> Result<Option<String>, CatalogError> {
        let (sql, token) = match by {
            Abandon::User => {
                ("DELETE FROM upload WHERE id = $1 RETURNING location, repository_id, reserved_bytes", None)
            }
            Abandon::Writer(token) => (
                "DELETE FROM upload WHERE id = $1 AND writer_token = $2 RETURNING location, repository_id, reserved_bytes",
                Some(token),
            ),
            Abandon::Expired => (
                "DELETE FROM upload WHERE id = $1 AND expires_at <= {now} AND writer_until <= {now}
                RETURNING location, repository_id, reserved_bytes",
                None,
            ),
        };
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let statement = tx.query(sql).bind(id);
            let statement = if let Some(token) = token { statement.bind(token) } else { statement };
            let Some(session) = tx.optional(statement).await? else { return Ok(None) };
            let location = session.text("location")?;
            condemn(&mut tx, &location).await?;
            upload_ended(&mut tx, session.number("repository_id")?, session.number("reserved_bytes")?).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(Some(location))
        })
    }

    /// Returns at most `limit` expired sessions that no writer holds, the oldest first.
    pub async fn expired_uploads(&self, limit: usize) -> Result<Vec<String>, CatalogError> {
        let sql = "SELECT id FROM upload WHERE expires_at <= {now} AND writer_until <= {now}
            ORDER BY expires_at, id LIMIT $1";
        let rows = self.read_all(|| self.query(sql).bind(limit_parameter(limit))).await?;
        rows.iter().map(|row| row.text("id")).collect()
    }
}

/// Returns where the bytes of a session go, and locks its row until the transaction ends.
async fn location_of(tx: &mut Tx, id: &str) -> Result<Option<String>, CatalogError> {
    let row = tx.optional(tx.query("SELECT location FROM upload WHERE id = $1{for_touch}").bind(id)).await?;
    row.map(|row| row.text("location")).transpose()
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
        reserved_bytes: row.size("reserved_bytes")?,
    })
}
