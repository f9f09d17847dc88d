//! Which API answers which path, the health probes, and whether the process is draining.
//!
//! Owns: the split of the path space. Never: what an API does with its part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{Method, Request, StatusCode};
use serde_json::json;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use transship_registry::{NotReady, Registry};
use transship_swr::ErrorCode;

use crate::config::SyncImagesResponse;
use crate::http::origin;
use crate::http::whole::Bodies;
use crate::iam_api::IamError;
use crate::manage_api::error::ManageError;
use crate::{iam_api, manage_api, oci_api, peer_api};

/// How long a result of the readiness check is kept: probes may come from many sides, and cost nothing.
const READY_FOR: Duration = Duration::from_secs(1);
/// Time limit for catalog and store; if they are slower, the process is not ready.
const PROBE: Duration = Duration::from_secs(5);

/// The part of the path space that a request is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/livez` and `/readyz`.
    Health,
    /// The registry protocol and its token endpoint.
    Oci,
    /// The management API, and every path that belongs to no other API.
    Manage,
    /// IAM.
    Iam,
    /// What other regions call.
    Peer,
}

impl Api {
    /// Decides by the raw path as it is on the wire; nothing is decoded, merged or redirected.
    pub fn of(path: &str) -> Self {
        let under =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if path == "/livez" || path == "/readyz" {
            Self::Health
        } else if under("/v2/manage") || under("/v3/manage") {
            // An organization cannot be called `manage` (contract 8), so this takes nothing from the registry.
            Self::Manage
        } else if path.starts_with("/v2/") || under("/swr/auth") {
            Self::Oci
        } else if path.starts_with("/v3/") || under("/v3.0") {
            Self::Iam
        } else if under("/transship") {
            Self::Peer
        } else {
            Self::Manage
        }
    }

    /// An error that the API itself did not raise, in the shape of that API.
    pub fn failure(self, status: StatusCode, message: &'static str) -> Response {
        match self {
            Self::Manage => {
                let code = match status {
                    StatusCode::FORBIDDEN => ErrorCode::Forbidden,
                    status if status.is_server_error() => ErrorCode::Internal,
                    _ => ErrorCode::BadParameter,
                };
                ManageError::new(code, message).with_status(status).into_response()
            }
            Self::Iam => IamError::new(status, message).into_response(),
            Self::Oci | Self::Peer | Self::Health => {
                // Of the specification's codes, `UNSUPPORTED` fits the other statuses best.
                let code = if status == StatusCode::FORBIDDEN { "DENIED" } else { "UNSUPPORTED" };
                let body = json!({ "errors": [{ "code": code, "message": message }] });
                (status, axum::Json(body)).into_response()
            }
        }
    }
}

/// Everything a request needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    sync_images_response: SyncImagesResponse,
    draining: AtomicBool,
    /// The budgets of request bodies.
    bodies: Bodies,
    in_flight: AtomicUsize,
    /// Notified whenever `in_flight` falls to zero.
    idle: Notify,
    ready: Mutex<Option<(Instant, Result<(), NotReady>)>>,
}

/// A request that the drain waits for; ends when dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Inner>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl App {
    /// The APIs of one region.
    pub fn new(registry: Registry, sync_images_response: SyncImagesResponse) -> Self {
        Self {
            inner: Arc::new(Inner {
                registry,
                sync_images_response,
                draining: AtomicBool::new(false),
                bodies: Bodies::default(),
                in_flight: AtomicUsize::new(0),
                idle: Notify::new(),
                ready: Mutex::new(None),
            }),
        }
    }

    /// Counts a request as in flight, except probes: they would keep alive the process whose end they watch.
    pub(crate) fn begin(&self, api: Api) -> Option<InFlight> {
        (api != Api::Health).then(|| {
            self.inner.in_flight.fetch_add(1, Ordering::AcqRel);
            InFlight(Arc::clone(&self.inner))
        })
    }

    /// Makes the process not ready from now on, and makes each answer close its connection.
    pub fn start_draining(&self) {
        self.inner.draining.store(true, Ordering::Release);
    }

    /// Whether [`App::start_draining`] was called.
    pub fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    /// Returns when no request is in flight.
    pub async fn idle(&self) {
        loop {
            let idle = self.inner.idle.notified();
            let mut idle = std::pin::pin!(idle);
            // Listens before it looks: otherwise the last request could end in between.
            idle.as_mut().enable();
            if self.inner.in_flight.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Passes a request to the API that its path belongs to.
    pub async fn handle(&self, api: Api, mut request: Request<Body>) -> Response {
        let registry = self.inner.registry.clone();
        if registry.settings().access.open && origin::is_foreign(request.headers(), &registry.settings().public_url) {
            return api.failure(
                StatusCode::FORBIDDEN,
                "this region is open to programs on its own machine, not to pages of other origins; send no Origin header",
            );
        }
        if !http_body::Body::is_end_stream(request.body()) {
            request.extensions_mut().insert(self.inner.bodies.clone());
        }
        match api {
            Api::Health => Box::pin(self.health(request.method(), request.uri().path())).await,
            Api::Oci => oci_api::handle(registry, request).await,
            Api::Manage => {
                request.extensions_mut().insert(self.inner.sync_images_response);
                Box::pin(manage_api::handle(registry, request)).await
            }
            Api::Iam => Box::pin(iam_api::handle(registry, request)).await,
            Api::Peer => Box::pin(peer_api::handle(registry, request)).await,
        }
    }

    async fn health(&self, method: &Method, path: &str) -> Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Api::Health.failure(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        }
        let status = if path == "/livez" { Ok(()) } else { self.ready().await };
        match status {
            Ok(()) => axum::Json(json!({ "status": "ok" })).into_response(),
            Err(reason) => {
                let body = json!({ "status": "not ready", "reason": reason });
                (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
            }
        }
    }

    /// Whether this process is ready for requests; the reason is short and names no address, path or statement.
    async fn ready(&self) -> Result<(), &'static str> {
        if self.is_draining() {
            return Err("draining");
        }
        let mut known = self.inner.ready.lock().await;
        let answer = match &*known {
            Some((at, answer)) if at.elapsed() < READY_FOR => answer.clone(),
            _ => {
                let probe = tokio::time::timeout(PROBE, self.inner.registry.ready()).await;
                let silent = || Err(NotReady::Catalog(format!("no answer within {} s", PROBE.as_secs())));
                let answer = probe.unwrap_or_else(|_| silent());
                if let Err(reason) = &answer {
                    tracing::warn!(%reason, "not ready");
                }
                *known = Some((Instant::now(), answer.clone()));
                answer
            }
        };
        answer.map_err(|reason| match reason {
            NotReady::Catalog(_) => "catalog",
            NotReady::Store(_) => "store",
        })
    }
}

#[cfg(test)]
mod tests;
