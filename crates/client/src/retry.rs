//! When to try again: the pause a registry asks for, and the pauses of our own.
//!
//! Owns: `Retry-After` and the backoff. Never: which errors deserve it (`error` decides that).

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::error::{ClientError, ErrorKind};

/// The longest pause that is believed: a registry must not be able to park a job for ever.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// The longest pause that is waited out inside a blob; for a longer one the caller gives its place to somebody else.
const MAX_WAIT_IN_PLACE: Duration = Duration::from_secs(30);
/// Attempts without progress before an upload is given up for now; the job it belongs to has attempts of its own.
const MAX_FRUITLESS_ATTEMPTS: usize = 5;
/// The longest pause between two of them.
const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// For small requests that may simply be repeated: two more tries within half a second.
pub(crate) fn in_place() -> ExponentialBuilder {
    ExponentialBuilder::new().with_jitter().with_min_delay(Duration::from_millis(100)).with_max_times(2)
}

/// Reads `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Duration::try_from(date.duration_since(Timestamp::now())).unwrap_or_default()
    };
    Some(pause.min(MAX_RETRY_AFTER))
}

/// The pauses between the attempts of one upload; progress starts them anew.
#[derive(Debug)]
pub(crate) struct Attempts {
    builder: ExponentialBuilder,
    pauses: ExponentialBackoff,
}

impl Attempts {
    pub(crate) fn new(first_backoff: Duration) -> Self {
        let builder = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(first_backoff)
            .with_max_delay(MAX_BACKOFF)
            .with_max_times(MAX_FRUITLESS_ATTEMPTS);
        Self { builder, pauses: builder.build() }
    }

    pub(crate) fn progress_was_made(&mut self) {
        self.pauses = self.builder.build();
    }

    /// How long to wait after this error, or the error itself when waiting here is of no use.
    pub(crate) fn pause_after(&mut self, error: ClientError) -> Result<Duration, ClientError> {
        let asked = match error.kind() {
            ErrorKind::Retry => Duration::ZERO,
            ErrorKind::RetryAfter(pause) if pause <= MAX_WAIT_IN_PLACE => pause,
            _ => return Err(error),
        };
        match self.pauses.next() {
            Some(own) => Ok(own.max(asked)),
            None => Err(error),
        }
    }
}
