//! Running jobs: claims with a lease and a fencing number, heartbeats, and the end of a job.
//!
//! A lease is compared only with the database's clock. A claim raises `attempt`, and every later change names the
//! number it was claimed with. So an owner that slept past its lease cannot change a job that was claimed again.

use std::collections::HashSet;

use sqlx::any::AnyRow;
use transship_oci::Digest;

use crate::dialect::Dialect;
use crate::jobs::{job, job_columns};
use crate::retry::{is_unique_violation, repeated};
use crate::row::{Columns as _, limit_parameter, size_column};
use crate::tx::Tx;
use crate::{Catalog, CatalogError, Heartbeat, Job, JobState, Progress, TargetBefore};

impl Catalog {
    /// Claims at most `limit` jobs for `owner`: waiting jobs that are due, and jobs whose owner's lease has expired. At
    /// most `per_region_limit` run for one target region, and never two for the same source and target tag.
    ///
    /// The accounts share the slots of a region: the next slot goes to the account with the fewest running jobs there,
    /// in turn if several have the fewest. Within an account it goes to the job that became due first.
    pub async fn claim_jobs(
        &self,
        owner: &str,
        lease_ms: i64,
        limit: usize,
        per_region_limit: usize,
    ) -> Result<Vec<Job>, CatalogError> {
        // Without a lock, so that a call that finds nothing delays no writer.
        if free_slots(&self.read_all(|| self.query(OPEN_REGIONS)).await?, per_region_limit)?.is_empty() {
            return Ok(Vec::new());
        }
        repeated!(Write, {
            let mut tx = self.begin().await?;
            lock_queue(&mut tx).await?;
            let mut candidates = Vec::new();
            let mut contested = HashSet::new();
            for (region, slots) in free_slots(&tx.all(tx.query(OPEN_REGIONS)).await?, per_region_limit)? {
                let (due, several) = due_jobs(&mut tx, &region, slots.min(limit), per_region_limit).await?;
                candidates.extend(due.into_iter().enumerate().map(|(rank, due)| (rank, due.id, due.attempt)));
                if several {
                    contested.insert(region);
                }
            }
            // The first of each region, then the second of each.
            candidates.sort_unstable();
            let mut claimed = Vec::new();
            for (_, id, attempt) in candidates.into_iter().take(limit) {
                let statement = tx.query(CLAIM).bind(id).bind(attempt).bind(owner).bind(lease_ms);
                // `None`: its owner has sent a heartbeat after all.
                if let Some(row) = tx.optional(statement).await? {
                    claimed.push(job(&row)?);
                }
            }
            for region in contested {
                if let Some(last) = claimed.iter().rev().find(|job| job.target_region == region) {
                    let statement = tx.query(TURN).bind(region).bind(last.account_id.clone());
                    tx.execute(statement).await?;
                }
            }
            tx.commit().await?;
            claimed.sort_unstable_by_key(|job| job.id);
            Ok::<_, CatalogError>(claimed)
        })
    }

    /// Renews the lease and records the progress of the copy.
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

    /// Records the digest that is being copied, and the state of the repository from which the copy is planned.
    ///
    /// What an earlier run noted about the target's tag is kept if the digest is the same. Returns `false` if the
    /// caller no longer owns the job.
    pub async fn pin_digest(&self, id: i64, attempt: i64, digest: &Digest) -> Result<bool, CatalogError> {
        let sql = "UPDATE job SET digest = $3, target_before = CASE WHEN digest = $3 THEN target_before END,
                repository_updated_at =
                    COALESCE((SELECT r.updated_at FROM repository r WHERE r.id = job.repository_id), 0),
                updated_at = {now}
            WHERE id = $1 AND attempt = $2 AND state = 'running'";
        Ok(self.write(|| self.query(sql).bind(id).bind(attempt).bind(digest.as_str())).await? > 0)
    }

