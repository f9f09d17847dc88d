//! What a connection is doing, shared between the connection, its service and the table of all connections.
//!
//! Owns: how many requests are being handled, since when there are none, and whether clients take their answers. Never:
//! sockets.

#![expect(clippy::disallowed_types, reason = "a short lock that is never held over an await")]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Milliseconds since the first connection; never goes back.
fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Marks a body that waits for the region's own disk, for which the client is not to blame.
const WAITS_FOR_US: u64 = u64::MAX;

/// The requests of a connection that are being handled.
#[derive(Clone, Debug)]
pub(super) struct Busy(Arc<State>);

#[derive(Debug)]
struct State {
    requests: AtomicUsize,
    idle_since_ms: AtomicU64,
    answers: Mutex<Vec<Weak<AtomicU64>>>,
}

impl Default for Busy {
    fn default() -> Self {
        Self(Arc::new(State {
            requests: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(now_ms()),
            answers: Mutex::default(),
        }))
    }
}

/// One request being handled; ends when dropped.
#[derive(Debug)]
pub(super) struct BusyGuard(Busy);

/// The body of an answer on its way; notes when it was last asked for more.
#[derive(Debug)]
pub(super) struct Flowing(Arc<AtomicU64>);

impl Busy {
    pub(super) fn begin(&self) -> BusyGuard {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        BusyGuard(self.clone())
    }

    pub(super) fn is_busy(&self) -> bool {
        self.0.requests.load(Ordering::Acquire) > 0
    }

    /// How long the connection has been idle; `None` while it handles a request.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let idle = || now_ms().saturating_sub(self.0.idle_since_ms.load(Ordering::Acquire));
        (!self.is_busy()).then(|| Duration::from_millis(idle()))
    }

    /// Watches the body of an answer.
    pub(super) fn flow(&self) -> Flowing {
        let asked_at = Arc::new(AtomicU64::new(now_ms()));
        let mut answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|answer| answer.strong_count() > 0);
        answers.push(Arc::downgrade(&asked_at));
        Flowing(asked_at)
    }

    /// Whether a client has not asked for more of an answer for at least `limit`.
    pub(super) fn is_stalled(&self, limit: Duration) -> bool {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let now = now_ms();
        let answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().filter_map(Weak::upgrade).any(|asked_at| {
            let asked_at = asked_at.load(Ordering::Acquire);
            asked_at != WAITS_FOR_US && now.saturating_sub(asked_at) >= limit
        })
    }
}

impl Flowing {
    /// Records that the client took a piece and asks for the next; `ready` says whether there was one.
    pub(super) fn asked(&self, ready: bool) {
        self.0.store(if ready { now_ms() } else { WAITS_FOR_US }, Ordering::Release);
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        let state = &self.0.0;
        state.idle_since_ms.store(now_ms(), Ordering::Release);
        state.requests.fetch_sub(1, Ordering::AcqRel);
    }
}
