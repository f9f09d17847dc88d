//! When to retry: after the pause that a registry asks for, and after our own pauses.
//!
//! Owns: `Retry-After` and the backoff. Never: which errors are retried (`error` decides that).

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::error::{ClientError, ErrorKind};

/// Maximum `Retry-After` that is accepted: a registry must not be able to suspend a job for ever.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// Maximum pause during the push of a blob. A longer one is returned to the caller, whose job gives way to another.
const MAX_WAIT_IN_PLACE: Duration = Duration::from_secs(30);
/// Retries without progress before the upload fails; the job that it belongs to has its own retries.
const MAX_FRUITLESS_ATTEMPTS: usize = 5;
/// Maximum pause of our own between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(15);

/// The backoff for small repeatable requests: two retries within half a second.
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

/// The pauses between the attempts of one upload; progress resets them.
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

    /// Returns the pause after this error, or the error itself if waiting here is useless.
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
