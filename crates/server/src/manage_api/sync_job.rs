//! Replication jobs: contract 4.2.

use transship_registry::{Job, JobState};
use transship_swr::query::bad_query;
use transship_swr::replication::{JobStatus, SyncJob};
use transship_swr::{Page, PathValues};

use super::{Answer, Call, answer};

/// `GET …/repos/{repository}/sync_job?filter=limit::10|offset::0|order::desc`: 200, contract 4.2.
pub(super) async fn show_sync_job(call: &Call, at: &PathValues) -> Answer {
    let name = at.repository()?;
    let filter = call.query.mandatory_filter()?;
    let page = Page::mandatory(&filter)?;
    let descending = match filter.get("order") {
        None | Some("desc") => true,
        Some("asc") => false,
        Some(other) => return Err(bad_query("order", other, "asc or desc").into()),
    };
    let (jobs, total, room) =
        call.registry.replication().list_jobs(&call.principal, &name, page.limit, page.offset, descending).await?;
    let views: Vec<SyncJob> = jobs.into_iter().map(|job| view(&call.principal.account_name, job)).collect();
    Ok(answer::page(page, &views, total, room))
}

fn view(account_name: &str, job: Job) -> SyncJob {
    SyncJob {
        id: job.id,
        domain_id: job.account_id,
        domain_name: account_name.to_owned(),
        namespace: job.namespace,
        repo_name: job.repository,
        tag: job.tag,
        remote_region_id: job.target_region,
        remote_namespace: job.target_namespace,
        override_existing: job.override_existing,
        status: status(job.state),
        sync_operator_id: job.operator_id,
        sync_operator_name: job.operator_name,
        created_at: answer::time(job.created_at_ms),
        updated_at: answer::time(job.updated_at_ms),
        reason: job.last_error,
        digest: job.digest,
        bytes_done: job.bytes_done,
        bytes_total: job.bytes_total,
        blobs_done: job.blobs_done,
        blobs_total: job.blobs_total,
    }
}

const fn status(state: JobState) -> JobStatus {
    match state {
        JobState::Waiting => JobStatus::Waiting,
        JobState::Running => JobStatus::Running,
        JobState::Success => JobStatus::Success,
        JobState::Failed => JobStatus::Failed,
        JobState::Timeout => JobStatus::Timeout,
        JobState::Cancel => JobStatus::Cancel,
        JobState::Existed => JobStatus::Existed,
    }
}
