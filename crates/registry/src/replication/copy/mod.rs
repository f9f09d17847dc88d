//! Copying one image to a target: what belongs to it, what the target lacks, and the order in which it gets there.
//!
//! A job resolves its tag, pins the digest, walks the closure, and asks the target in one request what it has. It sends
//! blobs in parallel, then children, indexes and referrers. The tag is the last write, so whoever polls it gets a
//! complete image or the previous one (I9). A copy to a peer succeeds only after the tag reads back. Owns: that order.
//! Never: when a job runs or how often (the `jobs` module).

mod local;
pub(crate) mod peer_tokens;
mod plan;
mod push;
pub(crate) mod single_flight;
mod tag_write;
mod target;
mod withdraw;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use transship_catalog::{Job, JobState, Level};
use transship_client::{ClientError, ErrorKind};
use transship_oci::{Digest, NamespaceName, RegionId, RepositoryName, RepositoryPath, Tag};

pub(crate) use peer_tokens::PeerTokens;
use tag_write::TagWrite;
pub(crate) use target::TargetRefusal;
pub(crate) use withdraw::NotWithdrawn;

use crate::access::policy::Principal;
use crate::content::tags::tag_absent;
use crate::error::ServiceError;
use crate::replication::service::Replication;

/// The bodies that two regions exchange, for the server that answers them.
pub mod wire {
    pub use transship_client::peer::{
        MAX_PREPARE_BLOBS, MAX_PREPARE_MANIFESTS, PREPARE_PATH, PrepareReply, PrepareRequest, REPAIR_PATH, TOKEN_PATH,
        TokenReply, TokenRequest, WITHDRAW_PATH, WithdrawReply, WithdrawRequest,
    };
}

/// Why a job did not succeed this time.
#[derive(Debug)]
pub(crate) enum JobError {
    /// Worth another try.
    Retry(String),
    /// The target, or this region's catalog, cannot be reached or is too busy. Worth another try, at the earliest after
    /// the pause that it asked for.
    Away(Duration, String),
    /// Somebody else wrote the tag after the target was looked at.
    Conflict(String),
    /// Trying again cannot help.
    Terminal(String),
}

impl From<ServiceError> for JobError {
    fn from(error: ServiceError) -> Self {
        match error {
            // A busy catalog of this region passes, like the outage of a target.
            ServiceError::Unavailable(_) => Self::Away(Duration::ZERO, error.to_string()),
            ServiceError::StorageFull | ServiceError::StorageFault(_) | ServiceError::BlobUnknown(_) => {
                Self::Retry(error.to_string())
            }
            // The reason was logged where it arose. The owner of the job reads a general sentence.
            ServiceError::Internal(reason) => {
                tracing::error!(reason, "a replication job met an internal error");
                Self::Retry("internal error in the source region".to_owned())
            }
            other => Self::Terminal(other.to_string()),
        }
    }
}

impl From<NotWithdrawn> for JobError {
    fn from(error: NotWithdrawn) -> Self {
        match error {
            NotWithdrawn::Yet(reason) => Self::Away(Duration::ZERO, reason),
            NotWithdrawn::Ever(reason) => Self::Terminal(format!(
                "the tag has moved since it was copied, and its copy cannot be taken back: {reason}"
            )),
        }
    }
}

impl From<ClientError> for JobError {
    fn from(error: ClientError) -> Self {
        // What the target misses was deleted there after it was asked. The next try asks again.
        if matches!(error.code(), Some("MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN" | "MANIFEST_UNKNOWN")) {
            return Self::Retry(error.to_string());
        }
        match error.kind() {
            ErrorKind::RetryAfter(pause) => Self::Away(pause, error.to_string()),
            ErrorKind::Retry if error.is_away() => Self::Away(Duration::ZERO, error.to_string()),
            ErrorKind::Retry => Self::Retry(error.to_string()),
            ErrorKind::PreconditionFailed => Self::Conflict(error.to_string()),
            ErrorKind::Permanent => Self::Terminal(error.to_string()),
        }
    }
}

