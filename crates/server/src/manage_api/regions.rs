//! Regions: contract 4.3.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::Call;

/// `GET /v2/manage/regions`: 200, every configured region but the own one, contract 4.3.
pub(super) fn list_sync_regions(call: &Call) -> Response {
    let regions: Vec<Value> = call
        .registry
        .replication()
        .list_regions()
        .into_iter()
        .map(|(id, registry)| json!({ "regionID": id, "registryURL": registry }))
        .collect();
    Json(regions).into_response()
}
