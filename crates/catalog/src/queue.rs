//! Running jobs: claims with a lease and a fencing number, signs of life, and how a job ends.
//!
//! A lease is compared with the database's clock only. A claim raises `attempt`, and every later change names the number
//! it was claimed with, so that an owner that was asleep for longer than its lease changes nothing any more.

use std::collections::{BTreeMap, HashSet};

use sqlx::any::AnyRow;
use transship_oci::Digest;

use crate::dialect::Dialect;
use crate::jobs::{job, job_columns};
use crate::retry::{is_unique_violation, repeated};
use crate::row::{Columns as _, limit_parameter, size_column};
use crate::tx::Tx;
use crate::{Catalog, CatalogError, Heartbeat, Job, JobState, Progress, TargetBefore};

impl Catalog {
    /// Claims up to `limit` jobs for `owner`, the oldest first: such as wait and are due, or whose owner's lease ran out.
    /// At most `per_region_limit` run for one target region, and never two for the same source and target tag.
    pub async fn claim_jobs(
        &self,
        owner: &str,
        lease_ms: i64,
        limit: usize,
        per_region_limit: usize,
    ) -> Result<Vec<Job>, CatalogError> {
        // Without a lock, so that asking in vain costs nobody a turn.
        if free_slots(&self.read_all(|| self.query(OPEN_REGIONS)).await?, per_region_limit)?.is_empty() {
            return Ok(Vec::new());
        }
        repeated!(Write, {
            let mut tx = self.begin().await?;
            lock_queue(&mut tx).await?;
            let mut candidates = Vec::new();
            for (region, slots) in free_slots(&tx.all(tx.query(OPEN_REGIONS)).await?, per_region_limit)? {
                candidates.extend(due_jobs(&mut tx, &region, slots.min(limit)).await?);
            }
            // The oldest first, whatever their region.
            candidates.sort_unstable();
            let mut claimed = Vec::new();
            for (id, attempt) in candidates.into_iter().take(limit) {
                let statement = tx.query(CLAIM).bind(id).bind(attempt).bind(owner).bind(lease_ms);
                // None: its owner has given a sign of life after all.
                if let Some(row) = tx.optional(statement).await? {
                    claimed.push(job(&row)?);
                }
            }
            tx.commit().await?;
            Ok::<_, CatalogError>(claimed)
        })
    }

