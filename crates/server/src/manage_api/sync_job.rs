//! Replication jobs: contract 4.2.

use serde::Serialize;
use transship_registry::Job;

use super::paging::Page;
use super::route::RepositoryAt;
use super::{Answer, Call, answer};

/// Model `SyncJob`, with what is of help beside it: the reason of a failure, the digest, and how far the copy has got.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncJob {
    id: i64,
    #[serde(rename = "domainID")]
    domain_id: String,
    domain_name: String,
    namespace: String,
    repo_name: String,
    tag: String,
    remote_region_id: String,
    remote_namespace: String,
    #[serde(rename = "override")]
    override_existing: bool,
    status: &'static str,
    sync_operator_id: String,
    sync_operator_name: String,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    bytes_done: u64,
    bytes_total: u64,
    blobs_done: u64,
    blobs_total: u64,
}

/// `GET …/repos/{repository}/sync_job?filter=limit::10|offset::0|order::desc`: 200, contract 4.2.
pub(super) async fn show_sync_job(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let filter = call.query.mandatory_filter()?;
    let page = Page::mandatory(&filter)?;
    let descending = match filter.get("order") {
        None | Some("desc") => true,
        Some("asc") => false,
        Some(other) => return Err(super::query::bad_query("order", other, "asc or desc")),
    };
    let (jobs, total, room) =
        call.registry.replication().list_jobs(&call.principal, &name, page.limit, page.offset, descending).await?;
    let views: Vec<SyncJob> = jobs.into_iter().map(|job| view(&call.principal.account_name, job)).collect();
    Ok(page.answer_large(&views, total, room))
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
        status: job.state.as_str(),
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