    /// Records what the target's tag is, just before the job writes it. Returns `false` if the caller no longer owns
    /// the job, or the job was asked to stop: then the tag must not be written.
    pub async fn note_target(&self, id: i64, attempt: i64, before: &TargetBefore) -> Result<bool, CatalogError> {
        let sql = "UPDATE job SET target_before = $3, updated_at = {now}
            WHERE id = $1 AND attempt = $2 AND state = 'running' AND cancel_requested = 0";
        let before = match before {
            TargetBefore::Absent => "",
            TargetBefore::Digest(digest) => digest.as_str(),
        };
        Ok(self.write(|| self.query(sql).bind(id).bind(attempt).bind(before)).await? > 0)
    }

    /// Ends a job in a final state.
    ///
    /// Returns `false` if the caller no longer owns the job, or if the job was asked to stop and `state` is not
    /// [`JobState::Cancel`]: its lease then expires, and the process that claims it takes its tag back.
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
                AND (cancel_requested = 0 OR $3 = 'cancel')";
        let error = error.map(error_column);
        let changed =
            self.write(|| self.query(sql).bind(id).bind(attempt).bind(state.as_str()).bind(error.as_deref())).await?;
        Ok(changed > 0)
    }

    /// Puts a job back after a failure, to be claimed again after `delay_ms`.
    ///
    /// If a job for the same copy waits already, this one ends as cancelled instead: the other supersedes it and takes
    /// over what was noted about the target's tag. Returns `false` if the caller no longer owns the job.
    pub async fn retry_job(&self, id: i64, attempt: i64, delay_ms: i64, error: &str) -> Result<bool, CatalogError> {
        self.put_back(id, attempt, delay_ms, Some(error_column(error)), 1).await
    }

    /// Puts a job back because its target is unreachable. Counts no failure; otherwise like [`Catalog::retry_job`].
    pub async fn postpone_job(&self, id: i64, attempt: i64, delay_ms: i64, error: &str) -> Result<bool, CatalogError> {
        self.put_back(id, attempt, delay_ms, Some(error_column(error)), 0).await
    }

    /// Puts a job back in its old place, because its owner is stopping. Counts no failure. A job whose last attempt
    /// found the target unreachable was charged for its wait already, so it is due from now on. Otherwise like
    /// [`Catalog::retry_job`].
    pub async fn release_job(&self, id: i64, attempt: i64) -> Result<bool, CatalogError> {
        self.put_back(id, attempt, 0, None, 0).await
    }

    /// Returns the milliseconds until the next job is due or the next lease expires; `None` if no job is open. 0 means
    /// that a job is due now, but it may still have to wait for a slot of its region.
    pub async fn next_run_at(&self) -> Result<Option<i64>, CatalogError> {
        let sql = "SELECT MIN(due.at) - {now} AS wait_ms FROM (
                SELECT MIN(run_at) AS at FROM job WHERE state = 'waiting'
                UNION ALL SELECT MIN(lease_until) AS at FROM job WHERE state = 'running') due";
        let row = self.read_optional(|| self.query(sql)).await?;
        let wait_ms = row.map_or(Ok(None), |row| row.optional_number("wait_ms"))?;
        Ok(wait_ms.map(|ms| ms.max(0)))
    }

    /// Makes a running job wait again.
    ///
    /// A job that was asked to stop ends as cancelled. If it has written its target's tag it stays as it is instead,
    /// and the process that claims it after its lease has expired takes the tag back. With an error the attempt counts
    /// as `failures` failures; if that is 0, as an attempt that found the target unreachable.
    async fn put_back(
        &self,
        id: i64,
        attempt: i64,
        delay_ms: i64,
        error: Option<String>,
        failures: i64,
    ) -> Result<bool, CatalogError> {
        let wait = "UPDATE job SET state = 'waiting', lease_owner = NULL, lease_until = 0, updated_at = {now},
                run_at = CASE WHEN $4 IS NULL AND away = 0 THEN run_at ELSE {now} + $3 END,
                spent_ms = spent_ms + $3
                    + CASE WHEN claimed_at > 0 AND {now} > claimed_at THEN {now} - claimed_at ELSE 0 END,
                claimed_at = 0, failures = failures + CAST($5 AS BIGINT),
                away = CASE WHEN $4 IS NULL THEN away WHEN CAST($5 AS BIGINT) > 0 THEN 0 ELSE away + 1 END,
                last_error = COALESCE($4, last_error)
            WHERE id = $1 AND attempt = $2 AND state = 'running' AND cancel_requested = 0
                AND NOT EXISTS (SELECT 1 FROM job o WHERE o.state = 'waiting' AND o.repository_id = job.repository_id
                    AND o.tag = job.tag AND o.target_region = job.target_region
                    AND o.target_namespace = job.target_namespace AND o.override_existing = job.override_existing)";
        let give_way = "UPDATE job SET state = 'cancel', lease_owner = NULL, lease_until = 0, updated_at = {now},
                last_error = CASE WHEN cancel_requested = 1 THEN 'cancelled' ELSE 'superseded by a newer job' END,
                superseded_by = CASE WHEN cancel_requested = 0 THEN (SELECT MAX(o.id) FROM job o
                    WHERE o.state IN ('waiting', 'running') AND o.id <> job.id AND o.repository_id = job.repository_id AND o.tag = job.tag AND o.target_region = job.target_region
                    AND o.target_namespace = job.target_namespace
                    AND o.override_existing = job.override_existing) END
            WHERE id = $1 AND attempt = $2 AND state = 'running' AND (cancel_requested = 0 OR target_before IS NULL)";
        let hand_over = "UPDATE job SET digest = (SELECT a.digest FROM job a WHERE a.id = $1),
                target_before = (SELECT a.target_before FROM job a WHERE a.id = $1)
            WHERE target_before IS NULL AND id = (SELECT o.id FROM job a
                JOIN job o ON o.state = 'waiting' AND o.repository_id = a.repository_id AND o.tag = a.tag
                    AND o.target_region = a.target_region AND o.target_namespace = a.target_namespace
                    AND o.override_existing = a.override_existing
                WHERE a.id = $1 AND a.target_before IS NOT NULL)";
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let statement = tx.query(wait).bind(id).bind(attempt).bind(delay_ms.max(0)).bind(error.as_deref());
            let statement = statement.bind(failures);
            let mut changed = match tx.execute(statement).await {
                Ok(changed) => changed,
                // The same copy was queued in between; the next attempt sees it.
                Err(error) if is_unique_violation(&error) => return Err(CatalogError::Busy),
                Err(error) => return Err(error),
            };
            if changed == 0 {
                changed = tx.execute(tx.query(give_way).bind(id).bind(attempt)).await?;
                if changed > 0 {
                    tx.execute(tx.query(hand_over).bind(id)).await?;
                }
            }
            tx.commit().await?;
            Ok::<_, CatalogError>(changed > 0)
        })
    }
}

