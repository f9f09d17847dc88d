//! The management API: `/v2/manage/…`, `/v3/manage/…`, `/` and `/{api_version}` (contract sections 1–5).
//!
//! | path below `/v2/manage` | module |
//! | --- | --- |
//! | `/namespaces`, `/namespaces/{namespace}` | [`namespaces`] |
//! | `/namespaces/{namespace}/access` | [`namespace_access`] |
//! | `/repos`, `/namespaces/{namespace}/repos…` | [`repositories`] |
//! | `…/repos/{repository}/access` | [`repository_access`] |
//! | `…/repos/{repository}/tags…` | [`tags`] |
//! | `…/repos/{repository}/sync_images` | [`sync_images`] |
//! | `…/repos/{repository}/sync_job` | [`sync_job`] |
//! | `/regions` | [`regions`] |
//! | `/utils/secret` | [`secret`] |
//! | `/overview`, `/projects/{project_id}/…` | [`account`] |
//! | `/`, `/{api_version}` (no prefix) | [`versions`] |
//!
//! The table of [`route`] has every path; each operation is a function named by its operation id. Owns: requests to calls
//! of the registry crate, and answers back. Never: a rule of who may do what.

mod account;
mod answer;
mod fields;
mod json;
mod namespace_access;
mod namespaces;
mod paging;
mod query;
mod regions;
mod repositories;
mod repository_access;
mod route;
mod secret;
mod sync_images;
mod sync_job;
mod tags;
mod versions;

use ::http::Method;
use ::http::request::Parts;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use transship_registry::{Principal, Registry};

use crate::http::caller::prove_and_read;
use crate::http::manage_error::ManageError;
use crate::http::whole::Whole;
use query::Query;
use route::Operation;

/// The largest request body; a call with a thousand tags of the longest kind stays far below.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A call whose sender is proved.
struct Call {
    registry: Registry,
    principal: Principal,
    parts: Parts,
    query: Query,
    body: Whole,
}

type Answer = Result<Response, ManageError>;

/// Answers one request.
pub async fn handle(registry: Registry, request: Request<Body>) -> Response {
    answer(registry, request).await.unwrap_or_else(IntoResponse::into_response)
}

/// The order is the contract's (3.5): credentials, then the names of the path, then the body.
async fn answer(registry: Registry, request: Request<Body>) -> Answer {
    let (parts, body) = request.into_parts();
    let operation = Operation::find(&parts.method, parts.uri.path()).ok_or_else(ManageError::no_such_url)?;
    match &operation {
        Operation::ListApiVersions => return Ok(versions::list_api_versions(&registry)),
        Operation::ShowApiVersion { version } => return versions::show_api_version(&registry, version),
        _ => {}
    }
    let (principal, mut body) = prove_and_read(&registry, &parts, body, MAX_BODY_BYTES).await?;
    if parts.method == Method::GET {
        // It was read for its signature only.
        body = Whole::empty();
    }
    let query = Query::parse(parts.uri.query().unwrap_or(""))?;
    let mut call = Call { registry, principal, parts, query, body };
    dispatch(&mut call, operation).await
}

async fn dispatch(call: &mut Call, operation: Operation) -> Answer {
    use Operation as O;
    match operation {
        O::CreateNamespace => namespaces::create_namespace(call).await,
        O::ListNamespaces => namespaces::list_namespaces(call).await,
        O::ShowNamespace { namespace } => namespaces::show_namespace(call, &namespace).await,
        O::DeleteNamespaces { namespace } => namespaces::delete_namespaces(call, &namespace).await,
        O::ShowNamespaceAuth { namespace } => namespace_access::show_namespace_auth(call, &namespace).await,
        O::CreateNamespaceAuth { namespace } => namespace_access::create_namespace_auth(call, &namespace).await,
        O::UpdateNamespaceAuth { namespace } => namespace_access::update_namespace_auth(call, &namespace).await,
        O::DeleteNamespaceAuth { namespace } => namespace_access::delete_namespace_auth(call, &namespace).await,
        O::CreateRepo { namespace } => repositories::create_repo(call, &namespace).await,
        O::ListReposDetails => repositories::list_repos_details(call).await,
        O::ListRepoDetails => repositories::list_repo_details(call).await,
        O::ShowRepository(at) => repositories::show_repository(call, &at).await,
        O::UpdateRepo(at) => repositories::update_repo(call, &at).await,
        O::DeleteRepo(at) => repositories::delete_repo(call, &at).await,
        O::ShowUserRepositoryAuth(at) => repository_access::show_user_repository_auth(call, &at).await,
        O::CreateUserRepositoryAuth(at) => repository_access::create_user_repository_auth(call, &at).await,
        O::UpdateUserRepositoryAuth(at) => repository_access::update_user_repository_auth(call, &at).await,
        O::DeleteUserRepositoryAuth(at) => repository_access::delete_user_repository_auth(call, &at).await,
        O::ListRepositoryTags(at) => tags::list_repository_tags(call, &at).await,
        O::ListRepositoryTag(at) => tags::list_repository_tag(call, &at).await,
        O::ShowRepoTag(at, tag) => tags::show_repo_tag(call, &at, &tag).await,
        O::CreateRepoTag(at) => tags::create_repo_tag(call, &at).await,
        O::DeleteRepoTag(at, tag) => tags::delete_repo_tag(call, &at, &tag).await,
        O::CreateManualImageSyncRepo(at) => sync_images::create_manual_image_sync_repo(call, &at).await,
        O::ShowSyncJob(at) => sync_job::show_sync_job(call, &at).await,
        O::ListSyncRegions => Ok(regions::list_sync_regions(call)),
        O::CreateSecret => secret::create_secret(call).await,
        O::ListQuotas { project_id } => account::list_quotas(call, &project_id).await,
        O::ShowShareFeatureGates { project_id } => account::show_share_feature_gates(call, &project_id),
        O::ShowDomainOverview => account::show_domain_overview(call).await,
        O::ListApiVersions | O::ShowApiVersion { .. } => Err(ManageError::no_such_url()),
    }
}

#[cfg(test)]
mod tests;
