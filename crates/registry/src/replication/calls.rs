//! `sync_images`: the checks in the contract's order, one job for each tag, and the wait (contract 3).

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use transship_catalog::{EnqueueError, Job, JobState, Level, NewJob};
use transship_oci::{NamespaceName, RegionId, RepositoryName, Tag};

use crate::access::asks::Asks;
use crate::access::policy::Principal;
use crate::access::policy::denied;
use crate::content::large_pages::Room;
use crate::content::large_pages::{PATIENCE, ROW_BYTES};
use crate::error::ServiceError;
use crate::replication::copy::TargetRefusal;
use crate::replication::service::Replication;

/// How long the checks wait for the target region. If it does not answer, the call is not refused: the jobs are made,
/// and report how it went (contract 3.5).
const TARGET_CHECK: Duration = Duration::from_secs(5);
/// Number of jobs whose states are read in one query: both databases look up a list of this length by the index.
const PAGE: usize = 1000;
/// Minimum pause between two reads, for each job that is read. It is about ten times what the read costs, so the reads
/// of a call take a tenth of one connection, however many tags it names. A call with one tag is answered without a
/// delay.
const PAUSE_PER_JOB: Duration = Duration::from_micros(20);
/// Maximum pause between two reads.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Interval after which the states are read in any case: a job may end in another process, which gives no signal here.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A call of `sync_images`.
#[derive(Clone, Debug)]
pub struct SyncImages {
    /// The tags to copy; a tag named twice counts once.
    pub tags: Vec<Tag>,
    /// `remoteRegionId`, as sent.
    pub region: String,
    /// The target organization.
    pub namespace: NamespaceName,
    /// Whether a different image under the same tag is replaced.
    pub override_existing: bool,
}

/// How a call of `sync_images` went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOutcome {
    /// The tags, in the order of the request.
    pub tags: Vec<TagOutcome>,
    /// Whether the call waited for its jobs. If not, nothing is known about them (contract 3.2).
    pub waited: bool,
}

/// How far one tag got while the call waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagOutcome {
    /// The tag.
    pub tag: String,
    /// The state of its job.
    pub state: JobState,
}

/// Bytes that a job takes in a list: its record and the reason of a failure, which may have any length.
fn job_bytes(job: &Job) -> u64 {
    ROW_BYTES + job.last_error.as_ref().map_or(0, |reason| reason.len() as u64)
}

impl Replication {
    /// Makes one durable job for each tag, waits for them, and returns the state of each, in the order of the request.
    pub async fn sync_images(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        call: SyncImages,
    ) -> Result<SyncOutcome, ServiceError> {
        let deadline = Instant::now() + self.settings().sync_wait;
        // Checks the source organization, the repository and the permission on them. Public access is not enough, the
        // caller needs a level: source and target belong to one account (contract 3.3).
        let (repository, access) = self.access.repository_for(principal, name, Level::Read).await?;
        if access.level < Some(Level::Read) {
            return Err(denied(principal, "read permission (1) of its own account", name));
        }
        let region = self.target_region(&call.region)?;
        if region == self.settings().region && call.namespace == *name.namespace() {
            let (region, namespace) = (region.to_string(), call.namespace.to_string());
            return Err(ServiceError::SelfTarget { region, namespace });
        }
        self.check_target(principal, name, &region, &call.namespace).await?;

        let mut tags: Vec<Tag> = Vec::with_capacity(call.tags.len());
        let mut seen = std::collections::HashSet::new();
        for tag in call.tags {
            if seen.insert(tag.clone()) {
                tags.push(tag);
            }
        }
        let limit = self.settings().sync_max_tags;
        if tags.len() > limit {
            return Err(ServiceError::TooManyTags { limit, got: tags.len() });
        }

        let jobs: Vec<NewJob> = tags
            .iter()
            .map(|tag| NewJob {
                account_id: principal.account_id.clone(),
                repository_id: repository.id,
                namespace: name.namespace().to_string(),
                repository: name.repository().to_string(),
                tag: tag.to_string(),
                target_region: region.to_string(),
                target_namespace: call.namespace.to_string(),
                override_existing: call.override_existing,
                operator_id: principal.user_id.clone(),
                operator_name: principal.user_name.clone(),
            })
            .collect();
        let limit = self.settings().max_open_jobs_per_account;
        let ids = match self.catalog().enqueue_jobs(&jobs, limit).await {
            Ok(ids) => ids,
            Err(EnqueueError::QueueFull) => return Err(ServiceError::QueueFull { limit }),
            Err(EnqueueError::Catalog(error)) => return Err(error.into()),
        };
        drop(jobs);
        self.jobs().changed();

        // Without a wait the answer does not depend on how fast a job fails (contract 3.2).
        let waited = !self.settings().sync_wait.is_zero();
        let states = if waited { self.wait_for_jobs(&ids, deadline).await? } else { HashMap::new() };
        let state = |id: i64| states.get(&id).copied().unwrap_or(JobState::Waiting);
        let tags = tags.iter().zip(ids).map(|(tag, id)| TagOutcome { tag: tag.to_string(), state: state(id) });
        Ok(SyncOutcome { tags: tags.collect(), waited })
    }

