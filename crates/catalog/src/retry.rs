//! Tells which failures are transient, and retries operations after them.

use std::time::{Duration, Instant};

use crate::CatalogError;

/// No new attempt begins later than this after the first one; each attempt has already waited for locks.
const LONGEST: Duration = Duration::from_secs(10);
/// Maximum number of attempts. In a healthy database, deadlocks and serialization failures are gone after one or two.
const ATTEMPTS: u32 = 8;

/// What kind of failure the database reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The transaction was rolled back because of others: locked, deadlock, serialization.
    Contention,
    /// The database cannot be reached now. It is not known whether a commit in progress arrived.
    Unreachable,
    /// The database has no room left.
    StorageFull,
    /// A retry would fail the same way.
    Lasting,
}

fn failure(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Failure::Unreachable,
        sqlx::Error::Database(error) => {
            error.code().map_or(Failure::Lasting, |code| if code.len() == 5 { sqlstate(&code) } else { sqlite(&code) })
        }
        _ => Failure::Lasting,
    }
}

fn sqlstate(code: &str) -> Failure {
    match code {
        // serialization_failure, deadlock_detected, lock_not_available
        "40001" | "40P01" | "55P03" => Failure::Contention,
        // disk_full
        "53100" => Failure::StorageFull,
        // connection exceptions, too_many_connections, the server stops or starts, idle_in_transaction_session_timeout
        "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Failure::Unreachable,
        _ if code.starts_with("08") => Failure::Unreachable,
        _ => Failure::Lasting,
    }
}

fn sqlite(code: &str) -> Failure {
    // The low byte is the primary code.
    match code.parse::<u32>().map(|code| code & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED
        Ok(5 | 6) => Failure::Contention,
        // SQLITE_IOERR, SQLITE_CANTOPEN: the disk may come back, and a commit in progress may have arrived.
        Ok(10 | 14) => Failure::Unreachable,
        // SQLITE_FULL
        Ok(13) => Failure::StorageFull,
        _ => Failure::Lasting,
    }
}

/// An error of an operation of the catalog.
pub(crate) trait Fallible: From<CatalogError> {
    /// Returns the [`CatalogError`] inside, if there is one.
    fn catalog(&self) -> Option<&CatalogError>;
}

impl Fallible for CatalogError {
    fn catalog(&self) -> Option<&CatalogError> {
        Some(self)
    }
}

/// Implements [`Fallible`] for an error whose variant `Catalog` holds a [`CatalogError`].
macro_rules! fallible {
    ($error:ident) => {
        impl $crate::retry::Fallible for $error {
            fn catalog(&self) -> Option<&$crate::CatalogError> {
                match self {
                    Self::Catalog(error) => Some(error),
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use fallible;

/// Whether an operation changes anything, which decides when it is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing, so it is retried after every transient failure.
    Read,
    /// It changes something, so it is retried only if it is certain that nothing was changed.
    Write,
}

/// The state of one retry loop.
pub(crate) struct Attempts {
    repeat: Repeat,
    begun: Instant,
    made: u32,
}

impl Attempts {
    pub(crate) fn new(repeat: Repeat) -> Self {
        Self { repeat, begun: Instant::now(), made: 0 }
    }

    /// Waits and returns `None` if the operation is to be retried; otherwise returns its final error.
    pub(crate) async fn end<E: Fallible>(&mut self, error: E) -> Option<E> {
        self.made += 1;
        let cause = match error.catalog() {
            Some(CatalogError::Database(cause)) => cause,
            // Reported by this crate: a row was deleted or added between two statements.
            Some(CatalogError::Busy) if self.may_repeat() => {
                self.pause().await;
                return None;
            }
            _ => return Some(error),
        };
        let failure = failure(cause);
        let passing = match failure {
            Failure::Contention => true,
            Failure::Unreachable => self.repeat == Repeat::Read,
            Failure::StorageFull | Failure::Lasting => false,
        };
        if passing && self.may_repeat() {
            self.pause().await;
            return None;
        }
        match failure {
            Failure::Lasting => Some(error),
            Failure::StorageFull => Some(CatalogError::StorageFull.into()),
            Failure::Contention | Failure::Unreachable => {
                tracing::warn!(attempts = self.made, "the catalog gave up: {cause}");
                Some(CatalogError::Busy.into())
            }
        }
    }

    fn may_repeat(&self) -> bool {
        self.made < ATTEMPTS && self.begun.elapsed() < LONGEST
    }

    async fn pause(&self) {
        // 2, 4, 8 … 128 ms, and up to as much again, so that operations that collided do not meet again.
        let base = 1_u64 << self.made.min(8);
        let spread = u64::from(self.begun.elapsed().subsec_nanos()) % (base + 1);
        tokio::time::sleep(Duration::from_millis(base + spread)).await;
    }
}

/// Evaluates the attempt, which ends in a `Result` with a [`Fallible`] error, until it succeeds or fails for good.
macro_rules! repeated {
    ($repeat:ident, $attempt:expr) => {{
        let mut attempts = $crate::retry::Attempts::new($crate::retry::Repeat::$repeat);
        loop {
            match async { $attempt }.await {
                Ok(done) => break Ok(done),
                Err(error) => {
                    if let Some(error) = attempts.end(error).await {
                        break Err(error);
                    }
                }
            }
        }
    }};
}
pub(crate) use repeated;

/// Returns whether a statement failed because a row with that key exists.
pub(crate) fn is_unique_violation(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
}

/// Returns whether a statement failed because another row is missing or still needed.
pub(crate) fn is_foreign_key_violation(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Database(sqlx::Error::Database(error)) if error.is_foreign_key_violation())
}

#[cfg(test)]
mod tests {
    use super::{Failure, sqlite, sqlstate};

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        for code in ["40001", "40P01", "55P03"] {
            assert_eq!(sqlstate(code), Failure::Contention, "{code}");
        }
        for code in ["57P01", "08006", "53300"] {
            assert_eq!(sqlstate(code), Failure::Unreachable, "{code}");
        }
        assert_eq!(sqlstate("23505"), Failure::Lasting);
        assert_eq!(sqlstate("53100"), Failure::StorageFull);
        // SQLITE_BUSY, SQLITE_BUSY_SNAPSHOT, SQLITE_LOCKED_SHAREDCACHE
        for code in ["5", "517", "262"] {
            assert_eq!(sqlite(code), Failure::Contention, "{code}");
        }
        // SQLITE_IOERR_FSYNC, SQLITE_CANTOPEN
        for code in ["1034", "14"] {
            assert_eq!(sqlite(code), Failure::Unreachable, "{code}");
        }
        assert_eq!(sqlite("13"), Failure::StorageFull);
        assert_eq!(sqlite("2067"), Failure::Lasting);
    }
}
