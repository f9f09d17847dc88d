//! One log line per request, written once its answer has been sent or can no longer be sent.
//!
//! Owns: the fields of that line. Never: query strings, headers or bodies, which may hold secrets.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};

use super::context::RequestContext;

/// Status logged if the client disconnected before the handler answered.
const CLIENT_CLOSED: u16 = 499;

/// A request and its answer, from the first to the last byte. The log line is written on drop.
#[derive(Debug)]
pub(super) struct Exchange {
    context: Arc<RequestContext>,
    method: Method,
    path: String,
    /// Set for health probes, whose lines are logged at debug level.
    quiet: bool,
    started: Instant,
    status: Option<StatusCode>,
    bytes: u64,
    length: Option<u64>,
    complete: bool,
    error: Option<String>,
}

impl Exchange {
    pub(super) fn new(context: Arc<RequestContext>, method: Method, path: &str, quiet: bool) -> Self {
        Self {
            context,
            method,
            path: path.to_owned(),
            quiet,
            started: Instant::now(),
            status: None,
            bytes: 0,
            length: None,
            complete: false,
            error: None,
        }
    }

    /// Records the head of the answer; `length` is the length of the body, if the head gives one.
    pub(super) const fn answered(&mut self, status: StatusCode, has_body: bool, length: Option<u64>) {
        self.status = Some(status);
        self.complete = !has_body;
        self.length = length;
    }

    /// Counts bytes of the body that were sent; `last` says that the body has ended.
    pub(super) const fn sent(&mut self, bytes: usize, last: bool) {
        self.bytes += bytes as u64;
        // Nobody polls the body again after the last announced byte, so `last` may never come.
        self.complete = last || matches!(self.length, Some(length) if length == self.bytes);
    }

    /// Records why the body ended early.
    pub(super) fn broken(&mut self, error: &dyn std::fmt::Display) {
        self.error = Some(error.to_string());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let status = self.status.map_or(CLIENT_CLOSED, |status| status.as_u16());
        let duration_ms = self.started.elapsed().as_secs_f64() * 1000.0;
        let duration_ms = (duration_ms * 1000.0).round() / 1000.0;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "transship::access",
                    request_id = self.context.id(),
                    method = self.method.as_str(),
                    path = self.path.as_str(),
                    status,
                    duration_ms,
                    bytes = self.bytes,
                    complete = self.complete,
                    remote = %self.context.client(),
                    user_id = self.context.caller(),
                    error = self.error.as_deref(),
                    "request"
                )
            };
        }
        if self.quiet {
            line!(debug);
        } else {
            line!(info);
        }
    }
}
