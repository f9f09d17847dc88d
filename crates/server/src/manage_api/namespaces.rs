//! Organizations: contract 5.1.

use axum::Json;
use axum::response::IntoResponse as _;
use serde::Serialize;
use transship_registry::NamespaceSummary;

use super::fields::Fields;
use super::route::parse_namespace;
use super::{Answer, Call, answer};
use crate::http::manage_error::ManageError;

/// Model `ShowNamespace`, and two counts that the hosted service sends too.
#[derive(Debug, Serialize)]
pub(super) struct NamespaceView {
    id: i64,
    name: String,
    creator_name: String,
    auth: i64,
    repo_count: i64,
    access_user_count: i64,
}

impl From<NamespaceSummary> for NamespaceView {
    fn from(summary: NamespaceSummary) -> Self {
        Self {
            id: summary.id,
            name: summary.name,
            creator_name: summary.creator_name,
            auth: summary.level,
            repo_count: summary.repository_count,
            access_user_count: summary.user_count,
        }
    }
}

/// `POST /v2/manage/namespaces`: 201, contract 5.1.
pub(super) async fn create_namespace(call: &Call) -> Answer {
    let fields = Fields::parse(&call.body)?;
    let name = parse_namespace(fields.text("namespace")?)?;
    call.registry.content().create_namespace(&call.principal, &name).await?;
    Ok(answer::created())
}

/// `GET /v2/manage/namespaces`: 200 also with nothing found, contract 5.1.
pub(super) async fn list_namespaces(call: &Call) -> Answer {
    let query = call.query.effective()?;
    let visible = match query.get("mode") {
        None => false,
        Some("visible") => true,
        Some(other) => return Err(super::query::bad_query("mode", other, "visible")),
    };
    let found = call.registry.content().list_namespaces(&call.principal, query.get("namespace"), visible).await?;
    let namespaces: Vec<NamespaceView> = found.into_iter().map(NamespaceView::from).collect();
    Ok(Json(serde_json::json!({ "namespaces": namespaces })).into_response())
}

/// `GET /v2/manage/namespaces/{namespace}`, contract 5.1.
pub(super) async fn show_namespace(call: &Call, namespace: &str) -> Answer {
    let name = parse_namespace(namespace)?;
    let shown = call.registry.content().show_namespace(&call.principal, &name).await?;
    Ok(Json(NamespaceView::from(shown)).into_response())
}

/// `DELETE /v2/manage/namespaces/{namespace}`: 204, or 406 while a repository is left, contract 5.1.
pub(super) async fn delete_namespaces(call: &Call, namespace: &str) -> Answer {
    let name = parse_namespace(namespace)?;
    call.registry.content().delete_namespace(&call.principal, &name).await.map_err(ManageError::from)?;
    Ok(answer::gone())
}
