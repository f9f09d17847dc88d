//! The token endpoint: a login becomes a registry token (contract 7.6, registry-protocol 34–37).
//!
//! `GET` takes Basic, or no credentials for an anonymous token. `POST` takes a form as `OAuth2` defines it, with the
//! grants `password` and `refresh_token`. Both issue refresh tokens to callers that ask for one.

use ::http::request::Parts;
use ::http::{Method, StatusCode, header};
use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::json;
use transship_oci::{ErrorCode, NamespaceName, parse_scopes};
use transship_registry::{Principal, ProvedLogin, Registry, ServiceError};

use super::error::OciError;
use super::query::Query;
use crate::http::context;
use crate::http::whole::{Sender, WholeBodyError, read_whole};

/// Where the Bearer challenge points, under `public_url`.
pub const PATH: &str = "/swr/auth/v2/registry/auth/";
/// Whether a path is the token endpoint; clients join realms with and without the slash at the end.
pub(super) fn is_at(path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path) == PATH.trim_end_matches('/')
}

/// Maximum size of a form; it holds a password and some scopes.
const MAX_FORM_BYTES: usize = 64 << 10;

/// Answers the token endpoint.
pub async fn handle(registry: Registry, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let answer = match parts.method {
        Method::GET => {
            // Nobody reads this body. Dropping it here frees its bytes while the password check waits for its turn.
            drop(body);
            by_basic(&registry, &parts).await
        }
        Method::POST => by_form(&registry, &parts, body).await,
        _ => Err(OciError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Unsupported,
            "the token endpoint takes GET and POST",
        )),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn by_basic(registry: &Registry, parts: &Parts) -> Result<Response, OciError> {
    let query = Query::parse(parts.uri.query().unwrap_or(""));
    let login = match parts.headers.get(header::AUTHORIZATION) {
        None if !registry.settings().access.anonymous_pull => {
            return Err(OciError::new(
                StatusCode::UNAUTHORIZED,
                ErrorCode::Unauthorized,
                "this region gives nothing without a login; log in first",
            ));
        }
        None => None,
        Some(value) => {
            let (user, password) = value.to_str().ok().and_then(basic).ok_or_else(|| wrong_login(registry))?;
            Some(log_in(registry, &user, &password).await?)
        }
    };
    let keeps = login.as_ref().filter(|_| query.first("offline_token") == Some("true"));
    let refresh = keeps.map(|login| registry.identity().issue_refresh_token(login).token);
    issue(registry, login.as_ref().map(|login| &login.principal), &query, refresh).await
}

async fn by_form(registry: &Registry, parts: &Parts, body: Body) -> Result<Response, OciError> {
    let oauth = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let bytes = match read_whole(parts, body, MAX_FORM_BYTES, Sender::Stranger).await {
        Ok(bytes) => bytes,
        Err(WholeBodyError::TooLarge { .. } | WholeBodyError::Broken) => return Ok(oauth("invalid_request")),
        Err(error) => return Err(error.into()),
    };
    let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(oauth("invalid_request")) };
    let form = Query::parse(text);
    match form.first("grant_type") {
        None => Ok(oauth("invalid_request")),
        Some("password" | "refresh_token") if form.first("client_id").is_none() => Ok(oauth("invalid_request")),
        Some("password") => {
            let (Some(user), Some(password)) = (form.first("username"), form.first("password")) else {
                return Ok(oauth("invalid_request"));
            };
            let login = log_in(registry, user, password).await?;
            let keeps = form.first("access_type") == Some("offline");
            let refresh = keeps.then(|| registry.identity().issue_refresh_token(&login).token);
            issue(registry, Some(&login.principal), &form, refresh).await
        }
        Some("refresh_token") => {
            let Some(token) = form.first("refresh_token") else { return Ok(oauth("invalid_request")) };
            let principal =
                registry.identity().verify_refresh_token(token).await?.map_err(|error| {
                    OciError::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, error.to_string())
                })?;
            crate::http::context::set_caller(&principal);
            issue(registry, Some(&principal), &form, Some(token.to_owned())).await
        }
        Some(_) => Ok(oauth("unsupported_grant_type")),
    }
}

async fn issue(
    registry: &Registry,
    principal: Option<&Principal>,
    query: &Query,
    refresh: Option<String>,
) -> Result<Response, OciError> {
    let service = &registry.settings().service;
    // A token is for one service. A request that names none, or two, does not come from our challenge.
    if query.once("service", ErrorCode::Unsupported)? != Some(service.as_str()) {
        return Err(OciError::bad(
            ErrorCode::Unsupported,
            format!("service must be {service:?}, as the challenge says"),
        ));
    }
    let scopes: Vec<&str> = query.all("scope").collect();
    let issued = match registry.identity().issue_registry_token(principal, &parse_scopes(&scopes)).await {
        Ok(issued) => issued,
        Err(ServiceError::NamespaceAbsent { namespace, .. }) => {
            let is_reserved = namespace.parse::<NamespaceName>().is_ok_and(|name| name.is_reserved());
            let why = if is_reserved {
                "the name is reserved, no organization can have it"
            } else {
                "a push never makes one, POST /v2/manage/namespaces does"
            };
            // The words before the colon are the contract's (7.6).
            let message = format!("Image organization does not exist: {namespace}; {why}");
            return Err(OciError::new(StatusCode::UNAUTHORIZED, ErrorCode::Denied, message));
        }
        Err(error) => return Err(error.into()),
    };
    let issued_at = jiff::Timestamp::from_second(i64::try_from(issued.issued_at_seconds).unwrap_or(0));
    let granted =
        registry.identity().verify_registry_token(&issued.token).map(|grant| grant.scope()).unwrap_or_default();
    let mut body = json!({
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.life_seconds(),
        "issued_at": issued_at.unwrap_or_default().to_string(),
        "scope": granted,
    });
    if let Some(refresh) = refresh {
        body["refresh_token"] = json!(refresh);
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

async fn log_in(registry: &Registry, user: &str, password: &str) -> Result<ProvedLogin, OciError> {
    let login = match registry.identity().authenticate_login(context::client(), user, password).await {
        Err(hint @ ServiceError::SecretKeyAsPassword) => {
            let message = format!("Authenticate Error: {hint}");
            return Err(OciError::new(StatusCode::UNAUTHORIZED, ErrorCode::Denied, message));
        }
        found => found?.ok_or_else(|| wrong_login(registry))?,
    };
    context::set_caller(&login.principal);
    Ok(login)
}

/// The same answer for an unknown user and a wrong password. The words before the colon are the contract's (7.6);
/// docker shows the rest to a person.
fn wrong_login(registry: &Registry) -> OciError {
    let region = &registry.settings().region;
    let message = format!(
        "Authenticate Error: wrong user or password; this region knows users as USER, ACCOUNT/USER and {region}@ACCESS-KEY"
    );
    OciError::new(StatusCode::UNAUTHORIZED, ErrorCode::Denied, message)
}

fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
