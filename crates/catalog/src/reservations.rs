//! The bytes that upload sessions have received so far: recorded at each checkpoint, and counted against the quota of
//! the namespace.
//!
//! The transaction that records the bytes of a session also reserves them, so that an endless stream is refused when it
//! reaches the limit, and not later. The transaction that ends a session gives back its reservation.

use transship_oci::Digest;

use crate::quotas::{exceeded, usage, usage_columns};
use crate::retry::repeated;
use crate::row::{Columns as _, size_column};
use crate::tx::Statement;
use crate::{Catalog, CatalogError, QuotaExceeded, Resource};

/// How many bytes of a session are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint<'a> {
    /// Number of durable bytes.
    pub durable_bytes: u64,
    /// What another writer needs to continue there. Without it the next writer begins at the last checkpoint that had
    /// it.
    pub resume: Option<Resume<'a>>,
    /// Whether the bytes are accepted even without room for them, because they are said to be content that the
    /// namespace has already. They are not counted, so if they turn out to be other content, the end of the session is
    /// refused.
    pub beyond_quota: bool,
}

/// The state with which a writer continues after the durable bytes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume<'a> {
    /// The state of the hasher after those bytes.
    pub hash_state: &'a str,
    /// The state that the store needs.
    pub store_state: &'a str,
}

impl Catalog {
    /// Records how many of the writer's bytes are durable, and counts them unless they are beyond the quota.
    ///
    /// It also renews the writer's lease and the session's life. Returns `false` if `token` is no longer the writer.
    ///
    /// # Errors
    /// [`CatalogError::QuotaExceeded`] if the namespace has no room for them; nothing is recorded then.
    pub async fn save_checkpoint(
        &self,
        id: &str,
        token: &str,
        checkpoint: Checkpoint<'_>,
        lease_ms: i64,
    ) -> Result<bool, CatalogError> {
        let durable = size_column(checkpoint.durable_bytes)?;
        let count = concat!(
            "UPDATE namespace SET upload_bytes = upload_bytes + $2
            WHERE id = (SELECT namespace_id FROM repository WHERE id = $1) RETURNING ",
            usage_columns!()
        );
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let statement = self.record(id, token, checkpoint, durable, lease_ms);
            let Some(session) = tx.optional(statement).await? else { return Ok(false) };
            let more = session.number("more")?;
            if more != 0 {
                let statement = tx.query(count).bind(session.number("repository_id")?).bind(more);
                let row = tx.optional(statement).await?.ok_or(CatalogError::Busy)?;
                let counted = usage(&row, &tx.default_quotas())?;
                // The row includes them already.
                let refused = if more > 0 { exceeded(&counted, Resource::Bytes, 0) } else { None };
                if let Some(refused) = refused {
                    return Err(QuotaExceeded { used: refused.used - more, asked: more, ..refused }.into());
                }
            }
            tx.commit().await?;
            Ok::<_, CatalogError>(true)
        })
    }

    fn record<'q>(
        &self,
        id: &'q str,
        token: &'q str,
        checkpoint: Checkpoint<'q>,
        durable: i64,
        lease_ms: i64,
    ) -> Statement<'q> {
        // Counted bytes have passed the check and become a blob without another one, so these must not be counted.
        let uncounted = i64::from(checkpoint.beyond_quota);
        let Some(Resume { hash_state, store_state }) = checkpoint.resume else {
            let sql = "UPDATE upload SET reserved_before = reserved_bytes,
                    reserved_bytes = CASE WHEN $5 = 1 THEN reserved_bytes ELSE $3 END,
                    writer_until = {now} + $4, expires_at = {now} + life_ms
                WHERE id = $1 AND writer_token = $2 RETURNING repository_id, reserved_bytes - reserved_before AS more";
            return self.query(sql).bind(id).bind(token).bind(durable).bind(lease_ms).bind(uncounted);
        };
        let sql = "UPDATE upload SET reserved_before = reserved_bytes,
                reserved_bytes = CASE WHEN $5 = 1 THEN reserved_bytes ELSE $3 END, offset_bytes = $3,
                writer_until = {now} + $4, expires_at = {now} + life_ms, hash_state = $6, store_state = $7
            WHERE id = $1 AND writer_token = $2 AND offset_bytes <= $3
            RETURNING repository_id, reserved_bytes - reserved_before AS more";
        let statement = self.query(sql).bind(id).bind(token).bind(durable).bind(lease_ms).bind(uncounted);
        statement.bind(hash_state).bind(store_state)
    }

    /// Returns the size of a blob if any repository in the namespace of this one links it.
    pub async fn size_in_namespace(&self, repository_id: i64, digest: &Digest) -> Result<Option<u64>, CatalogError> {
        let sql = "SELECT b.size_bytes FROM blob b WHERE b.digest = $2 AND EXISTS (
            SELECT 1 FROM blob_link l JOIN repository r ON r.id = l.repository_id
            WHERE l.digest = b.digest AND r.namespace_id = (SELECT namespace_id FROM repository WHERE id = $1))";
        let row = self.read_optional(|| self.query(sql).bind(repository_id).bind(digest.as_str())).await?;
        row.map(|row| row.size("size_bytes")).transpose()
    }
}
