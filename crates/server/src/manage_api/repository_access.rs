//! Permissions of users on repositories: contract 5.4.

use axum::Json;
use axum::response::IntoResponse as _;
use transship_registry::ServiceError;

use super::namespace_access::grants_view;
use super::route::RepositoryAt;
use super::{Answer, Call, answer, fields};
use crate::http::manage_error::{ManageCode, ManageError};

/// `GET …/repos/{repository}/access`: 200, contract 5.4.
pub(super) async fn show_user_repository_auth(call: &Call, at: &RepositoryAt) -> Answer {
    let grants = call.registry.access().repository_grants(&call.principal, &at.name()?).await?;
    Ok(Json(grants_view(&call.principal, &grants)).into_response())
}

/// `POST …/repos/{repository}/access`: 201, contract 5.4.
pub(super) async fn create_user_repository_auth(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let specs = fields::grants(&call.body)?;
    call.registry.access().add_repository_grants(&call.principal, &name, &specs).await.map_err(on_repository)?;
    Ok(answer::created())
}

/// `PATCH …/repos/{repository}/access`: 201, contract 5.4.
pub(super) async fn update_user_repository_auth(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let specs = fields::grants(&call.body)?;
    call.registry.access().update_repository_grants(&call.principal, &name, &specs).await.map_err(on_repository)?;
    Ok(answer::created())
}

/// `DELETE …/repos/{repository}/access`: 204, contract 5.4.
pub(super) async fn delete_user_repository_auth(call: &Call, at: &RepositoryAt) -> Answer {
    let name = at.name()?;
    let user_ids = fields::user_ids(&call.body)?;
    call.registry.access().remove_repository_grants(&call.principal, &name, &user_ids).await.map_err(on_repository)?;
    Ok(answer::gone())
}

/// The codes of repository permissions differ from those of organization permissions (contract 6.2).
fn on_repository(error: ServiceError) -> ManageError {
    let code = match &error {
        ServiceError::GrantExists(_) => ManageCode::PermissionExists,
        ServiceError::GrantAbsent(_) => ManageCode::PermissionAbsent,
        ServiceError::InvalidLevel(_) => ManageCode::BadPermission,
        _ => return error.into(),
    };
    ManageError::from(error).with_code(code)
}
