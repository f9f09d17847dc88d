//! Permissions of users on organizations: contract 5.2.

use transship_registry::{GrantList, GrantSpec, Principal};
use transship_swr::PathValues;
use transship_swr::access::{UserAuth, UserAuths, parse_user_auths, parse_user_ids};

use super::error::ManageError;
use super::{Answer, Call, answer};

/// `GET …/namespaces/{namespace}/access`: 200, contract 5.2.
pub(super) async fn show_namespace_auth(call: &Call, at: &PathValues) -> Answer {
    let name = at.namespace()?;
    let grants = call.registry.access().namespace_grants(&call.principal, &name).await?;
    Ok(answer::with(&grants_view(&call.principal, grants)))
}

/// `POST …/namespaces/{namespace}/access`: 200, not 201 as for repositories, contract 5.2.
pub(super) async fn create_namespace_auth(call: &Call, at: &PathValues) -> Answer {
    let name = at.namespace()?;
    let specs = grants(&call.body)?;
    call.registry.access().add_namespace_grants(&call.principal, &name, &specs).await?;
    Ok(answer::done())
}

/// `PATCH …/namespaces/{namespace}/access`: 201, contract 5.2.
pub(super) async fn update_namespace_auth(call: &Call, at: &PathValues) -> Answer {
    let name = at.namespace()?;
    let specs = grants(&call.body)?;
    call.registry.access().update_namespace_grants(&call.principal, &name, &specs).await?;
    Ok(answer::created())
}

/// `DELETE …/namespaces/{namespace}/access`: 204, contract 5.2.
pub(super) async fn delete_namespace_auth(call: &Call, at: &PathValues) -> Answer {
    let name = at.namespace()?;
    let user_ids = parse_user_ids(&call.body)?;
    call.registry.access().remove_namespace_grants(&call.principal, &name, &user_ids).await?;
    Ok(answer::gone())
}

/// The levels that a request asks for.
pub(super) fn grants(body: &[u8]) -> Result<Vec<GrantSpec>, ManageError> {
    let spec = |UserAuth { auth, user_id, user_name }| GrantSpec { user_id, user_name, level: auth };
    Ok(parse_user_auths(body)?.into_iter().map(spec).collect())
}

/// The levels on an organization or a repository, as the caller sees them.
pub(super) fn grants_view(principal: &Principal, grants: GrantList) -> UserAuths {
    let view = |(user_id, user_name, auth)| UserAuth { auth, user_id, user_name };
    UserAuths {
        creator_name: grants.creator_name,
        id: grants.id,
        name: grants.name,
        others_auths: grants.others.into_iter().map(view).collect(),
        self_auth: view((principal.user_id.clone(), principal.user_name.clone(), grants.own_level)),
    }
}