/// The regions with open jobs, and how many of their jobs run under a valid lease. It skips from region to region in
/// the index, so the length of their queues does not matter.
const OPEN_REGIONS: &str = "WITH RECURSIVE region(name) AS (
        SELECT MIN(target_region) FROM job WHERE state IN ('waiting', 'running')
        UNION ALL
        SELECT (SELECT MIN(j.target_region) FROM job j
                WHERE j.state IN ('waiting', 'running') AND j.target_region > region.name)
        FROM region WHERE region.name IS NOT NULL)
    SELECT name, (SELECT COUNT(*) FROM job j
        WHERE j.state = 'running' AND j.target_region = region.name AND j.lease_until > {now}) AS running
    FROM region WHERE name IS NOT NULL";

/// True if another job with a valid lease has the same source and target tag as `$job`. They are compared by name,
/// because a job of a deleted repository may still have to take its tag back in the target while a new repository of
/// that name is copied there.
macro_rules! is_held {
    ($job:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM job o WHERE o.state = 'running' AND o.lease_until > {now} AND o.id <> ",
            $job,
            ".id
                AND o.target_region = ",
            $job,
            ".target_region AND o.namespace = ",
            $job,
            ".namespace AND o.repository = ",
            $job,
            ".repository
                AND o.tag = ",
            $job,
            ".tag AND o.target_namespace = ",
            $job,
            ".target_namespace)"
        )
    };
}

