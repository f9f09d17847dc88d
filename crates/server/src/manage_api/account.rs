//! Quotas, feature gates, overview and agency of an account: contract 5.9.

use axum::response::Response;
use transship_swr::account::{
    CheckAgencyResponse, ListQuotasResponse, ShowDomainOverviewResponse, ShowQuota, ShowShareFeatureGatesResponse,
};
use transship_swr::{ErrorCode, PathValues};

use super::error::ManageError;
use super::{Answer, Call, answer};

/// `GET /v2/manage/projects/{project_id}/quotas`: 200, contract 5.9.
pub(super) async fn list_quotas(call: &Call, at: &PathValues) -> Answer {
    own_project(call, at)?;
    let used = call.registry.content().overview(&call.principal).await?.namespaces;
    let quota_limit = call.registry.settings().namespaces_per_account;
    let quota = ShowQuota { quota_key: "namespace".to_owned(), quota_limit, unit: String::new(), used };
    Ok(answer::with(&ListQuotasResponse { quotas: vec![quota] }))
}

/// `GET /v2/manage/projects/{project_id}/feature-gates`: 200; true for each feature that is built, contract 5.9.
pub(super) fn show_share_feature_gates(call: &Call, at: &PathValues) -> Answer {
    own_project(call, at)?;
    let gates = ShowShareFeatureGatesResponse {
        enable_image_sync: true,
        enable_list_v3: true,
        ..ShowShareFeatureGatesResponse::default()
    };
    Ok(answer::with(&gates))
}

/// `GET /v2/manage/overview`: 200, contract 5.9.
pub(super) async fn show_domain_overview(call: &Call) -> Answer {
    let overview = call.registry.content().overview(&call.principal).await?;
    #[expect(clippy::cast_precision_loss, reason = "the API wants a decimal; 2^53 bytes are eight petabytes")]
    let store_space = overview.stored_bytes as f64;
    Ok(answer::with(&ShowDomainOverviewResponse {
        domain_id: call.principal.account_id.clone(),
        domain_name: call.principal.account_name.clone(),
        downflow_size: 0.0,
        image_num: overview.tags,
        namespace_num: overview.namespaces,
        repo_num: overview.repositories,
        store_space,
    }))
}

/// `GET /v2/manage/agency`: 200, contract 5.9. No account can have delegated clusters: there are none, and `CreateAgency` is
/// not built.
pub(super) fn check_agency(call: &Call) -> Response {
    answer::with(&CheckAgencyResponse { domain_id: call.principal.account_id.clone(), is_agency: false })
}

/// The SDKs fill the project in from the credentials; it must be the caller's (contract 5.9).
fn own_project(call: &Call, at: &PathValues) -> Result<(), ManageError> {
    if call.registry.identity().project_of(&call.principal).id == at.get("project_id") {
        return Ok(());
    }
    Err(ManageError::new(ErrorCode::Forbidden, "the project of the path is not the caller's project in this region"))
}
