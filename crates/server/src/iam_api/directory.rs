//! Projects, accounts and users, as far as a caller may see them: only those of its own account.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};
use transship_registry::{Principal, Registry, User};

use super::IamError;

/// `GET /v3/projects?name=` (contract 7.3): exactly one project for the region, none for any other name.
pub(super) fn list_projects(registry: &Registry, parts: &Parts, caller: &Principal) -> Response {
    let own = registry.identity().project_of(caller);
    let name = query_value(parts.uri.query(), "name");
    let projects = if name.is_none_or(|name| name == own.name) {
        json!([{
            "id": own.id,
            "name": own.name,
            "domain_id": caller.account_id,
            "parent_id": caller.account_id,
            "is_domain": false,
            "enabled": true,
            "description": "",
            "links": {},
        }])
    } else {
        json!([])
    };
    axum::Json(json!({ "projects": projects, "links": {} })).into_response()
}

/// `GET /v3/auth/domains` (contract 7.3): the caller's account.
pub(super) fn list_domains(caller: &Principal) -> Response {
    let domain = json!({
        "id": caller.account_id,
        "name": caller.account_name,
        "enabled": true,
        "description": "",
        "links": {},
    });
    axum::Json(json!({ "domains": [domain], "links": {} })).into_response()
}

/// `GET /v3/users?name=` (contract 7.3): users of the caller's account.
pub(super) async fn list_users(registry: &Registry, parts: &Parts, caller: &Principal) -> Result<Response, IamError> {
    let name = query_value(parts.uri.query(), "name");
    let users = registry.identity().users_of_account(&caller.account_name, name.as_deref()).await?;
    let users: Vec<Value> = users.iter().map(describe).collect();
    Ok(axum::Json(json!({ "users": users, "links": {} })).into_response())
}

/// `GET /v3.0/OS-USER/users/{id}` (contract 7.3): one user of the caller's account.
pub(super) async fn show_user(registry: &Registry, caller: &Principal, id: &str) -> Result<Response, IamError> {
    let user = registry.identity().user_by_id(id).await?.filter(|user| user.account_id == caller.account_id);
    let user = user.ok_or_else(|| IamError::new(StatusCode::NOT_FOUND, "no such user in this account"))?;
    Ok(axum::Json(json!({ "user": describe(&user) })).into_response())
}

/// The name of the account with this id.
pub(super) async fn account_name(registry: &Registry, id: &str) -> Result<Option<String>, IamError> {
    Ok(registry.identity().account_by_id(id).await?.map(|account| account.name))
}

fn describe(user: &User) -> Value {
    json!({ "id": user.id, "name": user.name, "domain_id": user.account_id, "enabled": user.enabled, "links": {} })
}

/// The first value of a query parameter, decoded.
pub(super) fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = transship_oci::query::pairs(query?);
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
