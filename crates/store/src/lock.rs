//! A lock that is held for a few instructions only.
//!
//! Owns: that it is never held across an `await`, and that a panic under it does not affect later holders.

use std::fmt;
use std::sync::PoisonError;

#[expect(clippy::disallowed_types, reason = "held for one closure without an await; poisoning is ignored")]
type Mutex<T> = std::sync::Mutex<T>;

/// A value that several tasks may change.
pub(crate) struct ShortLock<T>(Mutex<T>);

impl<T> ShortLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Runs one short closure on the value while holding the lock.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> fmt::Debug for ShortLock<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ShortLock")
    }
}
