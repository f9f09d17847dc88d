//! What other regions ask under `/transship/v1/…`: a token for a repository, what an image still lacks here,
//! and a blob that they have lost.
//!
//! Owns: the calls' requests and answers; errors have the shape of the registry protocol, which the asking region's
//! client reads anyway. Never: who may do what.

use ::http::{HeaderValue, Method, StatusCode, header};
use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use transship_oci::{ErrorBody, ErrorCode};
use transship_registry::wire::{PREPARE_PATH, REPAIR_PATH, TOKEN_PATH};
use transship_registry::{RegionTokenError, Registry, ServiceError};

/// The longest question: ten thousand digests of either algorithm.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Answers one request under `/transship/v1`.
pub async fn handle(registry: Registry, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(crate::oci_api::bearer).unwrap_or("").to_owned();
    let answer = match (&parts.method, parts.uri.path()) {
        (&Method::POST, TOKEN_PATH) => token(&registry, &bearer, body).await,
        (&Method::POST, PREPARE_PATH) => prepare(&registry, &bearer, body).await,
        (&Method::POST, REPAIR_PATH) => repair(&registry, &bearer).await,
        _ => Err(refusal(StatusCode::NOT_FOUND, ErrorCode::Unsupported, "no such path between regions")),
    };
    answer.unwrap_or_else(|refused| refused)
}

async fn token(registry: &Registry, proof: &str, body: Body) -> Result<Response, Response> {
    let request = read(body).await?;
    match registry.answer_token(proof, &request).await.map_err(from_service)? {
        Ok(reply) => Ok(answer(&reply)),
        // What the sentence ends with is left out where the reason says it all.
        Err(error @ RegionTokenError::NotPinned { .. }) => {
            Err(refusal(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, error.to_string()))
        }
        Err(error) => Err(refusal(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthorized,
            format!(
                "{error}: a region token must be signed by a region that is configured here as a peer, with its pinned key, for this region and this repository"
            ),
        )),
    }
}

async fn prepare(registry: &Registry, token: &str, body: Body) -> Result<Response, Response> {
    let grant = registry.verify_copy_token(token).map_err(from_service)?;
    let grant = grant.map_err(|error| refusal(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, error.to_string()))?;
    let request = read(body).await?;
    Ok(answer(&registry.answer_prepare(&grant, &request).await.map_err(from_service)?))
}

/// A blob that the asking region has lost. The proof says which, so the request has no body.
async fn repair(registry: &Registry, proof: &str) -> Result<Response, Response> {
    let (size_bytes, stream) = registry
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

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let bad = |status, message: String| refusal(status, ErrorCode::Unsupported, message);
    let collected = Limited::new(body, MAX_BODY_BYTES).collect().await;
    let bytes = collected
        .map_err(|error| bad(StatusCode::PAYLOAD_TOO_LARGE, format!("the body cannot be taken: {error}")))?
        .to_bytes();
    serde_json::from_slice(&bytes)
        .map_err(|error| bad(StatusCode::BAD_REQUEST, format!("the body is not what this path takes: {error}")))
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