/// The accounts with waiting jobs that are due for a region, and how many of their jobs run there. It skips from
/// account to account in the index, so the length of their queues does not matter. It begins after the account whose
/// turn was last, and wraps around to it.
pub(crate) const DUE_ACCOUNTS: &str = "WITH RECURSIVE turn(account) AS (
        SELECT COALESCE((SELECT t.account_id FROM job_turn t WHERE t.target_region = $1), '')),
    step(lap, account) AS (
        SELECT 0, turn.account FROM turn
        UNION ALL
        SELECT CASE WHEN step.account IS NULL THEN 1 ELSE step.lap END,
            (SELECT MIN(j.account_id) FROM job j
                WHERE j.state = 'waiting' AND j.target_region = $1 AND j.account_id > COALESCE(step.account, ''))
        FROM step WHERE step.account IS NOT NULL OR step.lap = 0)
    SELECT step.account, (SELECT COUNT(*) FROM job j
        WHERE j.state = 'running' AND j.target_region = $1 AND j.account_id = step.account AND j.lease_until > {now})
        AS running
    FROM step CROSS JOIN turn
    WHERE step.account IS NOT NULL
        AND ((step.lap = 0 AND step.account > turn.account) OR (step.lap = 1 AND step.account <= turn.account))
        AND EXISTS (SELECT 1 FROM job j WHERE j.state = 'waiting' AND j.target_region = $1
            AND j.account_id = step.account AND j.run_at <= {now})
    LIMIT $2";

const TURN: &str = "INSERT INTO job_turn (target_region, account_id) VALUES ($1, $2)
    ON CONFLICT (target_region) DO UPDATE SET account_id = excluded.account_id";

/// Jobs of an account that wait for a region and are due.
pub(crate) const DUE: &str = concat!(
    "SELECT j.id, j.attempt, j.account_id, j.namespace, j.repository, j.tag, j.target_namespace
    FROM job j
    WHERE j.target_region = $1 AND j.account_id = $2 AND j.state = 'waiting' AND j.run_at <= {now} AND NOT ",
    is_held!("j"),
    " ORDER BY j.run_at, j.id LIMIT $3"
);

/// Jobs of a region whose owner's lease has expired. They have had their turn.
const ORPHANED: &str = concat!(
    "SELECT j.id, j.attempt, j.account_id, j.namespace, j.repository, j.tag, j.target_namespace
    FROM job j
    WHERE j.target_region = $1 AND j.state = 'running' AND j.lease_until <= {now} AND NOT ",
    is_held!("j"),
    " ORDER BY j.id LIMIT $2"
);

/// Claims a job. The run of an owner that died counts up to the end of its lease.
///
/// A job whose last attempt found the target unreachable is also charged for its wait: it waits behind others that try
/// the same target in vain, and a thousand of them would otherwise stay open for weeks. The wait is not charged if a
/// copy to that region has succeeded since the job became due: then it was a wait for other jobs.
pub(crate) const CLAIM: &str = concat!(
    "UPDATE job SET state = 'running', attempt = attempt + 1, lease_owner = $3, lease_until = {now} + $4,
        updated_at = {now}, claimed_at = {now},
        spent_ms = spent_ms + CASE WHEN state = 'running' AND claimed_at > 0 AND lease_until > claimed_at
            THEN lease_until - claimed_at ELSE 0 END
            + CASE WHEN state = 'waiting' AND away > 0 AND {now} > run_at AND NOT EXISTS (SELECT 1 FROM job o
                WHERE o.state NOT IN ('waiting', 'running') AND o.state IN ('success', 'existed')
                    AND o.updated_at >= job.run_at AND o.target_region = job.target_region)
            THEN {now} - run_at ELSE 0 END
    WHERE id = $1 AND attempt = $2 AND (state = 'waiting' OR (state = 'running' AND lease_until <= {now}))
    RETURNING ",
    job_columns!()
);

