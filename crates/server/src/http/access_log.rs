//! One line for each request, written when its answer has gone out or can no longer.
//!
//! Owns: the fields of that line. Never: query strings, headers or bodies, which may hold secrets.

use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};

use super::context::RequestContext;

/// What is logged when a handler never answered because the client had gone.
const CLIENT_CLOSED: u16 = 499;

/// A request and its answer, from the first to the last byte. The log line is written on drop.
#[derive(Debug)]
pub(super) struct Exchange {
    context: Arc<RequestContext>,
    method: Method,
    path: String,
    /// Health probes: only when somebody debugs.
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

    /// The head of the answer is known; `length` is that of the body, when it says one.
    pub(super) const fn answered(&mut self, status: StatusCode, has_body: bool, length: Option<u64>) {
        self.status = Some(status);
        self.complete = !has_body;
        self.length = length;
    }

    /// So many bytes of the body went out; when they are all, it is complete.
    pub(super) const fn sent(&mut self, bytes: usize, last: bool) {
        self.bytes += bytes as u64;
        // After the last announced byte nobody asks the body whether there is more.
        self.complete = last || matches!(self.length, Some(length) if length == self.bytes);
    }

    /// The body could not be made to its end.
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
