//! One request from its arrival to the last byte of its answer: id, limits, panic guard, log line.
//!
//! Owns: everything that is the same for each API. Never: which API answers (see `app`).

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::response::Response;
use futures::FutureExt as _;
use http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use tracing::Instrument as _;

use super::access_log::Exchange;
use super::body::{LoggedBody, TimedBody};
use super::context::RequestContext;
use super::stream::Busy;
use super::{limits, request_id};
use crate::app::{Api, App};

/// Where a request came from.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) remote: IpAddr,
    pub(super) busy: Busy,
}

/// Answers one request of one connection.
pub(super) async fn serve(app: App, connection: Connection, request: Request<Incoming>) -> Response {
    let api = Api::of(request.uri().path());
    let guards = (connection.busy.begin(), app.begin(api));
    let (parts, body) = request.into_parts();
    let id = request_id::of(&parts.headers);
    let context = RequestContext::new(id.clone());
    let path = parts.uri.path();
    let mut exchange =
        Exchange::new(context.clone(), parts.method.clone(), path, connection.remote, api == Api::Health);
    let span = tracing::info_span!("request", request_id = id.as_str());
    let version = parts.version;

    let handled = async {
        if let Err(refusal) = limits::check(&parts) {
            return api.failure(refusal.status, refusal.message);
        }
        let body = if http_body::Body::is_end_stream(&body) { Body::empty() } else { Body::new(TimedBody::new(body)) };
        app.handle(api, Request::from_parts(parts, body)).await
    };
    let handled = AssertUnwindSafe(context.scope(handled)).catch_unwind().instrument(span.clone());
    let mut response = handled.await.unwrap_or_else(|panic| {
        let reason = panic_text(panic.as_ref());
        span.in_scope(|| tracing::error!(reason, "a handler panicked"));
        api.failure(StatusCode::INTERNAL_SERVER_ERROR, "internal error; the log of the region holds the reason")
    });

    let value = HeaderValue::from_str(&id).expect("request ids are made of visible ASCII");
    if api == Api::Iam {
        response.headers_mut().insert(request_id::IAM_TRACE_ID, value.clone());
    }
    response.headers_mut().insert(request_id::REQUEST_ID, value);
    if app.is_draining() && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let status = response.status();
    let length = response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    response.map(|body| {
        exchange.answered(status, !http_body::Body::is_end_stream(&body), length);
        Body::new(LoggedBody::new(body, exchange, guards))
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