    /// Returns one page of a repository's jobs and the number of all of them (contract 4.2).
    ///
    /// The administrators of an account can still read the jobs of its deleted repositories, even when the name is in
    /// use again.
    pub async fn list_jobs(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        limit: i64,
        offset: i64,
        descending: bool,
    ) -> Result<(Vec<Job>, i64, Room), ServiceError> {
        let asks = Asks::Account(&principal.account_id);
        let size = |(jobs, _): &(Vec<Job>, i64)| jobs.iter().map(job_bytes).sum();
        let of_repository = |id: i64| async move { Ok(self.catalog().list_jobs(id, limit, offset, descending).await?) };
        // Only jobs of the caller's account: the name may belong to another account by now.
        let with_deleted = |id: Option<i64>| async move {
            let account = &principal.account_id;
            Ok(self.catalog().list_jobs_with_deleted(id, account, name, limit, offset, descending).await?)
        };
        let refusal = match self.access.repository_for(principal, name, Level::Read).await {
            Ok((repository, access)) if access.level >= Some(Level::Read) => {
                let ((jobs, total), room) = if principal.is_admin {
                    self.content.rooms().read(asks, PATIENCE, || with_deleted(Some(repository.id)), size).await?
                } else {
                    self.content.rooms().read(asks, PATIENCE, || of_repository(repository.id), size).await?
                };
                return Ok((jobs, total, room));
            }
            Ok(_) => denied(principal, "read permission (1)", name),
            Err(error) => error,
        };
        let is_gone = matches!(
            refusal,
            ServiceError::NamespaceAbsent { .. } | ServiceError::RepositoryAbsent(_) | ServiceError::Denied(_)
        );
        if is_gone && principal.is_admin {
            let ((jobs, total), room) = self.content.rooms().read(asks, PATIENCE, || with_deleted(None), size).await?;
            if total > 0 {
                return Ok((jobs, total, room));
            }
        }
        Err(refusal)
    }

    /// Every configured region except this one, with its registry address (contract 4.3).
    pub fn list_regions(&self) -> Vec<(RegionId, String)> {
        let host = |url: &str| url.split_once("://").map_or(url, |(_, host)| host).to_owned();
        self.settings().peers.iter().map(|peer| (peer.id.clone(), host(&peer.url))).collect()
    }

    fn target_region(&self, id: &str) -> Result<RegionId, ServiceError> {
        let settings = self.settings();
        let known = std::iter::once(&settings.region).chain(settings.peers.iter().map(|peer| &peer.id));
        known.into_iter().find(|known| known.as_str() == id).cloned().ok_or_else(|| {
            // An error echoes only the start of the name, as much as a person would read.
            ServiceError::RegionUnknown(id.chars().take(64).collect())
        })
    }

    /// Checks the target organization and the permission in the target, if the target can be asked now.
    async fn check_target(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        region: &RegionId,
        namespace: &NamespaceName,
    ) -> Result<(), ServiceError> {
        let target = RepositoryName::new(namespace.clone(), name.repository().clone());
        if *region == self.settings().region {
            return match self.content.require_push(principal, &target).await {
                Err(ServiceError::NamespaceAbsent { namespace, region }) => Err(ServiceError::NamespaceAbsent {
                    namespace: format!("{namespace} (the target organization)"),
                    region,
                }),
                other => other,
            };
        }
        let asked = tokio::time::timeout(TARGET_CHECK, self.ask_target(principal, region, &target)).await;
        match asked {
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(TargetRefusal::NamespaceAbsent)) => Err(ServiceError::NamespaceAbsent {
                namespace: format!("{namespace} (the target organization)"),
                region: region.to_string(),
            }),
            Ok(Err(TargetRefusal::Denied(reason))) => {
                Err(ServiceError::Denied(format!("region {region} refuses: {reason}")))
            }
            Ok(Err(TargetRefusal::Other(error))) => {
                tracing::info!(%region, "target region could not be asked; its jobs will: {error}");
                Ok(())
            }
        }
    }

    /// Returns the states of the jobs when all are final or the deadline passes. Only jobs that are still open are read
    /// again. A job that gave way to a newer one for the same copy has the state of that one.
    async fn wait_for_jobs(&self, ids: &[i64], deadline: Instant) -> Result<HashMap<i64, JobState>, ServiceError> {
        let mut changes = self.jobs().finished();
        let mut states = HashMap::with_capacity(ids.len());
        // The job that is waited for, and the one that makes its copy.
        let mut open: Vec<(i64, i64)> = ids.iter().map(|id| (*id, *id)).collect();
        loop {
            let mut found = HashMap::with_capacity(open.len());
            for page in open.chunks(PAGE) {
                let page: Vec<i64> = page.iter().map(|(_, runs)| *runs).collect();
                let page = self.catalog().job_states(&page).await?;
                found.extend(page.into_iter().map(|status| (status.id, status)));
            }
            open.retain_mut(|(asked, runs)| {
                let Some(job) = found.get(runs) else { return true };
                if let Some(newer) = job.superseded_by {
                    *runs = newer;
                    return true;
                }
                states.insert(*asked, job.state);
                !job.state.is_final()
            });
            let now = Instant::now();
            if open.is_empty() || now >= deadline {
                return Ok(states);
            }
            let pause = PAUSE_PER_JOB.saturating_mul(u32::try_from(open.len()).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
            tokio::time::sleep_until((now + pause).min(deadline)).await;
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep_until((now + pause.max(LOOK_AGAIN)).min(deadline)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
