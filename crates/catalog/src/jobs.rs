//! Replication jobs as records: creates, reads, cancels and deletes them. [`queue`](crate::queue) runs them.

use std::collections::HashMap;
use std::str::FromStr;

use sqlx::any::AnyRow;
use transship_oci::{Digest, RepositoryName};

use crate::retry::{fallible, is_foreign_key_violation, repeated};
use crate::row::{Columns as _, list_parameter, one_changed};
use crate::tx::{Statement, Tx};
use crate::{Catalog, CatalogError};

/// The state of a job, in the contract's words (4.2, jobs).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Queued.
    Waiting,
    /// Being copied.
    Running,
    /// The target tag has the source digest.
    Success,
    /// It failed for good.
    Failed,
    /// It took longer than one job is allowed to.
    Timeout,
    /// Cancelled.
    Cancel,
    /// The tag and everything that belongs to it was in the target already.
    Existed,
}

impl JobState {
    /// Returns the contract's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Cancel => "cancel",
            Self::Existed => "existed",
        }
    }

    /// Returns whether a job in this state will never change again.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

impl FromStr for JobState {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        const ALL: [JobState; 7] = [
            JobState::Waiting,
            JobState::Running,
            JobState::Success,
            JobState::Failed,
            JobState::Timeout,
            JobState::Cancel,
            JobState::Existed,
        ];
        ALL.into_iter().find(|state| state.as_str() == word).ok_or(())
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Its number.
    pub id: i64,
    /// Its state.
    pub state: JobState,
    /// The job that goes on with its copy, if it gave way to one that was asked for later.
    pub superseded_by: Option<i64>,
}

/// A job to queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// The account of source and target.
    pub account_id: String,
    /// The source repository.
    pub repository_id: i64,
    /// Its namespace.
    pub namespace: String,
    /// Its path, and that of the target repository.
    pub repository: String,
    /// The tag to copy.
    pub tag: String,
    /// The target region.
    pub target_region: String,
    /// The target organization.
    pub target_namespace: String,
    /// Whether another image under the same tag is replaced.
    pub override_existing: bool,
    /// Id of the user in whose name it runs.
    pub operator_id: String,
    /// Name of that user.
    pub operator_name: String,
}

/// A job: one tag and one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number, below 2^31 because SDKs decode ids into 32 bits (contract 1.4).
    pub id: i64,
    /// The account of source and target.
    pub account_id: String,
    /// That account's name.
    pub account_name: String,
    /// The source repository; 0 once it is deleted.
    pub repository_id: i64,
    /// Its namespace.
    pub namespace: String,
    /// Its path, and that of the target repository.
    pub repository: String,
    /// The tag to copy.
    pub tag: String,
    /// The target region.
    pub target_region: String,
    /// The target organization.
    pub target_namespace: String,
    /// Whether another image under the same tag is replaced.
    pub override_existing: bool,
    /// Id of the user in whose name it runs.
    pub operator_id: String,
    /// Name of that user.
    pub operator_name: String,
    /// Its state.
    pub state: JobState,
    /// Number of claims: the fencing number that every change by its owner names.
    pub attempt: i64,
    /// Number of times it failed and was put back.
    pub failures: i64,
    /// Number of its attempts in a row that found the target unreachable.
    pub away: i64,
    /// Time charged to it so far: its runs, the pauses after them, and its waits for an unreachable target; without the
    /// current run.
    pub spent_ms: i64,
    /// The digest that the tag had when the copy began.
    pub digest: Option<String>,
    /// Its last error.
    pub last_error: Option<String>,
    /// Bytes that are in the target.
    pub bytes_done: u64,
    /// Bytes of the complete copy.
    pub bytes_total: u64,
    /// Blobs that are in the target.
    pub blobs_done: u64,
    /// Blobs of the complete copy.
    pub blobs_total: u64,
    /// Whether it was asked to stop.
    pub cancel_requested: bool,
    /// What the target's tag was before this job wrote it; `None` until then.
    pub target_before: Option<TargetBefore>,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it last changed.
    pub updated_at_ms: i64,
}