    /// Renews the lease and records how far the copy has got.
    pub async fn heartbeat(
        &self,
        id: i64,
        attempt: i64,
        lease_ms: i64,
        progress: Progress,
    ) -> Result<Heartbeat, CatalogError> {
        let counters = [
            size_column(progress.bytes_done)?,
            size_column(progress.bytes_total)?,
            size_column(progress.blobs_done)?,
            size_column(progress.blobs_total)?,
        ];
        let beat = |dialect: Dialect, sql: &'static str| {
            let statement = dialect.query(sql).bind(id).bind(attempt).bind(lease_ms);
            counters.iter().fold(statement, |statement, counter| statement.bind(*counter))
        };
        let mut row = self.write_returning(|| beat(self.dialect(), BEAT)).await?;
        if row.is_none() {
            row = repeated!(Write, {
                let mut tx = self.begin().await?;
                lock_queue(&mut tx).await?;
                let row = tx.optional(beat(tx.dialect(), LATE_BEAT)).await?;
                tx.commit().await?;
                Ok::<_, CatalogError>(row)
            })?;
        }
        Ok(match row {
            Some(row) => Heartbeat { owner: true, cancel_requested: row.flag("cancel_requested")? },
            None => Heartbeat { owner: false, cancel_requested: false },
        })
    }

    /// Records the digest that is being copied. `false` when the job is not the caller's any more.
    pub async fn pin_digest(&self, id: i64, attempt: i64, digest: &Digest) -> Result<bool, CatalogError> {
        let sql = "UPDATE job SET digest = $3, updated_at = {now} WHERE id = $1 AND attempt = $2 AND state = 'running'";
        Ok(self.write(|| self.query(sql).bind(id).bind(attempt).bind(digest.as_str())).await? > 0)
    }

    /// Records what the target's tag is, just before the job writes it. `false` when the job is not the caller's any more, or
    /// is to stop: then the tag must not be written.
    pub async fn note_target(&self, id: i64, attempt: i64, before: &TargetBefore) -> Result<bool, CatalogError> {
        let sql = "UPDATE job SET target_before = $3, updated_at = {now}
            WHERE id = $1 AND attempt = $2 AND state = 'running' AND cancel_requested = 0";
        let before = match before {
            TargetBefore::Absent => "",
            TargetBefore::Digest(digest) => digest.as_str(),
        };
        Ok(self.write(|| self.query(sql).bind(id).bind(attempt).bind(before)).await? > 0)
    }

    /// Ends a job in a final state. `false` when it is not the caller's any more, or when it is to stop and the state says
    /// that it did what it should.
    ///
    /// # Errors
    /// [`CatalogError::Invalid`] for a state that is not final.
    pub async fn finish_job(
        &self,
        id: i64,
        attempt: i64,
        state: JobState,
        error: Option<&str>,
    ) -> Result<bool, CatalogError> {
        if !state.is_final() {
            return Err(CatalogError::Invalid { what: format!("{} as the end of a job", state.as_str()) });
        }
        let sql = "UPDATE job SET state = $3, last_error = $4, lease_owner = NULL, lease_until = 0, updated_at = {now}
            WHERE id = $1 AND attempt = $2 AND state = 'running'
                AND (cancel_requested = 0 OR $3 NOT IN ('success', 'existed'))";
        let error = error.map(error_column);
        let changed =
            self.write(|| self.query(sql).bind(id).bind(attempt).bind(state.as_str()).bind(error.as_deref())).await?;
        Ok(changed > 0)
    }

    /// Puts a job back after a failure, to be claimed again after `delay_ms`. When the same copy waits already, this job
    /// ends as cancelled instead, superseded by the other. `false` when it is not the caller's any more.
    pub async fn retry_job(&self, id: i64, attempt: i64, delay_ms: i64, error: &str) -> Result<bool, CatalogError> {
        self.put_back(id, attempt, delay_ms, Some(error_column(error))).await
    }

    /// Puts a job back at once and counts no failure: its owner is stopping. Otherwise like [`Catalog::retry_job`].
    pub async fn release_job(&self, id: i64, attempt: i64) -> Result<bool, CatalogError> {
        self.put_back(id, attempt, 0, None).await
    }

    /// How many milliseconds until some job is due or some lease runs out, 0 when one is due now (it may still have to
    /// wait for a slot of its region), nothing when there is none.
    pub async fn next_run_at(&self) -> Result<Option<i64>, CatalogError> {
        let sql = "SELECT MIN(due.at) - {now} AS wait_ms FROM (
                SELECT MIN(run_at) AS at FROM job WHERE state = 'waiting'
                UNION ALL SELECT MIN(lease_until) AS at FROM job WHERE state = 'running') due";
        let row = self.read_optional(|| self.query(sql)).await?;
        let wait_ms = row.map_or(Ok(None), |row| row.optional_number("wait_ms"))?;
        Ok(wait_ms.map(|ms| ms.max(0)))
    }

    /// Makes a running job wait again; with an error it counts as a failure.
    async fn put_back(
        &self,
        id: i64,
        attempt: i64,
        delay_ms: i64,
        error: Option<String>,
    ) -> Result<bool, CatalogError> {
        let wait = "UPDATE job SET state = 'waiting', run_at = {now} + $3, lease_owner = NULL, lease_until = 0,
                failures = failures + CASE WHEN $4 IS NULL THEN 0 ELSE 1 END, last_error = COALESCE($4, last_error),
                updated_at = {now}
            WHERE id = $1 AND attempt = $2 AND state = 'running' AND cancel_requested = 0
                AND NOT EXISTS (SELECT 1 FROM job o WHERE o.state = 'waiting' AND o.repository_id = job.repository_id
                    AND o.tag = job.tag AND o.target_region = job.target_region
                    AND o.target_namespace = job.target_namespace AND o.override_existing = job.override_existing)";
        let give_way = "UPDATE job SET state = 'cancel', lease_owner = NULL, lease_until = 0, updated_at = {now},
                last_error = CASE WHEN cancel_requested = 1 THEN 'cancelled' ELSE 'superseded by a newer job' END
            WHERE id = $1 AND attempt = $2 AND state = 'running'";
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let statement = tx.query(wait).bind(id).bind(attempt).bind(delay_ms.max(0)).bind(error.as_deref());
            let mut changed = match tx.execute(statement).await {
                Ok(changed) => changed,
                // The same copy was queued in between; next time it is seen.
                Err(error) if is_unique_violation(&error) => return Err(CatalogError::Busy),
                Err(error) => return Err(error),
            };
            if changed == 0 {
                changed = tx.execute(tx.query(give_way).bind(id).bind(attempt)).await?;
            }
            tx.commit().await?;
            Ok::<_, CatalogError>(changed > 0)
        })
    }
}

