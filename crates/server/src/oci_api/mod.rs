//! The registry protocol under `/v2/…`, and the token endpoint that its challenge names (contract 7.6).
//!
//! | path | module |
//! | --- | --- |
//! | `/v2/` | here |
//! | `/v2/_catalog`, `/v2/{name}/tags/list` | [`lists`] |
//! | `/v2/{name}/manifests/{reference}` | [`manifests`] |
//! | `/v2/{name}/blobs/{digest}` | [`blobs`] |
//! | `/v2/{name}/blobs/uploads/…` | [`uploads`] |
//! | `/v2/{name}/referrers/{digest}` | [`referrers`] |
//! | `/swr/auth/v2/registry/auth/` | [`token`] |
//!
//! Owns: turning requests into calls of the registry crate, and results into answers. Never: a rule of who may do what.

mod access;
mod blobs;
mod error;
mod lists;
mod manifests;
mod query;
mod referrers;
pub mod token;
mod uploads;

use std::sync::Arc;

use ::http::request::Parts;
use ::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use transship_oci::{Action, ErrorCode, RepositoryName, Route, RouteError};
use transship_registry::{Authorized, Grant, Registry, Right};

use access::Caller;
pub(crate) use access::bearer;
use error::OciError;
use query::Query;

/// The header on every answer under `/v2/`, for old docker clients.
const API_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("docker-distribution-api-version"), HeaderValue::from_static("registry/2.0"));

/// A request whose route and token are known.
struct Call {
    registry: Registry,
    grant: Arc<Grant>,
    parts: Parts,
    query: Query,
}

impl Call {
    /// Proves that the caller has a right on a repository; the operation that needs the proof says which right.
    fn may<'a, R: Right>(&'a self, name: &'a RepositoryName) -> Result<Authorized<'a, R>, OciError> {
        self.grant.authorize(name).ok_or_else(|| access::insufficient(self))
    }
}

/// Answers one request under `/v2`, or at the token endpoint.
pub async fn handle(registry: Registry, request: Request<Body>) -> Response {
    if token::is_at(request.uri().path()) {
        return Box::pin(token::handle(registry, request)).await;
    }
    let head = request.method() == Method::HEAD;
    let mut response = answer(registry, request).await.unwrap_or_else(IntoResponse::into_response);
    if head && !response.status().is_success() {
        // An answer to HEAD has no body, whatever its status; the length of one would only confuse.
        *response.body_mut() = Body::empty();
    }
    response.headers_mut().insert(API_VERSION.0, API_VERSION.1);
    response
}

async fn answer(registry: Registry, request: Request<Body>) -> Result<Response, OciError> {
    let (parts, mut body) = request.into_parts();
    if matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE) {
        // Nobody reads this body. Dropping it here frees its bytes while the answer waits for something.
        body = Body::empty();
    }
    let (route, grant) = admit(&registry, &parts).await?;
    let query = Query::parse(parts.uri.query().unwrap_or(""));
    let method = parts.method.clone();
    let call = Call { registry, grant, parts, query };
    // Large futures are boxed, so that not every request carries their size.
    let answer = match (&method, route) {
        (&(Method::GET | Method::HEAD), Route::Base) => Ok(axum::Json(serde_json::json!({})).into_response()),
        (&Method::GET, Route::Catalog) => Box::pin(lists::catalog(&call)).await,
        (&Method::GET, Route::TagsList { name }) => Box::pin(lists::tags(&call, &name)).await,
        (&(Method::GET | Method::HEAD), Route::Manifest { name, reference }) => {
            manifests::get(&call, &name, &reference).await
        }
        (&Method::PUT, Route::Manifest { name, reference }) => {
            Box::pin(manifests::put(&call, &name, reference, body)).await
        }
        (&Method::DELETE, Route::Manifest { name, reference }) => {
            Box::pin(manifests::delete(&call, &name, &reference)).await
        }
        (&(Method::GET | Method::HEAD), Route::Blob { name, digest }) => {
            Box::pin(blobs::get(&call, &name, &digest)).await
        }
        (&Method::DELETE, Route::Blob { name, digest }) => Box::pin(blobs::delete(&call, &name, &digest)).await,
        (&Method::POST, Route::UploadStart { name }) => Box::pin(uploads::start(&call, &name, body)).await,
        (&Method::GET, Route::Upload { name, session }) => Box::pin(uploads::status(&call, &name, &session)).await,
        (&Method::PATCH, Route::Upload { name, session }) => {
            Box::pin(uploads::append(&call, &name, &session, body)).await
        }
        (&Method::PUT, Route::Upload { name, session }) => {
            Box::pin(uploads::finish(&call, &name, &session, body)).await
        }
        (&Method::DELETE, Route::Upload { name, session }) => Box::pin(uploads::cancel(&call, &name, &session)).await,
        (&Method::GET, Route::Referrers { name, digest }) => Box::pin(referrers::list(&call, &name, &digest)).await,
        (method, _) => Err(OciError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Unsupported,
            format!("{method} is not a method of this path"),
        )),
    };
    answer.map_err(|error| if error.lacks_challenge() { access::outdated(&call) } else { error })
}

/// Returns the route of a request and the grant for it.
async fn admit(registry: &Registry, parts: &Parts) -> Result<(Route, Arc<Grant>), OciError> {
    let caller = Caller::of(registry, parts).await?;
    let route = match Route::parse(parts.uri.path()) {
        Ok(route) => route,
        // A caller without any token learns nothing from a path, not even that it is wrong.
        Err(_) if caller.is_nobody() => return Err(access::challenge(registry, None, None)),
        Err(error) => return Err(bad_route(&parts.method, &error)),
    };
    let grant = caller.grant(registry, &route, parts)?;
    Ok((route, grant))
}

/// The right that a request needs on the repository of its path.
fn needed_action(route: &Route, method: &Method) -> Option<Action> {
    match route {
        Route::Base | Route::Catalog => None,
        Route::UploadStart { .. } | Route::Upload { .. } => Some(Action::Push),
        _ if method == Method::DELETE => Some(Action::Delete),
        _ if method == Method::GET || method == Method::HEAD => Some(Action::Pull),
        _ => Some(Action::Push),
    }
}

/// Reading a tag that cannot exist finds nothing; writing one is an error (bad-inputs B, tags and digests).
fn bad_route(method: &Method, error: &RouteError) -> OciError {
    let read = method == Method::GET || method == Method::HEAD;
    if let (true, RouteError::Tag(_)) = (read, error) {
        return OciError::new(StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown, error.to_string());
    }
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    OciError::new(status, error.code(), error.to_string())
}

#[cfg(test)]
mod tests;
