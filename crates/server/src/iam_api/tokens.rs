//! `POST /v3/auth/tokens` (contract 7.1): exchanges a password for a token.
//!
//! Only passwords are accepted. If a token could be exchanged for a token, one login could live for ever.

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use transship_registry::{Principal, Registry};

use super::{IamError, directory};
use crate::http::context;

/// The header that carries the token.
const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

#[derive(Debug, Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Debug, Deserialize)]
struct Auth {
    identity: Identity,
    scope: Option<Scope>,
}

#[derive(Debug, Deserialize)]
struct Identity {
    methods: Vec<String>,
    password: Option<Password>,
}

#[derive(Debug, Deserialize)]
struct Password {
    user: User,
}

#[derive(Deserialize)]
struct User {
    domain: Option<Named>,
    name: Option<String>,
    password: Option<String>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("domain", &self.domain).field("name", &self.name).finish_non_exhaustive()
    }
}

/// An object that is named by its id or its name.
#[derive(Debug, Deserialize)]
struct Named {
    id: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Scope {
    project: Option<ScopeProject>,
    domain: Option<Named>,
}

#[derive(Debug, Deserialize)]
struct ScopeProject {
    id: Option<String>,
    name: Option<String>,
    domain: Option<Named>,
}

/// What a token is valid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenScope {
    Project,
    Domain,
}

/// `POST /v3/auth/tokens` (contract 7.1).
pub(super) async fn create_token(registry: &Registry, body: &Bytes) -> Result<Response, IamError> {
    let bad = |message: String| IamError::new(StatusCode::BAD_REQUEST, message);
    let login: Login =
        serde_json::from_slice(body).map_err(|error| bad(format!("the body is not a login request: {error}")))?;
    let Identity { methods, password } = login.auth.identity;
    if methods.is_empty() {
        return Err(bad("auth.identity.methods is empty; expected [\"password\"]".to_owned()));
    }
    if methods != ["password"] {
        let message = "only the method password is served; tokens are not exchanged for tokens";
        return Err(IamError::new(StatusCode::UNAUTHORIZED, message));
    }
    let missing = |key: &str| bad(format!("auth.identity.password.user.{key} is missing"));
    let user = password.ok_or_else(|| bad("auth.identity.password is missing".to_owned()))?.user;
    let name = user.name.ok_or_else(|| missing("name"))?;
    let secret = user.password.ok_or_else(|| missing("password"))?;
    let domain = user.domain.ok_or_else(|| missing("domain"))?;
    let account = match (domain.name, domain.id) {
        (Some(name), _) => Some(name),
        (None, Some(id)) => directory::account_name(registry, &id).await?,
        (None, None) => return Err(missing("domain.name")),
    };

    // An unknown account takes as long and gets the same answer as a wrong password.
    let account = account.unwrap_or_default();
    let proved = registry.identity().authenticate_password(context::client(), &account, &name, &secret).await?;
    let proved = proved.ok_or_else(|| IamError::new(StatusCode::UNAUTHORIZED, "the username or password is wrong"))?;
    let principal = &proved.principal;
    context::set_caller(principal);
    let scope = check_scope(registry, principal, login.auth.scope)?;

    let issued = registry.identity().issue_iam_token(&proved);
    let mut token = json!({
        "methods": ["password"],
        "issued_at": timestamp(issued.issued_at_seconds),
        "expires_at": timestamp(issued.expires_at_seconds),
        "catalog": [],
        "user": {
            "id": principal.user_id,
            "name": principal.user_name,
            "domain": domain_of(principal),
            "password_expires_at": "",
        },
        "roles": roles(principal),
    });
    match scope {
        TokenScope::Project => {
            let project = registry.identity().project_of(principal);
            token["project"] = json!({ "id": project.id, "name": project.name, "domain": domain_of(principal) });
        }
        TokenScope::Domain => token["domain"] = domain_of(principal),
    }
    let header = HeaderValue::from_str(&issued.token)
        .map_err(|_| IamError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error"))?;
    Ok((StatusCode::CREATED, [(SUBJECT_TOKEN, header)], axum::Json(json!({ "token": token }))).into_response())
}

/// Checks the scope. Without one the token is for the project of this region, the only one.
fn check_scope(registry: &Registry, principal: &Principal, scope: Option<Scope>) -> Result<TokenScope, IamError> {
    let absent = |what: String| IamError::new(StatusCode::NOT_FOUND, format!("{what} not found"));
    let foreign = || IamError::new(StatusCode::FORBIDDEN, "the scope belongs to another account");
    let own_domain = |domain: &Named| {
        domain.id.as_ref().is_none_or(|id| *id == principal.account_id)
            && domain.name.as_ref().is_none_or(|name| *name == principal.account_name)
    };
    match scope {
        None | Some(Scope { project: None, domain: None }) => Ok(TokenScope::Project),
        Some(Scope { project: Some(_), domain: Some(_) }) => {
            Err(IamError::new(StatusCode::BAD_REQUEST, "auth.scope has both project and domain; expected one of them"))
        }
        Some(Scope { project: None, domain: Some(domain) }) => {
            if domain.id.is_none() && domain.name.is_none() {
                return Err(IamError::new(StatusCode::BAD_REQUEST, "auth.scope.domain has neither id nor name"));
            }
            if own_domain(&domain) { Ok(TokenScope::Domain) } else { Err(foreign()) }
        }
        Some(Scope { project: Some(project), domain: None }) => {
            if project.id.is_none() && project.name.is_none() {
                return Err(IamError::new(StatusCode::BAD_REQUEST, "auth.scope.project has neither id nor name"));
            }
            if project.domain.as_ref().is_some_and(|domain| !own_domain(domain)) {
                return Err(foreign());
            }
            let own = registry.identity().project_of(principal);
            if let Some(id) = project.id.filter(|id| *id != own.id) {
                return Err(absent(format!("project {id}")));
            }
            if let Some(name) = project.name.filter(|name| *name != own.name) {
                return Err(absent(format!("project {name}; the project of this region is {}", own.name)));
            }
            Ok(TokenScope::Project)
        }
    }
}

fn domain_of(principal: &Principal) -> Value {
    json!({ "id": principal.account_id, "name": principal.account_name })
}

/// Only the administrator's role has a meaning here; clients just need the field.
fn roles(principal: &Principal) -> Value {
    let name = if principal.is_admin { "te_admin" } else { "te_agency" };
    json!([{ "id": "0", "name": name }])
}

/// RFC 3339 in UTC with microseconds, as IAM writes it.
fn timestamp(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string()
}

#[cfg(test)]
pub(super) mod parsing {
    /// Whether a body is a login request at all.
    pub(in crate::iam_api) fn is_login(body: &[u8]) -> bool {
        serde_json::from_slice::<super::Login>(body).is_ok()
    }
}
