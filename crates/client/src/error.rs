//! The one error type: what was asked, what came back, and whether asking again can help.
//!
//! Owns: the classification of answers. Never holds a query string, a token or a password.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::{Method, Url};
use transship_oci::ErrorBody;

/// The longest text taken over from an answer: enough for a sentence, too little to flood a log.
const MAX_REMOTE_TEXT_CHARS: usize = 300;

/// What the caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The same request may succeed later.
    Retry,
    /// The registry asked for this pause before the next request.
    RetryAfter(Duration),
    /// The same request will fail again.
    Permanent,
    /// The condition of a conditional request did not hold: somebody else was there first.
    PreconditionFailed,
}

/// A request that did not do what it should.
#[derive(Clone, Debug)]
pub struct ClientError {
    kind: ErrorKind,
    cause: Cause,
    /// Method and URL, without the query.
    request: String,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// The registry answered.
    Status { status: u16, code: Option<String> },
    /// The upload session is gone or of no use any more.
    SessionLost,
    /// No byte moved for the idle time.
    Silence,
    /// There was no connection: refused, unreachable, not known by name, or not made in time.
    NoConnection,
    /// The connection ended before any answer.
    Unanswered,
    /// Everything else: a broken answer, a request that was never made.
    Other,
}

impl ClientError {
    /// An error after which the same request may succeed, such as a broken connection.
    pub fn retry(request: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, Cause::Other, request, message)
    }

    /// An error that repeats itself.
    pub fn permanent(request: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Permanent, Cause::Other, request, message)
    }

    /// The error after an answer with this status; `body` is the OCI error body if there was one.
    pub(crate) fn from_answer(
        request: impl Into<String>,
        status: u16,
        retry_after: Option<Duration>,
        body: Option<&ErrorBody>,
    ) -> Self {
        let info = body.and_then(|body| body.errors.first());
        let code = info.map(|info| printable(&info.code));
        let text = info.map(|info| printable(&info.message)).filter(|text| !text.is_empty());
        let mut message = format!("answered {status}");
        if let Some(code) = &code {
            message.push(' ');
            message.push_str(code);
        }
        if let Some(text) = text {
            message.push_str(": ");
            message.push_str(&text);
        }
        Self::new(kind_of_status(status, retry_after), Cause::Status { status, code }, request, message)
    }

    /// The error of a request that got no answer.
    pub(crate) fn from_network(request: impl Into<String>, error: reqwest::Error) -> Self {
        // An error of the builder is a wrong request, and stays one. Its own text would hold the URL with its query.
        let kind = if error.is_builder() { ErrorKind::Permanent } else { ErrorKind::Retry };
        let error = error.without_url();
        let mut message = error.to_string();
        let mut source = error.source();
        let (connecting, late) = (error.is_connect(), error.is_timeout());
        let (mut distrusted, mut closed) = (false, false);
        while let Some(cause) = source {
            distrusted |= is_distrust(cause);
            closed |= is_close(cause);
            let text = cause.to_string();
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        let cause = if late || (connecting && !distrusted) {
            Cause::NoConnection
        } else if closed && error.is_request() {
            Cause::Unanswered
        } else {
            Cause::Other
        };
        Self::new(kind, cause, request, message)
    }

    /// The error of a transfer that stood still for `idle`.
    pub(crate) fn silence(request: impl Into<String>, idle: Duration) -> Self {
        Self::new(ErrorKind::Retry, Cause::Silence, request, format!("no byte moved for {} s", idle.as_secs_f32()))
    }

    /// The error of an upload whose session cannot be used any more; a new session may do.
    pub(crate) fn session_lost(request: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, Cause::SessionLost, request, message)
    }

    /// The same error for somebody who already did what could help.
    pub(crate) fn into_permanent(mut self, why: &str) -> Self {
        self.kind = ErrorKind::Permanent;
        self.message = format!("{}; {why}", self.message);
        self
    }

    /// The same error, worth another try after the caller changed something.
    pub(crate) fn into_retry(mut self, why: &str) -> Self {
        self.kind = ErrorKind::Retry;
        self.message = format!("{}; {why}", self.message);
        self
    }

    /// The same error of a request that asks too little to fail at: where nobody answers it, nobody is there. A proxy below
    /// HTTP takes every connection, and closes those that it finds no server for.
    pub(crate) fn of_probe(mut self) -> Self {
        if self.cause == Cause::Unanswered {
            self.cause = Cause::NoConnection;
        }
        self
    }

    /// The same error, with what its reader has to know beside it.
    #[must_use]
    pub fn explained(mut self, hint: &str) -> Self {
        self.message = format!("{}; {hint}", self.message);
        self
    }

    fn new(kind: ErrorKind, cause: Cause, request: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, cause, request: request.into(), message: message.into() }
    }

    /// What the caller may do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The status of the answer, if the registry answered.
    pub fn status(&self) -> Option<u16> {
        match &self.cause {
            Cause::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The OCI error code of the answer, such as `BLOB_UNKNOWN`.
    pub fn code(&self) -> Option<&str> {
        match &self.cause {
            Cause::Status { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Whether the registry says that what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the upload session is gone, so that only a new one can help.
    pub fn is_session_lost(&self) -> bool {
        self.cause == Cause::SessionLost
    }

    /// Whether this says that the registry cannot be reached or is too busy, rather than that it failed at what it was asked:
    /// no connection, silence, 429, 503, and what a proxy answers in its place (502, 504). Only waiting helps.
    pub fn is_away(&self) -> bool {
        let says_so = match &self.cause {
            Cause::Status { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            Cause::Silence | Cause::NoConnection => true,
            Cause::SessionLost | Cause::Unanswered | Cause::Other => false,
        };
        says_so && matches!(self.kind, ErrorKind::Retry | ErrorKind::RetryAfter(_))
    }

    /// Whether an immediate second try is worth it: not after a silence, which already took its time.
    pub(crate) fn is_momentary(&self) -> bool {
        self.kind == ErrorKind::Retry && self.cause != Cause::Silence
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.message)
    }
}

impl StdError for ClientError {}

/// Whether this is how a certificate that is not trusted comes out of TLS: then somebody is there.
fn is_distrust(error: &(dyn StdError + 'static)) -> bool {
    let mut error = error.downcast_ref::<io::Error>();
    while let Some(outer) = error {
        if outer.kind() == io::ErrorKind::InvalidData {
            return true;
        }
        // One error of this type in another is not its source.
        error = outer.get_ref().and_then(|inner| inner.downcast_ref());
    }
    false
}

/// Whether this is how a connection that the other side has closed comes out of a request.
fn is_close(error: &(dyn StdError + 'static)) -> bool {
    /// What hyper says of one that was closed in order. It has a method for it, and this crate does not know hyper.
    const CLOSED: &str = "connection closed before message completed";
    error.downcast_ref::<io::Error>().map_or_else(
        || error.to_string() == CLOSED,
        |error| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
        },
    )
}

fn kind_of_status(status: u16, retry_after: Option<Duration>) -> ErrorKind {
    match (status, retry_after) {
        (412, _) => ErrorKind::PreconditionFailed,
        (429 | 503, Some(pause)) => ErrorKind::RetryAfter(pause),
        // A feature that is missing does not appear by waiting.
        (501 | 505, _) => ErrorKind::Permanent,
        (408 | 425 | 429 | 500..=599, _) => ErrorKind::Retry,
        _ => ErrorKind::Permanent,
    }
}

/// "METHOD URL" for messages. A query may hold the secret state of an upload session, so it is left out.
pub(crate) fn request_text(method: &Method, url: &Url) -> String {
    format!("{method} {}", url_text(url))
}

/// The URL without query, fragment and user, cut: a registry chooses the paths of its sessions.
pub(crate) fn url_text(url: &Url) -> String {
    printable(&format!("{}{}", url.origin().ascii_serialization(), url.path()))
}

/// A text from outside, cut, on one line, without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(MAX_REMOTE_TEXT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
