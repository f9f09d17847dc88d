//! What an account has, and may have: contract 5.9.

use axum::Json;
use axum::response::IntoResponse as _;
use serde_json::json;

use super::{Answer, Call};
use crate::http::manage_error::{ManageCode, ManageError};

/// `GET /v2/manage/projects/{project_id}/quotas`: 200, contract 5.9.
pub(super) async fn list_quotas(call: &Call, project_id: &str) -> Answer {
    own_project(call, project_id)?;
    let used = call.registry.content().overview(&call.principal).await?.namespaces;
    let limit = call.registry.settings().namespaces_per_account;
    let quota = json!({ "quota_key": "namespace", "quota_limit": limit, "used": used, "unit": "" });
    Ok(Json(json!({ "quotas": [quota] })).into_response())
}

/// `GET /v2/manage/projects/{project_id}/feature-gates`: 200; true is what is built, contract 5.9.
pub(super) fn show_share_feature_gates(call: &Call, project_id: &str) -> Answer {
    own_project(call, project_id)?;
    let gates = json!({
        "enable_experience": false,
        "enable_hss_service": false,
        "enable_image_scan": false,
        "enable_sm3": false,
        "enable_image_sync": true,
        "enable_cci_service": false,
        "enable_image_label": false,
        "enable_pipeline": false,
        "enable_authorization_token": false,
        "enable_resource": false,
        "enable_list_v3": true,
        "enable_image_quota": false,
    });
    Ok(Json(gates).into_response())
}

/// `GET /v2/manage/overview`: 200, with the reference's own spelling of one key; sizes are decimals, contract 5.9.
pub(super) async fn show_domain_overview(call: &Call) -> Answer {
    let overview = call.registry.content().overview(&call.principal).await?;
    #[expect(clippy::cast_precision_loss, reason = "the API wants a decimal; 2^53 bytes are eight petabytes")]
    let stored = overview.stored_bytes as f64;
    Ok(Json(json!({
        "domain_id": call.principal.account_id,
        "domain_name": call.principal.account_name,
        "namspace_num": overview.namespaces,
        "repo_num": overview.repositories,
        "image_num": overview.tags,
        "store_space": stored,
        "downflow_size": 0.0,
    }))
    .into_response())
}

/// The SDKs fill the project in from the credentials; it must be the caller's (contract 5.9).
fn own_project(call: &Call, project_id: &str) -> Result<(), ManageError> {
    if call.registry.identity().project_of(&call.principal).id == project_id {
        return Ok(());
    }
    Err(ManageError::new(ManageCode::Forbidden, "the project of the path is not the caller's project in this region"))
}
