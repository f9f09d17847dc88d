//! Versions of the API, without credentials: contract 5.9.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use transship_registry::Registry;

use super::Answer;
use super::error::ManageError;

/// The versions that are served.
const VERSIONS: [&str; 2] = ["v2", "v3"];

/// `GET /`: 200, contract 5.9.
pub(super) fn list_api_versions(registry: &Registry) -> Response {
    let versions: Vec<Value> = VERSIONS.iter().map(|id| version(registry, id)).collect();
    Json(json!({ "versions": versions })).into_response()
}

/// `GET /{api_version}`: 200, or 404 for one that is not served, contract 5.9.
pub(super) fn show_api_version(registry: &Registry, id: &str) -> Answer {
    let known = VERSIONS.iter().find(|known| **known == id).ok_or_else(ManageError::no_such_url)?;
    Ok(Json(json!({ "version": version(registry, known) })).into_response())
}

/// `links` is an object, not an array, as in the reference.
fn version(registry: &Registry, id: &str) -> Value {
    json!({
        "id": id,
        "links": { "href": format!("{}/{id}/", registry.settings().public_url), "rel": "self" },
        "version": if id == "v2" { "2.26" } else { "" },
        "min_version": if id == "v2" { "2.0" } else { "" },
        "status": if id == "v2" { "CURRENT" } else { "SUPPORTED" },
        "updated": "2024-04-18T00:00:00Z",
    })
}