/// The regions with open jobs, and how many of theirs run under a living lease. From one region to the next by the index,
/// however long the queue of each is.
const OPEN_REGIONS: &str = "WITH RECURSIVE region(name) AS (
        SELECT MIN(target_region) FROM job WHERE state IN ('waiting', 'running')
        UNION ALL
        SELECT (SELECT MIN(j.target_region) FROM job j
                WHERE j.state IN ('waiting', 'running') AND j.target_region > region.name)
        FROM region WHERE region.name IS NOT NULL)
    SELECT name, (SELECT COUNT(*) FROM job j
        WHERE j.state = 'running' AND j.target_region = region.name AND j.lease_until > {now}) AS running
    FROM region WHERE name IS NOT NULL";

/// Another job with a living lease has the same source and target tag as `j`.
macro_rules! is_held {
    ($job:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM job o WHERE o.state = 'running' AND o.lease_until > {now} AND o.id <> ",
            $job,
            ".id
                AND o.target_region = ",
            $job,
            ".target_region AND o.repository_id = ",
            $job,
            ".repository_id
                AND o.tag = ",
            $job,
            ".tag AND o.target_namespace = ",
            $job,
            ".target_namespace)"
        )
    };
}

/// Jobs of a region that wait and are due.
const DUE: &str = concat!(
    "SELECT j.id, j.attempt, COALESCE(j.repository_id, 0) AS repository_id, j.tag, j.target_namespace FROM job j
    WHERE j.target_region = $1 AND j.state = 'waiting' AND j.run_at <= {now} AND NOT ",
    is_held!("j"),
    " ORDER BY j.id LIMIT $2"
);

/// Jobs of a region whose owner's lease ran out.
const ORPHANED: &str = concat!(
    "SELECT j.id, j.attempt, COALESCE(j.repository_id, 0) AS repository_id, j.tag, j.target_namespace FROM job j
    WHERE j.target_region = $1 AND j.state = 'running' AND j.lease_until <= {now} AND NOT ",
    is_held!("j"),
    " ORDER BY j.id LIMIT $2"
);

const CLAIM: &str = concat!(
    "UPDATE job SET state = 'running', attempt = attempt + 1, lease_owner = $3, lease_until = {now} + $4,
        updated_at = {now}
    WHERE id = $1 AND attempt = $2 AND (state = 'waiting' OR (state = 'running' AND lease_until <= {now}))
    RETURNING ",
    job_columns!()
);

/// The usual sign of life: in time.
const BEAT: &str = "UPDATE job SET lease_until = {now} + $3, bytes_done = $4, bytes_total = $5, blobs_done = $6,
        blobs_total = $7, updated_at = {now}
    WHERE id = $1 AND attempt = $2 AND state = 'running' AND lease_until > {now} RETURNING cancel_requested";

/// A late one: good as long as nobody has claimed this job or begun the same copy.
const LATE_BEAT: &str = concat!(
    "UPDATE job SET lease_until = {now} + $3, bytes_done = $4, bytes_total = $5, blobs_done = $6, blobs_total = $7,
        updated_at = {now}
    WHERE id = $1 AND attempt = $2 AND state = 'running' AND NOT ",
    is_held!("job"),
    " RETURNING cancel_requested"
);

/// Regions with free slots.
fn free_slots(rows: &[AnyRow], per_region_limit: usize) -> Result<Vec<(String, usize)>, CatalogError> {
    let mut free = Vec::new();
    for row in rows {
        let running = usize::try_from(row.number("running")?).unwrap_or(usize::MAX);
        let slots = per_region_limit.saturating_sub(running);
        if slots > 0 {
            free.push((row.text("name")?, slots));
        }
    }
    Ok(free)
}

/// The oldest jobs of a region that may be claimed, as (id, attempt); of those with the same tags only the oldest.
async fn due_jobs(tx: &mut Tx, region: &str, limit: usize) -> Result<Vec<(i64, i64)>, CatalogError> {
    let mut found = BTreeMap::new();
    for sql in [DUE, ORPHANED] {
        for row in tx.all(tx.query(sql).bind(region).bind(limit_parameter(limit))).await? {
            let copy = (row.number("repository_id")?, row.text("tag")?, row.text("target_namespace")?);
            found.insert(row.number("id")?, (row.number("attempt")?, copy));
        }
    }
    let mut copies = HashSet::new();
    found.retain(|_, (_, copy)| copies.insert(copy.clone()));
    Ok(found.into_iter().map(|(id, (attempt, _))| (id, attempt)).take(limit).collect())
}

/// From here to the end of the transaction nobody else claims.
async fn lock_queue(tx: &mut Tx) -> Result<(), CatalogError> {
    if let Some(lock) = tx.dialect().lock_queue() {
        tx.all(tx.query(lock)).await?;
    }
    Ok(())
}

/// An error as the column holds it: long enough to understand, short enough for a list, and without NUL.
fn error_column(error: &str) -> String {
    const MAX_CHARS: usize = 2000;
    error.chars().take(MAX_CHARS).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
