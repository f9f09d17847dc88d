//! Organizations: contract 5.1.

use serde_json::json;
use transship_registry::NamespaceSummary;
use transship_swr::PathValues;
use transship_swr::namespaces::{CreateNamespaceRequestBody, ListNamespacesResponse, ShowNamespace};
use transship_swr::query::bad_query;

use super::{Answer, Call, answer};

fn view(summary: NamespaceSummary) -> ShowNamespace {
    ShowNamespace {
        id: summary.id,
        name: summary.name,
        creator_name: summary.creator_name,
        auth: summary.level,
        repo_count: summary.repository_count,
        access_user_count: summary.user_count,
    }
}

/// `POST /v2/manage/namespaces`: 201, contract 5.1.
pub(super) async fn create_namespace(call: &Call) -> Answer {
    let request = CreateNamespaceRequestBody::parse(&call.body)?;
    call.registry.content().create_namespace(&call.principal, &request.namespace).await?;
    Ok(answer::created())
}

/// `GET /v2/manage/namespaces`: 200 also with nothing found, contract 5.1.
pub(super) async fn list_namespaces(call: &Call) -> Answer {
    let query = call.query.effective()?;
    let visible = match query.get("mode") {
        None => false,
        Some("visible") => true,
        Some(other) => return Err(bad_query("mode", other, "visible").into()),
    };
    let found = call.registry.content().list_namespaces(&call.principal, query.get("namespace"), visible).await?;
    let namespaces = found.into_iter().map(view).collect();
    Ok(answer::with(&json!(ListNamespacesResponse { namespaces })))
}

/// `GET /v2/manage/namespaces/{namespace}`, contract 5.1.
pub(super) async fn show_namespace(call: &Call, at: &PathValues) -> Answer {
    let shown = call.registry.content().show_namespace(&call.principal, &at.namespace()?).await?;
    Ok(answer::with(&view(shown)))
}

/// `DELETE /v2/manage/namespaces/{namespace}`: 204, or 406 while a repository is left, contract 5.1.
pub(super) async fn delete_namespaces(call: &Call, at: &PathValues) -> Answer {
    call.registry.content().delete_namespace(&call.principal, &at.namespace()?).await?;
    Ok(answer::gone())
}