/// What the target's tag was before a job wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetBefore {
    /// There was none.
    Absent,
    /// It pointed at this manifest.
    Digest(Digest),
}

/// How far a copy has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are in the target.
    pub bytes_done: u64,
    /// Bytes of the complete copy.
    pub bytes_total: u64,
    /// Blobs that are in the target.
    pub blobs_done: u64,
    /// Blobs of the complete copy.
    pub blobs_total: u64,
}

/// The answer to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether the caller still owns the job.
    pub owner: bool,
    /// Whether it was asked to stop.
    pub cancel_requested: bool,
}

/// Why no job was queued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The account has its maximum number of open jobs.
    #[error("the account has as many open jobs as it may")]
    QueueFull,
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

fallible!(EnqueueError);

macro_rules! job_columns {
    () => {
        "id, account_id, COALESCE((SELECT a.name FROM account a WHERE a.id = job.account_id), '') AS account_name, \
         COALESCE(repository_id, 0) AS repository_id, namespace, repository, tag, target_region, target_namespace, \
          override_existing, operator_id, operator_name, state, attempt, failures, away, spent_ms, \
         digest, last_error, bytes_done, bytes_total, blobs_done, blobs_total, cancel_requested, target_before, \
         created_at, updated_at"
    };
}
pub(crate) use job_columns;

impl Catalog {
    /// Queues jobs, all or none, and returns their numbers in the same order. All jobs must be of one account, which
    /// may have at most `max_open_for_account` open jobs.
    ///
    /// A waiting job with the same source, target and `override_existing` is reused: from then on it belongs to the
    /// newest caller, and its time and failures start at zero. A running one is reused if the same user asked for it,
    /// so that whatever ends it is that user's doing, and if its repository has not changed since the run began,
    /// because parts of an image may be pushed after it.
    pub async fn enqueue_jobs(&self, jobs: &[NewJob], max_open_for_account: i64) -> Result<Vec<i64>, EnqueueError> {
        let Some(first) = jobs.first() else { return Ok(Vec::new()) };
        if let Some(other) = jobs.iter().find(|job| job.account_id != first.account_id) {
            let what = format!("jobs of the accounts {} and {} at once", first.account_id, other.account_id);
            return Err(CatalogError::Invalid { what }.into());
        }
        repeated!(Write, {
            let mut tx = self.begin().await?;
            // Other calls for this account wait here, so that the count stays right and no copy is queued twice.
            let own = tx.query("UPDATE account SET name = name WHERE id = $1").bind(&first.account_id);
            one_changed(tx.execute(own).await?, || format!("account {}", first.account_id))?;
            let open = open_jobs(&mut tx, &first.account_id).await?;
            let mut ids = Vec::with_capacity(jobs.len());
            let mut added = 0;
            for job in jobs {
                if let Some(id) = same_copy(&mut tx, job).await? {
                    ids.push(id);
                } else {
                    added += 1;
                    // Fail before looking at the rest: on SQLite nobody else can write meanwhile.
                    if open.saturating_add(added) > max_open_for_account {
                        return Err(EnqueueError::QueueFull);
                    }
                    ids.push(insert(&mut tx, job).await?);
                }
            }
            if added > 0 && open_jobs(&mut tx, &first.account_id).await? > max_open_for_account {
                return Err(EnqueueError::QueueFull);
            }
            tx.commit().await?;
            Ok(ids)
        })
    }

    /// Returns the jobs with these numbers, in the given order; missing jobs are left out.
    pub async fn find_jobs(&self, ids: &[i64]) -> Result<Vec<Job>, CatalogError> {
        let sql =
            concat!("SELECT ", job_columns!(), " FROM job WHERE id IN (SELECT CAST(value AS BIGINT) FROM {list:$1})");
        let list = list_parameter(ids.iter().map(i64::to_string));
        let rows = self.read_all(|| self.query(sql).bind(&list)).await?;
        let found = rows.iter().map(job).collect::<Result<Vec<_>, _>>()?;
        let by_id: HashMap<i64, Job> = found.into_iter().map(|job| (job.id, job)).collect();
        Ok(ids.iter().filter_map(|id| by_id.get(id).cloned()).collect())
    }