/// The usual heartbeat: before the lease expires.
const BEAT: &str = "UPDATE job SET lease_until = {now} + $3, bytes_done = $4, bytes_total = $5, blobs_done = $6,
        blobs_total = $7, updated_at = {now}
    WHERE id = $1 AND attempt = $2 AND state = 'running' AND lease_until > {now} RETURNING cancel_requested";

/// A late heartbeat: valid as long as nobody has claimed this job or begun the same copy.
const LATE_BEAT: &str = concat!(
    "UPDATE job SET lease_until = {now} + $3, bytes_done = $4, bytes_total = $5, blobs_done = $6, blobs_total = $7,
        updated_at = {now}
    WHERE id = $1 AND attempt = $2 AND state = 'running' AND NOT ",
    is_held!("job"),
    " RETURNING cancel_requested"
);

/// Returns the regions with free slots, and how many they have.
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

/// A job that may be claimed.
struct Due {
    id: i64,
    attempt: i64,
    account: String,
    /// What it writes. Of the jobs that write the same, only one runs at a time.
    copy: [String; 4],
}

fn due(row: &AnyRow) -> Result<Due, CatalogError> {
    Ok(Due {
        id: row.number("id")?,
        attempt: row.number("attempt")?,
        account: row.text("account_id")?,
        copy: [row.text("namespace")?, row.text("repository")?, row.text("tag")?, row.text("target_namespace")?],
    })
}

/// An account whose turn may come.
struct Waiting {
    account: String,
    running: i64,
    /// Its due jobs, the last one first; `None` until they are read.
    due: Option<Vec<Due>>,
}

/// Returns the jobs of a region to claim, in this order, and whether several accounts wait there.
async fn due_jobs(
    tx: &mut Tx,
    region: &str,
    slots: usize,
    per_region_limit: usize,
) -> Result<(Vec<Due>, bool), CatalogError> {
    let mut copies = HashSet::new();
    let mut chosen: Vec<Due> = Vec::new();
    for row in tx.all(tx.query(ORPHANED).bind(region).bind(limit_parameter(slots))).await? {
        let due = due(&row)?;
        if copies.insert(due.copy.clone()) {
            chosen.push(due);
        }
    }
    // At most `per_region_limit` accounts have running jobs, so twice as many accounts include enough that have none.
    let most = limit_parameter(per_region_limit.saturating_mul(2));
    let mut accounts = Vec::new();
    for row in tx.all(tx.query(DUE_ACCOUNTS).bind(region).bind(most)).await? {
        let account = row.text("account")?;
        let orphaned = chosen.iter().filter(|due| due.account == account).count();
        let running = row.number("running")?.saturating_add(limit_parameter(orphaned));
        accounts.push(Waiting { account, running, due: None });
    }
    let several = accounts.len() > 1;
    while chosen.len() < slots {
        // Among equals this is the first, whose turn it is.
        let next = accounts.iter().enumerate().min_by_key(|(_, waiting)| waiting.running).map(|(place, _)| place);
        let Some(place) = next else { break };
        let waiting = &mut accounts[place];
        if waiting.due.is_none() {
            let statement = tx.query(DUE).bind(region).bind(waiting.account.clone()).bind(limit_parameter(slots));
            let rows = tx.all(statement).await?;
            waiting.due = Some(rows.iter().rev().map(due).collect::<Result<_, _>>()?);
        }
        match waiting.due.as_mut().and_then(Vec::pop) {
            None => {
                accounts.remove(place);
            }
            Some(due) if copies.insert(due.copy.clone()) => {
                waiting.running += 1;
                chosen.push(due);
            }
            Some(_) => {}
        }
    }
    Ok((chosen, several))
}

/// Keeps others from claiming until the transaction ends.
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
