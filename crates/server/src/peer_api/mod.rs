//! Calls of other regions under `/transship/v1/…`: get a token for a repository, ask what an image still lacks here,
//! withdraw a tag that they wrote, and fetch a blob that they have lost.
//!
//! Owns: the calls' requests and answers; errors have the shape of the registry protocol, which the asking region's
//! client reads anyway. Never: who may do what.

use std::sync::Arc;

use ::http::request::Parts;
use ::http::{HeaderValue, Method, StatusCode, header};
use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use transship_oci::{ErrorBody, ErrorCode};
use transship_registry::wire::{PREPARE_PATH, REPAIR_PATH, TOKEN_PATH, WITHDRAW_PATH};
use transship_registry::{Grant, RegionTokenError, Registry, ServiceError};

use crate::http::whole::{self, Sender, WholeBodyError, read_whole};

/// Maximum size of a request for a token: two names.
const MAX_TOKEN_BODY_BYTES: usize = 4 << 10;
/// Maximum size of a request about an image: ten thousand digests of either algorithm.
const MAX_PREPARE_BODY_BYTES: usize = 4 << 20;

/// Answers one request under `/transship/v1`.
pub async fn handle(registry: Registry, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(crate::oci_api::bearer).unwrap_or("").to_owned();
    let answer = match (&parts.method, parts.uri.path()) {
        (&Method::POST, TOKEN_PATH) => token(&registry, &parts, &bearer, body).await,
        (&Method::POST, PREPARE_PATH) => prepare(&registry, &parts, &bearer, body).await,
        (&Method::POST, WITHDRAW_PATH) => withdraw(&registry, &parts, &bearer, body).await,
        (&Method::POST, REPAIR_PATH) => {
            // The proof holds the whole request.
            drop(body);
            repair(&registry, &bearer).await
        }
        _ => Err(refusal(StatusCode::NOT_FOUND, ErrorCode::Unsupported, "no such path between regions")),
    };
    answer.unwrap_or_else(|refused| refused)
}

async fn token(registry: &Registry, parts: &Parts, proof: &str, body: Body) -> Result<Response, Response> {
    // The proof is in the head, so no body is read from anybody but a peer.
    let peer = registry.replication().check_region_token(proof).map_err(bad_proof)?;
    let request = read(parts, body, MAX_TOKEN_BODY_BYTES, Sender::Proved(peer.as_str())).await?;
    match registry.replication().answer_token(proof, &request).await.map_err(from_service)? {
        Ok(reply) => Ok(answer(&reply)),
        Err(error) => Err(bad_proof(error)),
    }
}

fn bad_proof(error: RegionTokenError) -> Response {
    let message = match error {
        // This reason says everything, so the explanation below is left out.
        error @ RegionTokenError::NotPinned { .. } => error.to_string(),
        error => format!(
            "{error}: a region token must be signed by a region that is configured here as a peer, with its pinned key, for this region and this repository"
        ),
    };
    refusal(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
}

async fn prepare(registry: &Registry, parts: &Parts, token: &str, body: Body) -> Result<Response, Response> {
    let (grant, request) = granted(registry, parts, token, body).await?;
    Ok(answer(&registry.replication().answer_prepare(&grant, &request).await.map_err(from_service)?))
}

async fn withdraw(registry: &Registry, parts: &Parts, token: &str, body: Body) -> Result<Response, Response> {
    let (grant, request) = granted(registry, parts, token, body).await?;
    Ok(answer(&registry.replication().answer_withdraw(&grant, &request).await.map_err(from_service)?))
}

/// Returns the grant and the request of a call with a copy token. The token is verified before the body is read.
async fn granted<T: DeserializeOwned>(
    registry: &Registry,
    parts: &Parts,
    token: &str,
    body: Body,
) -> Result<(Arc<Grant>, T), Response> {
    let grant = registry.identity().verify_copy_token(token).map_err(from_service)?;
    let grant = grant.map_err(|error| refusal(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, error.to_string()))?;
    let account = grant.principal.as_ref().map(|principal| principal.account_id.as_str());
    let sender = account.map_or(Sender::Stranger, Sender::Proved);
    let request = read(parts, body, MAX_PREPARE_BODY_BYTES, sender).await?;
    Ok((grant, request))
}

/// Returns a blob that the asking region has lost. The proof names it, so the request has no body.
async fn repair(registry: &Registry, proof: &str) -> Result<Response, Response> {
    let (size_bytes, stream) = registry
        .upkeep()
        .answer_repair(proof)
        .await
        .map_err(from_service)?
        .map_err(|error| refusal(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, error.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(size_bytes)),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

async fn read<T: DeserializeOwned>(
    parts: &Parts,
    body: Body,
    limit_bytes: usize,
    sender: Sender<'_>,
) -> Result<T, Response> {
    let bytes = read_whole(parts, body, limit_bytes, sender).await.map_err(from_body)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("the body is not what this path takes: {error}");
        refusal(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message)
    })
}

fn from_body(error: WholeBodyError) -> Response {
    let message = error.to_string();
    match error {
        WholeBodyError::TooLarge { .. } => refusal(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::Unsupported, message),
        WholeBodyError::Broken => refusal(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message),
        WholeBodyError::TooSlow { .. } => refusal(StatusCode::REQUEST_TIMEOUT, ErrorCode::Unsupported, message),
        WholeBodyError::NoRoom => {
            let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole::RETRY_AFTER_SECONDS));
            response
        }
    }
}

fn answer(reply: &impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(reply)).into_response()
}

fn from_service(error: ServiceError) -> Response {
    let message = error.to_string();
    match error {
        ServiceError::BlobAbsent(_) => refusal(StatusCode::NOT_FOUND, ErrorCode::BlobUnknown, message),
        ServiceError::NamespaceAbsent { .. } => refusal(StatusCode::NOT_FOUND, ErrorCode::NameUnknown, message),
        ServiceError::Denied(_) | ServiceError::TagImmutable(_) | ServiceError::NamespaceFull(_) => {
            refusal(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
        }
        ServiceError::GrantOutdated(_) => refusal(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message),
        ServiceError::InvalidParameter { .. } => refusal(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message),
        ServiceError::TooManyRegionTokens { .. } => {
            refusal(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message)
        }
        ServiceError::Unavailable(_) | ServiceError::StorageFull | ServiceError::StorageFault(_) => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unsupported, message)
        }
        other => {
            tracing::error!(reason = other.log_reason(), "a peer's request failed: {other}");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unsupported, message)
        }
    }
}

fn refusal(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Response {
    (status, Json(ErrorBody::new(code, message))).into_response()
}