    /// Returns the states of the jobs with these numbers, in no particular order; missing jobs are left out.
    pub async fn job_states(&self, ids: &[i64]) -> Result<Vec<JobStatus>, CatalogError> {
        let sql = "SELECT id, state, superseded_by FROM job WHERE id IN (SELECT CAST(value AS BIGINT) FROM {list:$1})";
        let list = list_parameter(ids.iter().map(i64::to_string));
        let rows = self.read_all(|| self.query(sql).bind(&list)).await?;
        let status = |row: &AnyRow| {
            Ok(JobStatus {
                id: row.number("id")?,
                state: row.parsed("state")?,
                superseded_by: row.optional_number("superseded_by")?,
            })
        };
        rows.iter().map(status).collect()
    }

    /// Returns one page of a repository's jobs in the order of creation, and their total number.
    pub async fn list_jobs(
        &self,
        repository_id: i64,
        limit: i64,
        offset: i64,
        descending: bool,
    ) -> Result<(Vec<Job>, i64), CatalogError> {
        let sql = if descending {
            concat!("SELECT ", job_columns!(), " FROM job WHERE repository_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3")
        } else {
            concat!("SELECT ", job_columns!(), " FROM job WHERE repository_id = $1 ORDER BY id LIMIT $2 OFFSET $3")
        };
        let rows = self.read_all(|| self.query(sql).bind(repository_id).bind(limit.max(0)).bind(offset.max(0))).await?;
        let count = "SELECT COUNT(*) AS total FROM job WHERE repository_id = $1";
        let total = self.read_optional(|| self.query(count).bind(repository_id)).await?;
        let total = total.map_or(Ok(0), |row| row.number("total"))?;
        Ok((rows.iter().map(job).collect::<Result<_, _>>()?, total))
    }

    /// Does the same, including the jobs of the account's deleted repositories of this name. `repository_id` is `None`
    /// if no repository has the name now.
    pub async fn list_jobs_with_deleted(
        &self,
        repository_id: Option<i64>,
        account_id: &str,
        name: &RepositoryName,
        limit: i64,
        offset: i64,
        descending: bool,
    ) -> Result<(Vec<Job>, i64), CatalogError> {
        let sql = if descending { WITH_DELETED_DESCENDING } else { WITH_DELETED };
        let named = |sql: &'static str| {
            let statement = self.query(sql).bind(repository_id.unwrap_or(0)).bind(account_id);
            statement.bind(name.namespace().as_str()).bind(name.repository().as_str())
        };
        let (limit, offset) = (limit.max(0), offset.max(0));
        let end = limit.saturating_add(offset);
        let rows = self.read_all(|| named(sql).bind(end).bind(limit).bind(offset)).await?;
        let total = self.read_optional(|| named(COUNT_WITH_DELETED)).await?;
        let total = total.map_or(Ok(0), |row| row.number("total"))?;
        Ok((rows.iter().map(job).collect::<Result<_, _>>()?, total))
    }

    /// Ends a repository's waiting jobs and asks the running ones to stop. Returns their number.
    pub async fn cancel_jobs_of_repository(&self, repository_id: i64) -> Result<u64, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let cancelled = cancel_jobs(&mut tx, repository_id).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(cancelled)
        })
    }

    /// Deletes the jobs that ended more than `kept_ms` ago. Returns their number.
    pub async fn prune_jobs(&self, kept_ms: i64) -> Result<u64, CatalogError> {
        let sql = "DELETE FROM job WHERE state NOT IN ('waiting', 'running') AND updated_at < {now} - $1";
        self.write(|| self.query(sql).bind(kept_ms)).await
    }
}

/// Selects a repository's jobs and those of deleted repositories of its name. It merges two walks, each along its own
/// index and at most `$5` rows long, the end of the page.
macro_rules! with_deleted {
    ($order:literal) => {
        concat!(
            "SELECT * FROM (SELECT ",
            job_columns!(),
            " FROM job WHERE repository_id = $1",
            $order,
            " LIMIT $5) present UNION ALL SELECT * FROM (SELECT ",
            job_columns!(),
            " FROM job WHERE repository_id IS NULL AND account_id = $2 AND namespace = $3 AND repository = $4",
            $order,
            " LIMIT $5) gone",
            $order,
            " LIMIT $6 OFFSET $7"
        )
    };
}

