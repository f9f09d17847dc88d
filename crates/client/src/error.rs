//! The one error type: the request, the response, and whether a retry can help.
//!
//! Owns: the classification of responses. Never holds a query string, a token or a password.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use reqwest::{Method, Url};
use transship_oci::ErrorBody;

/// Maximum length of a text that is copied from a response: enough for a sentence, too little to flood a log.
const MAX_REMOTE_TEXT_CHARS: usize = 300;

/// How the caller may react to an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The same request may succeed later.
    Retry,
    /// The registry asked for this pause before the next request.
    RetryAfter(Duration),
    /// The same request will fail again.
    Permanent,
    /// The condition of a conditional request did not hold: another client was faster.
    PreconditionFailed,
}

/// The error of a failed request.
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
    /// The registry responded with an error status.
    Status { status: u16, code: Option<String> },
    /// The upload session has ended or cannot be used any more.
    SessionLost,
    /// No byte was transferred during the idle time.
    Silence,
    /// No connection was established: refused, unreachable, unknown host name, or time-out.
    NoConnection,
    /// The connection ended before any response.
    Unanswered,
    /// Everything else, such as a malformed response or a request that was never sent.
    Other,
}

impl ClientError {
    /// An error after which a retry may succeed, such as a broken connection.
    pub fn retry(request: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, Cause::Other, request, message)
    }

    /// An error that a retry would repeat.
    pub fn permanent(request: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Permanent, Cause::Other, request, message)
    }

    /// The error for a response with this status; `body` is its OCI error body, if any.
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

    /// The error of a request without a response.
    pub(crate) fn from_network(request: impl Into<String>, error: reqwest::Error) -> Self {
        // A builder error is an invalid request, which a retry cannot fix. The URL is removed because its query may be
        // secret.
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

    /// The error of a transfer that stalled for `idle`.
    pub(crate) fn silence(request: impl Into<String>, idle: Duration) -> Self {
        Self::new(ErrorKind::Retry, Cause::Silence, request, format!("no byte moved for {} s", idle.as_secs_f32()))
    }

    /// The error of an upload whose session cannot be used any more; a new session may succeed.
    pub(crate) fn session_lost(request: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, Cause::SessionLost, request, message)
    }

    /// Makes the error permanent, because the caller has already tried the remedy.
    pub(crate) fn into_permanent(mut self, why: &str) -> Self {
        self.kind = ErrorKind::Permanent;
        self.message = format!("{}; {why}", self.message);
        self
    }

    /// Makes the error retryable, because the caller has changed something.
    pub(crate) fn into_retry(mut self, why: &str) -> Self {
        self.kind = ErrorKind::Retry;
        self.message = format!("{}; {why}", self.message);
        self
    }

    /// The same error for a request so simple that a running server always responds: no response means that there is no
    /// server. A TCP proxy accepts every connection, and closes it if it finds no server.
    pub(crate) fn of_probe(mut self) -> Self {
        if self.cause == Cause::Unanswered {
            self.cause = Cause::NoConnection;
        }
        self
    }

    /// Adds a hint for the reader to the message.
    #[must_use]
    pub fn explained(mut self, hint: &str) -> Self {
        self.message = format!("{}; {hint}", self.message);
        self
    }

    fn new(kind: ErrorKind, cause: Cause, request: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, cause, request: request.into(), message: message.into() }
    }

    /// How the caller may react.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The status of the response; `None` if the error does not come from a response.
    pub fn status(&self) -> Option<u16> {
        match &self.cause {
            Cause::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The OCI error code of the response, such as `BLOB_UNKNOWN`.
    pub fn code(&self) -> Option<&str> {
        match &self.cause {
            Cause::Status { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Whether the registry responded that the requested content does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the upload session has ended, so that a new one is needed.
    pub fn is_session_lost(&self) -> bool {
        self.cause == Cause::SessionLost
    }

    /// Whether the registry is unreachable or too busy, rather than failing at this request.
    ///
    /// This is the case for no connection, silence, 429, 503, and 502 and 504, which a proxy sends in its place. Only
    /// waiting helps.
    pub fn is_away(&self) -> bool {
        let says_so = match &self.cause {
            Cause::Status { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            Cause::Silence | Cause::NoConnection => true,
            Cause::SessionLost | Cause::Unanswered | Cause::Other => false,
        };
        says_so && matches!(self.kind, ErrorKind::Retry | ErrorKind::RetryAfter(_))
    }

    /// Whether an immediate retry makes sense: not after a silence, which has already taken the idle time.
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

/// Whether TLS reports an untrusted certificate in this form; if so, there is a server.
fn is_distrust(error: &(dyn StdError + 'static)) -> bool {
    let mut error = error.downcast_ref::<io::Error>();
    while let Some(outer) = error {
        if outer.kind() == io::ErrorKind::InvalidData {
            return true;
        }
        // An `io::Error` inside another is not returned by `source`.
        error = outer.get_ref().and_then(|inner| inner.downcast_ref());
    }
    false
}

/// Whether a request reports in this form that the other side has closed the connection.
fn is_close(error: &(dyn StdError + 'static)) -> bool {
    /// The message of hyper for a connection that was closed in order. Its method for this would make hyper a
    /// dependency.
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
        // Waiting does not add a missing feature.
        (501 | 505, _) => ErrorKind::Permanent,
        (408 | 425 | 429 | 500..=599, _) => ErrorKind::Retry,
        _ => ErrorKind::Permanent,
    }
}

/// Returns "METHOD URL" for messages, without the query, which may hold the secret state of an upload session.
pub(crate) fn request_text(method: &Method, url: &Url) -> String {
    format!("{method} {}", url_text(url))
}

/// Returns the URL without query, fragment and user, truncated because a registry chooses the paths of its sessions.
pub(crate) fn url_text(url: &Url) -> String {
    printable(&format!("{}{}", url.origin().ascii_serialization(), url.path()))
}

/// Returns an untrusted text truncated, on one line, without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(MAX_REMOTE_TEXT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
