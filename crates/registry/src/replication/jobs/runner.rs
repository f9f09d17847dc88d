//! The loop that claims jobs and runs each to its end.

use std::time::Duration;

use rand::Rng as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use transship_catalog::{Job, JobState};

use crate::error::ServiceError;
use crate::replication::copy::{JobError, NotWithdrawn, Progress};
use crate::replication::service::Replication;

/// How long a claim is valid without a heartbeat. If a process dies, another replica takes over its jobs after this
/// time.
const LEASE: Duration = Duration::from_secs(30);
/// Interval between heartbeats. Six fit into a lease, so a slow database does not cost the job.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Minimum interval between two writes of a job's progress.
const PROGRESS: Duration = Duration::from_secs(1);
/// Maximum sleep between two searches for work that another process may have made.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);
/// The pause before the second try; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Maximum pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often the end of a job is written before the runner gives up, if the catalog does not take it.
const END_WRITES: u32 = 5;

/// How one run of a job ended.
enum Run {
    /// The copy ended by itself.
    Ended(Result<JobState, JobError>),
    /// Another owner has the job.
    LeaseLost,
    /// The job was cancelled.
    Cancelled,
    /// The job has used up its time.
    TimedOut,
    /// This process is stopping.
    Draining,
}

impl Replication {
    /// Claims and runs jobs until `shutdown`, then gives the running ones back.
    pub(crate) async fn run_jobs(self, shutdown: CancellationToken) {
        let owner = format!("{}/{}", self.settings().region, uuid::Uuid::new_v4().simple());
        let mut running = JoinSet::new();
        while !shutdown.is_cancelled() {
            let slots = self.settings().slots_per_region;
            let most = slots * (self.settings().peers.len() + 1);
            let free = most.saturating_sub(running.len());
            if free > 0 {
                match self.claim(&owner, free, slots).await {
                    Ok(jobs) => {
                        for job in jobs {
                            let span = job_span(&job);
                            running.spawn(self.clone().run_job(job, shutdown.clone()).instrument(span));
                        }
                    }
                    Err(error) => tracing::error!("jobs could not be claimed: {error}"),
                }
            }
            let sleep = self.sleep_for().await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                Some(_) = running.join_next() => {}
                () = self.jobs().wait_for_work() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn claim(&self, owner: &str, free: usize, slots: usize) -> Result<Vec<Job>, ServiceError> {
        Ok(self.catalog().claim_jobs(owner, lease_ms(), free, slots).await?)
    }

    async fn sleep_for(&self) -> Duration {
        match self.catalog().next_run_at().await {
            Ok(Some(ms)) => Duration::from_millis(u64::try_from(ms).unwrap_or(0)).clamp(PROGRESS / 20, LONGEST_SLEEP),
            _ => LONGEST_SLEEP,
        }
    }

    async fn run_job(self, job: Job, shutdown: CancellationToken) {
        let progress = Progress::default();
        let deadline = Instant::now() + self.time_left(&job);
        let run = tokio::select! {
            // A job that is cancelled or has no time left does not begin.
            biased;
            () = std::future::ready(()), if job.cancel_requested => Run::Cancelled,
            () = tokio::time::sleep_until(deadline) => Run::TimedOut,
            () = shutdown.cancelled() => Run::Draining,
            run = self.keep_lease(&job, &progress) => run,
            ended = self.run_copy(&job, &progress) => Run::Ended(ended),
        };
        let run = self.last_beat(&job, &progress, run).await;
        if matches!(run, Run::Cancelled) {
            self.outlast_tag_write(&job, &progress, deadline).await;
        }
        progress.tag_write.abandon().await;
        for attempt in 1..=END_WRITES {
            match self.conclude(&job, &run, deadline).await {
                Ok(()) => break,
                Err(error) if attempt < END_WRITES => {
                    tracing::warn!("the end of the job could not be written, trying again: {error}");
                    tokio::time::sleep(FIRST_PAUSE * attempt).await;
                }
                // The lease expires and the job is claimed again; that run finds its work done.
                Err(error) => tracing::error!("the end of the job could not be written: {error}"),
            }
        }
        self.jobs().job_ended();
    }

    /// Sends heartbeats until the lease is lost or the job is cancelled.
    async fn keep_lease(&self, job: &Job, progress: &Progress) -> Run {
        let mut since_beat = Duration::ZERO;
        let mut last = progress.snapshot();
        loop {
            tokio::time::sleep(PROGRESS).await;
            since_beat += PROGRESS;
            let now = progress.snapshot();
            if since_beat < HEARTBEAT && now == last {
                continue;
            }
            match self.catalog().heartbeat(job.id, job.attempt, lease_ms(), now).await {
                Ok(beat) if !beat.owner => return Run::LeaseLost,
                Ok(beat) if beat.cancel_requested => return Run::Cancelled,
                Ok(_) => (since_beat, last) = (Duration::ZERO, now),
                Err(error) => tracing::warn!("heartbeat failed: {error}"),
            }
        }
    }

    /// Writes the last progress and learns whether the job was cancelled meanwhile. If so, that is how it ends,
    /// whatever its result.
    async fn last_beat(&self, job: &Job, progress: &Progress, run: Run) -> Run {
        match self.catalog().heartbeat(job.id, job.attempt, lease_ms(), progress.snapshot()).await {
            Ok(beat) if beat.owner && beat.cancel_requested => return Run::Cancelled,
            Ok(_) => {}
            Err(error) => tracing::warn!("last progress could not be written: {error}"),
        }
        run
    }

    /// Keeps the lease until the target has answered a tag write that was in progress when the job was cancelled. Only
    /// then is it known what must be taken back.
    async fn outlast_tag_write(&self, job: &Job, progress: &Progress, deadline: Instant) {
        while Instant::now() < deadline {
            if tokio::time::timeout(HEARTBEAT, progress.tag_write.answered()).await.is_ok() {
                return;
            }
            if let Err(error) = self.catalog().heartbeat(job.id, job.attempt, lease_ms(), progress.snapshot()).await {
                tracing::warn!("heartbeat failed: {error}");
            }
        }
    }

    /// Writes how a run ended. Each statement names the fencing number, so an owner that has lost the job changes
    /// nothing.
    async fn conclude(&self, job: &Job, run: &Run, deadline: Instant) -> Result<(), ServiceError> {
        let failed = |reason: String| (JobState::Failed, Some(reason));
        let (state, reason) = match run {
            Run::Cancelled | Run::Ended(Ok(JobState::Cancel)) => match self.withdraw(job).await {
                Ok(()) => (JobState::Cancel, Some("its tag or its repository was deleted while it ran".to_owned())),
                Err(NotWithdrawn::Yet(reason)) if Instant::now() < deadline => {
                    // The lease expires, and whoever claims the job then tries again.
                    tracing::warn!("a cancelled job has written a tag that cannot be taken back yet: {reason}");
                    return Ok(());
                }
                Err(NotWithdrawn::Yet(reason) | NotWithdrawn::Ever(reason)) => {
                    (JobState::Cancel, Some(format!("cancelled, but its tag in the target stays: {reason}")))
                }
            },
            Run::Ended(Ok(state)) => (*state, None),
            Run::Ended(Err(JobError::Terminal(reason) | JobError::Conflict(reason))) => failed(reason.clone()),
            Run::Ended(Err(JobError::Retry(reason))) if job.failures + 1 >= self.settings().max_attempts => {
                failed(format!("gave up after {} tries: {reason}", job.failures + 1))
            }
            Run::Ended(Err(JobError::Retry(reason))) => return self.retry(job, reason, deadline).await,
            Run::Ended(Err(JobError::Away(asked, reason))) => {
                return self.postpone(job, *asked, reason, deadline).await;
            }
            Run::LeaseLost => {
                tracing::warn!("the lease was lost; another process has the job");
                return Ok(());
            }
            Run::TimedOut => {
                let limit = self.settings().job_timeout.as_secs();
                let last =
                    job.last_error.as_deref().map_or_else(String::new, |last| format!("; the last error was: {last}"));
                (JobState::Timeout, Some(format!("not done within {limit} s of its own time{last}")))
            }
            Run::Draining => {
                self.catalog().release_job(job.id, job.attempt).await?;
                return Ok(());
            }
        };
        let ours = self.catalog().finish_job(job.id, job.attempt, state, reason.as_deref()).await?;
        match state {
            _ if !ours => {}
            JobState::Failed | JobState::Timeout => tracing::warn!(state = state.as_str(), reason, "job ended"),
            _ => tracing::info!(state = state.as_str(), reason, "job ended"),
        }
        Ok(())
    }

    async fn retry(&self, job: &Job, reason: &str, deadline: Instant) -> Result<(), ServiceError> {
        let pause = until(deadline, jittered(pause_after(job.failures)));
        tracing::warn!(failures = job.failures + 1, pause_ms = pause.as_millis(), "job failed, trying again: {reason}");
        self.catalog().retry_job(job.id, job.attempt, milliseconds(pause), reason).await?;
        Ok(())
    }

    /// Postpones a job. A target or a catalog that is away is not a failure of the job; only its deadline ends it.
    async fn postpone(&self, job: &Job, asked: Duration, reason: &str, deadline: Instant) -> Result<(), ServiceError> {
        let pause = until(deadline, jittered(pause_after(job.away)).max(asked));
        let pause_ms = pause.as_millis();
        if job.away == 0 {
            tracing::warn!(pause_ms, "the target or the catalog is away, trying again: {reason}");
        } else {
            tracing::info!(tries = job.away + 1, pause_ms, "the target or the catalog is still away: {reason}");
        }
        self.catalog().postpone_job(job.id, job.attempt, milliseconds(pause), reason).await?;
        Ok(())
    }

    fn time_left(&self, job: &Job) -> Duration {
        let spent = Duration::from_millis(u64::try_from(job.spent_ms).unwrap_or(0));
        self.settings().job_timeout.saturating_sub(spent)
    }
}

/// The fields of every log line about a job.
fn job_span(job: &Job) -> tracing::Span {
    tracing::info_span!(
        "job",
        id = job.id,
        account_id = job.account_id,
        account = job.account_name,
        repository = format!("{}/{}", job.namespace, job.repository),
        tag = job.tag,
        region = job.target_region,
        namespace = job.target_namespace,
    )
}

/// Returns half to all of a pause, at random, so that jobs do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// Cuts a pause at the deadline, when the job must end.
fn until(deadline: Instant, pause: Duration) -> Duration {
    pause.min(deadline.saturating_duration_since(Instant::now()))
}

fn milliseconds(pause: Duration) -> i64 {
    i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
}

/// Maximum pause after this many failures.
pub(super) fn pause_after(failures: i64) -> Duration {
    let doublings = u32::try_from(failures).unwrap_or(u32::MAX).min(16);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

fn lease_ms() -> i64 {
    i64::try_from(LEASE.as_millis()).expect("half a minute fits")
}
