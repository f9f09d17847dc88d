//! Permissions of users on organizations: contract 5.2.

use axum::Json;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use transship_registry::{GrantList, Principal};

use super::route::parse_namespace;
use super::{Answer, Call, answer, fields};

/// `GET …/namespaces/{namespace}/access`: 200, contract 5.2.
pub(super) async fn show_namespace_auth(call: &Call, namespace: &str) -> Answer {
    let name = parse_namespace(namespace)?;
    let grants = call.registry.access().namespace_grants(&call.principal, &name).await?;
    Ok(Json(grants_view(&call.principal, &grants)).into_response())
}

/// `POST …/namespaces/{namespace}/access`: 200, not 201 as for repositories, contract 5.2.
pub(super) async fn create_namespace_auth(call: &Call, namespace: &str) -> Answer {
    let name = parse_namespace(namespace)?;
    let specs = fields::grants(&call.body)?;
    call.registry.access().add_namespace_grants(&call.principal, &name, &specs).await?;
    Ok(answer::done())
}

/// `PATCH …/namespaces/{namespace}/access`: 201, contract 5.2.
pub(super) async fn update_namespace_auth(call: &Call, namespace: &str) -> Answer {
    let name = parse_namespace(namespace)?;
    let specs = fields::grants(&call.body)?;
    call.registry.access().update_namespace_grants(&call.principal, &name, &specs).await?;
    Ok(answer::created())
}

/// `DELETE …/namespaces/{namespace}/access`: 204, contract 5.2.
pub(super) async fn delete_namespace_auth(call: &Call, namespace: &str) -> Answer {
    let name = parse_namespace(namespace)?;
    let user_ids = fields::user_ids(&call.body)?;
    call.registry.access().remove_namespace_grants(&call.principal, &name, &user_ids).await?;
    Ok(answer::gone())
}

/// `{id, name, creator_name, self_auth, others_auths}`, of an organization or a repository.
pub(super) fn grants_view(principal: &Principal, grants: &GrantList) -> Value {
    let view = |id: &str, name: &str, level: i64| json!({ "user_id": id, "user_name": name, "auth": level });
    let others: Vec<Value> = grants.others.iter().map(|(id, name, level)| view(id, name, *level)).collect();
    json!({
        "id": grants.id,
        "name": grants.name,
        "creator_name": grants.creator_name,
        "self_auth": view(&principal.user_id, &principal.user_name, grants.own_level),
        "others_auths": others,
    })
}
