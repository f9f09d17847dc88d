//! One request from its arrival to the last byte of its answer: id, limits, panic guard, log line.
//!
//! Owns: everything that all APIs share. Never: which API answers (see `app`).

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::response::Response;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tracing::Instrument as _;

use super::access_log::Exchange;
use super::address::TrustedProxies;
use super::body::{LoggedBody, TimedBody, discard};
use super::busy::Busy;
use super::context::RequestContext;
use super::head::Refused;
use super::{limits, request_id};
use crate::app::{Api, App};

/// Where a request came from.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) remote: IpAddr,
    pub(super) proxies: TrustedProxies,
    pub(super) busy: Busy,
}

/// Answers one request of one connection.
pub(super) async fn serve(app: App, connection: Connection, request: Request<Incoming>) -> Response {
    let api = Api::of(request.uri().path());
    let guards = (connection.busy.begin(), app.begin(api));
    let (parts, body) = request.into_parts();
    let id = request_id::of(&parts.headers);
    let client = connection.proxies.client(connection.remote, &parts.headers);
    let context = RequestContext::new(id.clone(), client);
    let path = parts.uri.path();
    let mut exchange = Exchange::new(context.clone(), parts.method.clone(), path, api == Api::Health);
    let span = tracing::info_span!("request", request_id = id.as_str());
    let version = parts.version;

    let handled = async {
        if http_body::Body::is_end_stream(&body) {
            return answer(&app, api, Request::from_parts(parts, Body::empty())).await;
        }
        // HTTP/2 needs no discarding. A client that sends `Expect: 100-continue` waits for an answer before it sends
        // the body.
        if version >= Version::HTTP_2 || parts.headers.contains_key(header::EXPECT) {
            return answer(&app, api, Request::from_parts(parts, Body::new(TimedBody::new(body)))).await;
        }
        let (body, mut rest) = TimedBody::leaving_the_rest(body);
        let response = answer(&app, api, Request::from_parts(parts, Body::new(body))).await;
        if let Ok(rest) = rest.try_recv() {
            discard(rest).await;
        }
        response
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
        let has_body = !http_body::Body::is_end_stream(&body);
        exchange.answered(status, has_body, length);
        // On HTTP/1 a client that does not read fills the socket, which is watched already.
        let flowing = (has_body && version >= Version::HTTP_2).then(|| connection.busy.flow());
        Body::new(LoggedBody::new(body, exchange, flowing, guards))
    })
}

async fn answer(app: &App, api: Api, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = limits::check(&parts) {
        return api.failure(refusal.status, refusal.message);
    }
    app.handle(api, Request::from_parts(parts, body)).await
}

/// Returns the bytes of the answer to a refused head, after which the connection ends; writes its log line.
pub(super) fn refuse(remote: IpAddr, refused: &Refused) -> Vec<u8> {
    let Refused { refusal, method, path } = refused;
    let api = Api::of(path);
    let id = request_id::of(&HeaderMap::new());
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    let mut exchange = Exchange::new(RequestContext::new(id.clone(), remote), method, path, api == Api::Health);
    let (parts, body) = api.failure(refusal.status, refusal.message).into_parts();
    let body = body.collect().now_or_never().and_then(Result::ok).unwrap_or_default().to_bytes();
    let reason = refusal.status.canonical_reason().unwrap_or("Refused");
    let mut answer = format!("HTTP/1.1 {} {reason}\r\n", refusal.status.as_u16()).into_bytes();
    let length = HeaderValue::from(body.len());
    let id = HeaderValue::from_str(&id).expect("request ids are made of visible ASCII");
    let close = HeaderValue::from_static("close");
    let own = [(&header::CONTENT_LENGTH, &length), (&header::CONNECTION, &close), (&request_id::REQUEST_ID, &id)];
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH).chain(own) {
        answer.extend_from_slice(title_case(name).as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(&body);
    exchange.answered(refusal.status, true, None);
    exchange.sent(body.len(), true);
    answer
}

/// A header name as all HTTP/1 answers write it: `X-Request-Id`.
fn title_case(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