/// How far a job has got; counted by the copy, read by the heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) tag_write: TagWrite,
    pub(crate) bytes_done: AtomicU64,
    pub(crate) bytes_total: AtomicU64,
    pub(crate) blobs_done: AtomicU64,
    pub(crate) blobs_total: AtomicU64,
}

impl Progress {
    pub(crate) fn snapshot(&self) -> transship_catalog::Progress {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        transship_catalog::Progress {
            bytes_done: get(&self.bytes_done),
            bytes_total: get(&self.bytes_total),
            blobs_done: get(&self.blobs_done),
            blobs_total: get(&self.blobs_total),
        }
    }
}

/// One job, with its names parsed.
struct ImageCopy<'a> {
    job: &'a Job,
    principal: Principal,
    source: RepositoryName,
    source_id: i64,
    target: RepositoryName,
    region: RegionId,
    tag: Tag,
    category: String,
    description: String,
    progress: &'a Progress,
}

impl Replication {
    /// Runs a job once. Returns its final state, or the reason why there is none yet.
    pub(crate) async fn run_copy(&self, job: &Job, progress: &Progress) -> Result<JobState, JobError> {
        let copy = self.begin_copy(job, progress).await?;
        let digest = self.content.resolve_tag(copy.source_id, &copy.tag).await?;
        let Some(digest) = digest else {
            // An earlier run saw the tag, so it was deleted since.
            let had = job.digest.is_some();
            return if had { Ok(JobState::Cancel) } else { Err(tag_absent(&copy.source, &copy.tag).into()) };
        };
        if job.target_before.is_some() && job.digest.as_deref() != Some(digest.as_str()) {
            // The source's tag has moved since an earlier run wrote it to the target. Only the job knows of that write,
            // and only until the next digest is pinned.
            self.withdraw(job).await?;
        }
        self.catalog().pin_digest(job.id, job.attempt, &digest).await.map_err(ServiceError::from)?;
        let plan = self.plan_copy(copy.source_id, digest).await?;
        progress.blobs_total.store(plan.blobs.len() as u64, Ordering::Relaxed);
        if copy.region == self.settings().region {
            self.copy_within(&copy, &plan).await
        } else {
            self.copy_to_peer(&copy, &plan).await
        }
    }

    /// Parses the job's names and checks its operator and source again: since the job was made, the operator may have
    /// lost the right, and the repository may be gone.
    async fn begin_copy<'a>(&self, job: &'a Job, progress: &'a Progress) -> Result<ImageCopy<'a>, JobError> {
        let parse = |what: &str, value: &str| JobError::Terminal(format!("the job's {what} {value:?} is not valid"));
        let namespace: NamespaceName = job.namespace.parse().map_err(|_| parse("namespace", &job.namespace))?;
        let path: RepositoryPath = job.repository.parse().map_err(|_| parse("repository", &job.repository))?;
        let target: NamespaceName =
            job.target_namespace.parse().map_err(|_| parse("target namespace", &job.target_namespace))?;
        let region: RegionId = job.target_region.parse().map_err(|_| parse("target region", &job.target_region))?;
        let tag: Tag = job.tag.parse().map_err(|_| parse("tag", &job.tag))?;
        let user = self.identity.user_by_id(&job.operator_id).await?;
        let principal = user.filter(|user| user.enabled).map(Principal::from).ok_or_else(|| {
            JobError::Terminal(format!(
                "user {} was removed or disabled since it asked for this copy",
                job.operator_name
            ))
        })?;
        let source = RepositoryName::new(namespace, path.clone());
        let (repository, _) = self.access.repository_for(&principal, &source, Level::Read).await?;
        Ok(ImageCopy {
            job,
            principal,
            source,
            source_id: repository.id,
            target: RepositoryName::new(target, path),
            region,
            tag,
            category: repository.category,
            description: repository.description,
            progress,
        })
    }
}

/// The error for a target tag that must not be replaced.
fn tag_differs(copy: &ImageCopy<'_>, current: &Digest) -> JobError {
    JobError::Terminal(format!(
        "tag {} of {} in region {} points at {current}, and override is false",
        copy.tag, copy.target, copy.region
    ))
}

#[cfg(test)]
mod tests;