pub(crate) const WITH_DELETED: &str = with_deleted!(" ORDER BY id");
pub(crate) const WITH_DELETED_DESCENDING: &str = with_deleted!(" ORDER BY id DESC");
const COUNT_WITH_DELETED: &str = "SELECT (SELECT COUNT(*) FROM job WHERE repository_id = $1)
    + (SELECT COUNT(*) FROM job WHERE repository_id IS NULL AND account_id = $2 AND namespace = $3 AND repository = $4)
    AS total";

/// Changes to a waiting job that is requested again: it belongs to the newest caller and gets a new deadline. It skips
/// the rest of the pause after a failure, and keeps its place in the queue.
macro_rules! asked_again {
    ($operator_id:literal, $operator_name:literal) => {
        concat!(
            "operator_id = ",
            $operator_id,
            ", operator_name = ",
            $operator_name,
            ", spent_ms = 0, failures = 0, away = 0, updated_at = {now},
            run_at = CASE WHEN job.run_at > {now} THEN {now} ELSE job.run_at END"
        )
    };
}

/// Returns the number of open jobs of an account.
async fn open_jobs(tx: &mut Tx, account_id: &str) -> Result<i64, CatalogError> {
    let sql = "SELECT COUNT(*) AS open FROM job WHERE account_id = $1 AND state IN ('waiting', 'running')";
    tx.optional(tx.query(sql).bind(account_id)).await?.map_or(Ok(0), |row| row.number("open"))
}

/// Returns the open job, if there is one, that makes the same copy.
async fn same_copy(tx: &mut Tx, job: &NewJob) -> Result<Option<i64>, CatalogError> {
    let waiting = concat!(
        "UPDATE job SET ",
        asked_again!("$6", "$7"),
        " WHERE repository_id = $1 AND tag = $2 AND target_region = $3 AND target_namespace = $4
            AND override_existing = $5 AND state = 'waiting'
        RETURNING id"
    );
    let running = "SELECT j.id FROM job j
        JOIN repository r ON r.id = j.repository_id AND r.updated_at = j.repository_updated_at
        JOIN tag t ON t.repository_id = j.repository_id AND t.name = j.tag AND t.digest = j.digest
        WHERE j.repository_id = $1 AND j.tag = $2 AND j.target_region = $3 AND j.target_namespace = $4
            AND j.override_existing = $5 AND j.operator_id = $6 AND j.state = 'running' AND j.cancel_requested = 0
        ORDER BY j.id DESC LIMIT 1";
    let copy = |statement: Statement<'static>| {
        let statement = statement.bind(job.repository_id).bind(job.tag.clone()).bind(job.target_region.clone());
        let statement = statement.bind(job.target_namespace.clone()).bind(i64::from(job.override_existing));
        statement.bind(job.operator_id.clone())
    };
    let statement = copy(tx.query(waiting)).bind(job.operator_name.clone());
    if let Some(row) = tx.optional(statement).await? {
        return row.number("id").map(Some);
    }
    let statement = copy(tx.query(running));
    tx.optional(statement).await?.map(|row| row.number("id")).transpose()
}

