//! Versions and description of the API, without credentials: contract 5.9.

use std::sync::LazyLock;

use ::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use transship_registry::Registry;
use transship_swr::account::{Link, ListApiVersionsResponse, ShowApiVersionResponse, VersionDetail};
use transship_swr::openapi;

use super::error::ManageError;
use super::{Answer, answer};

/// The OpenAPI document, made once because it is the same for everybody.
static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| openapi::text().into());

/// The versions that are served.
const VERSIONS: [&str; 2] = ["v2", "v3"];

/// `GET /`: 200, contract 5.9.
pub(super) fn list_api_versions(registry: &Registry) -> Response {
    let versions = VERSIONS.iter().map(|id| version(registry, id)).collect();
    answer::with(&ListApiVersionsResponse { versions })
}

/// `GET /openapi.json`: 200.
pub(super) fn openapi() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI.clone()).into_response()
}

/// `GET /{api_version}`: 200, or 404 for one that is not served, contract 5.9.
pub(super) fn show_api_version(registry: &Registry, id: &str) -> Answer {
    let known = VERSIONS.iter().find(|known| **known == id).ok_or_else(ManageError::no_such_url)?;
    Ok(answer::with(&ShowApiVersionResponse { version: version(registry, known) }))
}

fn version(registry: &Registry, id: &str) -> VersionDetail {
    let (version, min_version, status) = match id {
        "v2" => ("2.26", "2.0", "CURRENT"),
        _ => ("", "", "SUPPORTED"),
    };
    VersionDetail {
        id: id.to_owned(),
        links: Link { href: format!("{}/{id}/", registry.settings().public_url), rel: "self".to_owned() },
        min_version: min_version.to_owned(),
        status: status.to_owned(),
        updated: "2024-04-18T00:00:00Z".to_owned(),
        version: version.to_owned(),
    }
}
