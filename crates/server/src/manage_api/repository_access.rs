//! Permissions of users on repositories: contract 5.4.

use transship_registry::ServiceError;
use transship_swr::access::parse_user_ids;
use transship_swr::{ErrorCode, PathValues};

use super::error::ManageError;
use super::namespace_access::{grants, grants_view};
use super::{Answer, Call, answer};

/// `GET …/repos/{repository}/access`: 200, contract 5.4.
pub(super) async fn show_user_repository_auth(call: &Call, at: &PathValues) -> Answer {
    let grants = call.registry.access().repository_grants(&call.principal, &at.repository()?).await?;
    Ok(answer::with(&grants_view(&call.principal, grants)))
}

/// `POST …/repos/{repository}/access`: 201, contract 5.4.
pub(super) async fn create_user_repository_auth(call: &Call, at: &PathValues) -> Answer {
    let name = at.repository()?;
    let specs = grants(&call.body)?;
    call.registry.access().add_repository_grants(&call.principal, &name, &specs).await.map_err(on_repository)?;
    Ok(answer::created())
}

/// `PATCH …/repos/{repository}/access`: 201, contract 5.4.
pub(super) async fn update_user_repository_auth(call: &Call, at: &PathValues) -> Answer {
    let name = at.repository()?;
    let specs = grants(&call.body)?;
    call.registry.access().update_repository_grants(&call.principal, &name, &specs).await.map_err(on_repository)?;
    Ok(answer::created())
}

/// `DELETE …/repos/{repository}/access`: 204, contract 5.4.
pub(super) async fn delete_user_repository_auth(call: &Call, at: &PathValues) -> Answer {
    let name = at.repository()?;
    let user_ids = parse_user_ids(&call.body)?;
    call.registry.access().remove_repository_grants(&call.principal, &name, &user_ids).await.map_err(on_repository)?;
    Ok(answer::gone())
}

/// The codes of repository permissions differ from those of organization permissions (contract 6.2).
fn on_repository(error: ServiceError) -> ManageError {
    let code = match &error {
        ServiceError::GrantExists(_) => ErrorCode::PermissionExists,
        ServiceError::GrantAbsent(_) => ErrorCode::PermissionAbsent,
        ServiceError::InvalidLevel(_) => ErrorCode::BadPermission,
        _ => return error.into(),
    };
    ManageError::from(error).with_code(code)
}