async fn insert(tx: &mut Tx, job: &NewJob) -> Result<i64, CatalogError> {
    // On conflict: a job that makes the same copy was put back meanwhile, and is reused.
    let sql = concat!(
        "INSERT INTO job (account_id, repository_id, namespace, repository, tag, target_region, target_namespace,
            override_existing, operator_id, operator_name, state, attempt, failures, run_at, lease_until,
            cancel_requested, bytes_done, bytes_total, blobs_done, blobs_total, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'waiting', 0, 0, {now}, 0, 0, 0, 0, 0, 0, {now}, {now})
        ON CONFLICT (repository_id, tag, target_region, target_namespace, override_existing) WHERE state = 'waiting'
        DO UPDATE SET ",
        asked_again!("excluded.operator_id", "excluded.operator_name"),
        " RETURNING id"
    );
    let statement = tx
        .query(sql)
        .bind(&job.account_id)
        .bind(job.repository_id)
        .bind(&job.namespace)
        .bind(&job.repository)
        .bind(&job.tag)
        .bind(&job.target_region)
        .bind(&job.target_namespace)
        .bind(i64::from(job.override_existing))
        .bind(&job.operator_id)
        .bind(&job.operator_name);
    match tx.optional(statement).await {
        Ok(Some(row)) => row.number("id"),
        Ok(None) => Err(CatalogError::not_found("the new job")),
        Err(error) if is_foreign_key_violation(&error) => {
            Err(CatalogError::not_found(format!("repository {}", job.repository_id)))
        }
        Err(error) => Err(error),
    }
}

/// Ends waiting jobs and asks running ones to stop. A waiting job that has written its target's tag becomes a running
/// one without an owner: the process that claims it takes the tag back. One statement does both, because between two
/// statements a job could begin to run, and neither would see it.
macro_rules! cancel {
    ($gone:literal, $which:literal) => {
        concat!(
            "UPDATE job SET cancel_requested = 1, updated_at = {now},
                last_error = CASE WHEN state = 'waiting' THEN 'cancelled: its ",
            $gone,
            " was deleted' ELSE last_error END,
                state = CASE WHEN state = 'waiting' AND target_before IS NULL THEN 'cancel' ELSE 'running' END
            WHERE repository_id = $1 AND state IN ('waiting', 'running')",
            $which
        )
    };
}

const CANCEL_OF_REPOSITORY: &str = cancel!("repository", "");
pub(crate) const CANCEL_OF_TAGS: &str = cancel!("tag", " AND tag IN (SELECT value FROM {list:$2})");

/// Ends a repository's waiting jobs and asks the running ones to stop.
pub(crate) async fn cancel_jobs(tx: &mut Tx, repository_id: i64) -> Result<u64, CatalogError> {
    tx.execute(tx.query(CANCEL_OF_REPOSITORY).bind(repository_id)).await
}

/// Does the same for the jobs of the tags that this transaction deletes. `tags` is a JSON list.
pub(crate) async fn cancel_jobs_of_tags(tx: &mut Tx, repository_id: i64, tags: &str) -> Result<(), CatalogError> {
    tx.execute(tx.query(CANCEL_OF_TAGS).bind(repository_id).bind(tags)).await?;
    Ok(())
}

pub(crate) fn job(row: &AnyRow) -> Result<Job, CatalogError> {
    Ok(Job {
        id: row.number("id")?,
        account_id: row.text("account_id")?,
        account_name: row.text("account_name")?,
        repository_id: row.number("repository_id")?,
        namespace: row.text("namespace")?,
        repository: row.text("repository")?,
        tag: row.text("tag")?,
        target_region: row.text("target_region")?,
        target_namespace: row.text("target_namespace")?,
        override_existing: row.flag("override_existing")?,
        operator_id: row.text("operator_id")?,
        operator_name: row.text("operator_name")?,
        state: row.parsed("state")?,
        attempt: row.number("attempt")?,
        failures: row.number("failures")?,
        away: row.number("away")?,
        spent_ms: row.number("spent_ms")?,
        digest: row.optional_text("digest")?,
        last_error: row.optional_text("last_error")?,
        bytes_done: row.size("bytes_done")?,
        bytes_total: row.size("bytes_total")?,
        blobs_done: row.size("blobs_done")?,
        blobs_total: row.size("blobs_total")?,
        cancel_requested: row.flag("cancel_requested")?,
        target_before: target_before(row)?,
        created_at_ms: row.number("created_at")?,
        updated_at_ms: row.number("updated_at")?,
    })
}

fn target_before(row: &AnyRow) -> Result<Option<TargetBefore>, CatalogError> {
    Ok(match row.optional_text("target_before")?.as_deref() {
        None => None,
        Some("") => Some(TargetBefore::Absent),
        Some(_) => row.optional_parsed("target_before")?.map(TargetBefore::Digest),
    })
}
