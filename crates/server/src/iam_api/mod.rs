//! The small part of IAM that clients of the management API call by themselves (contract 7.1, 7.3).
//!
//! | method and path | handler |
//! | --- | --- |
//! | `POST /v3/auth/tokens` | [`tokens::create_token`] |
//! | `GET /v3/projects`, `GET /v3/auth/projects` | [`directory::list_projects`] |
//! | `GET /v3/auth/domains` | [`directory::list_domains`] |
//! | `GET /v3/users` | [`directory::list_users`] |
//! | `GET /v3.0/OS-USER/users/{id}`, `GET /v3/users/{id}` | [`directory::show_user`] |
//!
//! Owns: these paths and the IAM error form. Never: passwords, tokens or signatures themselves.

mod directory;
mod error;
mod tokens;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use transship_registry::Registry;

pub use error::IamError;

use crate::http::whole::{WholeBodyError, read_whole};

/// The longest body: a login has a few hundred bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Answers one request under `/v3` or `/v3.0`.
pub async fn handle(registry: Registry, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let answer = match read_whole(body, MAX_BODY_BYTES).await {
        Ok(body) => route(&registry, &parts, &body).await,
        Err(WholeBodyError::TooLarge) => Err(IamError::new(StatusCode::BAD_REQUEST, "the body is larger than 64 KiB")),
        Err(WholeBodyError::Broken) => Err(IamError::new(StatusCode::BAD_REQUEST, "the body ended early")),
    };
    answer.unwrap_or_else(IamError::into_response)
}

async fn route(registry: &Registry, parts: &Parts, body: &Bytes) -> Result<Response, IamError> {
    let path = parts.uri.path();
    // One slash at the end changes nothing: some clients build their URLs that way.
    let path = path.strip_suffix('/').unwrap_or(path);
    let get = matches!(parts.method, Method::GET | Method::HEAD);
    match path {
        "/v3/auth/tokens" if parts.method == Method::POST => tokens::create_token(registry, body).await,
        "/v3/projects" | "/v3/auth/projects" if get => directory::list_projects(registry, parts, body).await,
        "/v3/auth/domains" if get => directory::list_domains(registry, parts, body).await,
        "/v3/users" if get => directory::list_users(registry, parts, body).await,
        _ if get => {
            let id = path.strip_prefix("/v3.0/OS-USER/users/").or_else(|| path.strip_prefix("/v3/users/"));
            match id.filter(|id| !id.contains('/')) {
                Some(id) => directory::show_user(registry, parts, body, id).await,
                None => Err(IamError::no_such_url()),
            }
        }
        _ => Err(IamError::no_such_url()),
    }
}

#[cfg(test)]
mod tests;
