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
use http::Method;
use http::request::Parts;
use transship_registry::{Principal, Registry};

pub use error::IamError;

use crate::caller::prove_and_read;
use crate::http::whole::{Sender, read_whole};

/// Maximum size of a body; a login has a few hundred bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Answers one request under `/v3` or `/v3.0`.
pub async fn handle(registry: Registry, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    route(&registry, &parts, body).await.unwrap_or_else(IamError::into_response)
}

async fn route(registry: &Registry, parts: &Parts, body: Body) -> Result<Response, IamError> {
    let path = parts.uri.path();
    // One slash at the end is ignored: some clients build their URLs that way.
    let path = path.strip_suffix('/').unwrap_or(path);
    let get = matches!(parts.method, Method::GET | Method::HEAD);
    match path {
        "/v3/auth/tokens" if parts.method == Method::POST => {
            // The password in the body is the only proof.
            let body = read_whole(parts, body, MAX_BODY_BYTES, Sender::Stranger).await?;
            tokens::create_token(registry, &body).await
        }
        "/v3/projects" | "/v3/auth/projects" if get => {
            Ok(directory::list_projects(registry, parts, &prove(registry, parts, body).await?))
        }
        "/v3/auth/domains" if get => Ok(directory::list_domains(&prove(registry, parts, body).await?)),
        "/v3/users" if get => directory::list_users(registry, parts, &prove(registry, parts, body).await?).await,
        _ if get => {
            let id = path.strip_prefix("/v3.0/OS-USER/users/").or_else(|| path.strip_prefix("/v3/users/"));
            match id.filter(|id| !id.contains('/')) {
                Some(id) => directory::show_user(registry, &prove(registry, parts, body).await?, id).await,
                None => Err(IamError::no_such_url()),
            }
        }
        _ => Err(IamError::no_such_url()),
    }
}

async fn prove(registry: &Registry, parts: &Parts, body: Body) -> Result<Principal, IamError> {
    let (principal, _) = prove_and_read(registry, parts, body, MAX_BODY_BYTES).await?;
    Ok(principal)
}

#[cfg(test)]
mod tests;
