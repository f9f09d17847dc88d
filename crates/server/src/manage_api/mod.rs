//! The management API: `/v2/manage/…`, `/v3/manage/…`, `/`, `/{api_version}` (contract sections 1–5), and its description
//! at `/openapi.json`.
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
//! | `/overview`, `/agency`, `/projects/{project_id}/…` | [`account`] |
//! | `/`, `/{api_version}`, `/openapi.json` (no prefix) | [`versions`] |
//!
//! `transship_swr` defines the operations, their paths and their bodies; each operation is a function here, named after
//! its operation id. Owns: turning requests into calls of the registry crate, and results into answers. Never: a rule
//! of who may do what.

mod account;
mod answer;
pub mod error;
mod namespace_access;
mod namespaces;
mod regions;
mod repositories;
mod repository_access;
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
use transship_swr::{OperationId, PathValues, Query, openapi, route};

use crate::caller::prove_and_read;
use crate::http::whole::Whole;
use error::ManageError;

/// Maximum size of a request body; a call with a thousand tags of maximum length stays far below.
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

/// Checks in the order of the contract (3.5): credentials, then the names of the path, then the body.
async fn answer(registry: Registry, request: Request<Body>) -> Answer {
    let (parts, body) = request.into_parts();
    if parts.method == Method::GET && parts.uri.path() == openapi::PATH {
        return Ok(versions::openapi());
    }
    let found = route::find(parts.method.as_str(), parts.uri.path());
    let (operation, at) = found.ok_or_else(ManageError::no_such_url)?;
    match operation {
        OperationId::ListApiVersions => return Ok(versions::list_api_versions(&registry)),
        OperationId::ShowApiVersion => return versions::show_api_version(&registry, at.get("api_version")),
        _ => {}
    }
    let (principal, mut body) = prove_and_read(&registry, &parts, body, MAX_BODY_BYTES).await?;
    if parts.method == Method::GET {
        // The body was read only for its signature.
        body = Whole::empty();
    }
    let query = Query::parse(parts.uri.query().unwrap_or(""))?;
    let mut call = Call { registry, principal, parts, query, body };
    dispatch(&mut call, operation, &at).await
}

async fn dispatch(call: &mut Call, operation: OperationId, at: &PathValues) -> Answer {
    use OperationId as O;
    match operation {
        O::CreateNamespace => namespaces::create_namespace(call).await,
        O::ListNamespaces => namespaces::list_namespaces(call).await,
        O::ShowNamespace => namespaces::show_namespace(call, at).await,
        O::DeleteNamespaces => namespaces::delete_namespaces(call, at).await,
        O::ShowNamespaceAuth => namespace_access::show_namespace_auth(call, at).await,
        O::CreateNamespaceAuth => namespace_access::create_namespace_auth(call, at).await,
        O::UpdateNamespaceAuth => namespace_access::update_namespace_auth(call, at).await,
        O::DeleteNamespaceAuth => namespace_access::delete_namespace_auth(call, at).await,
        O::CreateRepo => repositories::create_repo(call, at).await,
        O::ListReposDetails => repositories::list_repos_details(call).await,
        O::ListRepoDetails => repositories::list_repo_details(call).await,
        O::ShowRepository => repositories::show_repository(call, at).await,
        O::UpdateRepo => repositories::update_repo(call, at).await,
        O::DeleteRepo => repositories::delete_repo(call, at).await,
        O::ShowUserRepositoryAuth => repository_access::show_user_repository_auth(call, at).await,
        O::CreateUserRepositoryAuth => repository_access::create_user_repository_auth(call, at).await,
        O::UpdateUserRepositoryAuth => repository_access::update_user_repository_auth(call, at).await,
        O::DeleteUserRepositoryAuth => repository_access::delete_user_repository_auth(call, at).await,
        O::ListRepositoryTags => tags::list_repository_tags(call, at).await,
        O::ListRepositoryTag => tags::list_repository_tag(call, at).await,
        O::ShowRepoTag => tags::show_repo_tag(call, at).await,
        O::CreateRepoTag => tags::create_repo_tag(call, at).await,
        O::DeleteRepoTag => tags::delete_repo_tag(call, at).await,
        O::CreateManualImageSyncRepo => sync_images::create_manual_image_sync_repo(call, at).await,
        O::ShowSyncJob => sync_job::show_sync_job(call, at).await,
        O::ListSyncRegions => Ok(regions::list_sync_regions(call)),
        O::CreateSecret => secret::create_secret(call).await,
        O::ListQuotas => account::list_quotas(call, at).await,
        O::ShowShareFeatureGates => account::show_share_feature_gates(call, at),
        O::CheckAgency => Ok(account::check_agency(call)),
        O::ShowDomainOverview => account::show_domain_overview(call).await,
        // The first two were answered before the caller was known; `route::find` does not return the others yet.
        O::ListApiVersions
        | O::ShowApiVersion
        | O::CreateAgency
        | O::CreateAuthorizationToken
        | O::CreateImageSyncRepo
        | O::CreateRepoDomains
        | O::CreateRetention
        | O::CreateTrigger
        | O::DeleteImageSyncRepo
        | O::DeleteRepoDomains
        | O::DeleteRetention
        | O::DeleteTrigger
        | O::ListImageAutoSyncReposDetails
        | O::ListReferences
        | O::ListRepoAccessories
        | O::ListRepoDomains
        | O::ListRetentionHistories
        | O::ListRetentions
        | O::ListSharedRepoDetails
        | O::ListSharedReposDetails
        | O::ListTriggersDetails
        | O::ShowAccessDomain
        | O::ShowDomainResourceReports
        | O::ShowRetention
        | O::ShowTrigger
        | O::UpdateRepoDomains
        | O::UpdateRetention
        | O::UpdateTrigger => Err(ManageError::no_such_url()),
    }
}
