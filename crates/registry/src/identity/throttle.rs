//! Slows down failed logins, by name and address together, and by address.
//!
//! Never by name alone: then a stranger who guesses a user's password would lock that user out. A guesser is held back
//! at their own address, and the user can still log in from anywhere else. Names are counted as they were typed, so an
//! unknown name behaves like any other.
//!
//! Owns: the counters. They are in memory and bounded; another process, or a restart, begins with none. Never: whether
//! a password is right.

#![expect(clippy::disallowed_types, reason = "one short lock that is never held over an await")]

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::address::counted_address;
use crate::error::ServiceError;
use crate::settings::LoginLimits;

/// Maximum number of pairs of name and address, a few MiB. A full table drops its oldest eighth: an attacker needs
/// thousands of addresses to make it forget.
const MAX_PAIRS: usize = 32 * 1024;
/// Maximum number of addresses.
const MAX_ADDRESSES: usize = 32 * 1024;
/// Failures beyond the free ones after which the wait no longer grows: [`LONGEST_WAIT`].
const MAX_DOUBLINGS: u32 = 10;
/// Long enough to make guessing useless (a hundred tries a day), short enough for a user who mistyped.
const LONGEST_WAIT: Duration = Duration::from_mins(15);
/// Time for which failures count, after the last one.
const MEMORY: Duration = Duration::from_hours(1);
/// Time for which a name that logged in stays known at an address.
const GOOD_MEMORY: Duration = Duration::from_hours(24);
/// Interval in which an address is forgiven one failure.
const FORGIVEN_EVERY: Duration = Duration::from_secs(6);

/// An attempt to log in.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pair: u64,
    address: IpAddr,
}

/// The counters.
pub(crate) struct Throttle {
    limits: RwLock<LoginLimits>,
    /// Keyed at random, so that nobody can choose names that collide.
    hasher: RandomState,
    table: std::sync::Mutex<Table>,
}

#[derive(Default)]
struct Table {
    pairs: HashMap<u64, Pair>,
    addresses: HashMap<IpAddr, Address>,
}

/// One name at one address.
#[derive(Clone, Copy)]
struct Pair {
    failures: u32,
    at: Instant,
    /// Whether the name has logged in here since this entry was last reset.
    good: bool,
}

/// One address. `level` is the number of failures that are not yet forgiven.
#[derive(Clone, Copy)]
struct Address {
    level: f64,
    at: Instant,
}

impl Throttle {
    pub(crate) fn new(limits: LoginLimits) -> Self {
        Self { limits: RwLock::new(limits), hasher: RandomState::new(), table: std::sync::Mutex::default() }
    }

    /// Sets the limits; they also apply to earlier failures.
    pub(crate) fn set_limits(&self, limits: LoginLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn limits(&self) -> LoginLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names an attempt. `kind` keeps user names and access keys apart.
    pub(crate) fn attempt(&self, address: IpAddr, kind: &'static str, name: &str) -> Attempt {
        let address = counted_address(address);
        Attempt { pair: self.hasher.hash_one((address, kind, name)), address }
    }

    /// Whether the attempt may be made at `now`; the error says how long to wait.
    pub(crate) fn check(&self, attempt: Attempt, now: Instant) -> Result<(), ServiceError> {
        self.with(|table| {
            let pair = table.pairs.get(&attempt.pair).filter(|pair| !pair.is_old(now));
            let own = pair.map_or(Duration::ZERO, |pair| self.wait(*pair).saturating_sub(now - pair.at));
            // Many users may share an address: those who are known there do not pay for the failures of the others.
            let known = pair.is_some_and(|pair| pair.good);
            let level = table.addresses.get(&attempt.address).map_or(0.0, |address| address.level(now));
            let above = level - as_level(self.limits().failures_per_address) + 1.0;
            let others = if known || above <= 0.0 { Duration::ZERO } else { FORGIVEN_EVERY.mul_f64(above) };
            let wait = own.max(others);
            if wait.is_zero() {
                return Ok(());
            }
            Err(ServiceError::TooManyAttempts { wait_seconds: wait.as_secs() + u64::from(wait.subsec_nanos() > 0) })
        })
    }

    /// Records how an attempt ended.
    pub(crate) fn note(&self, attempt: Attempt, succeeded: bool, now: Instant) {
        self.with(|table| {
            let pair = table.pairs.entry(attempt.pair).or_insert(Pair { failures: 0, at: now, good: false });
            if pair.is_old(now) {
                *pair = Pair { failures: 0, at: now, good: false };
            }
            pair.at = now;
            if succeeded {
                (pair.failures, pair.good) = (0, true);
            } else {
                pair.failures = pair.failures.saturating_add(1);
                let address = table.addresses.entry(attempt.address).or_insert(Address { level: 0.0, at: now });
                *address = Address { level: address.level(now) + 1.0, at: now };
            }
            forget(&mut table.pairs, MAX_PAIRS, |pair| pair.at);
            forget(&mut table.addresses, MAX_ADDRESSES, |address| address.at);
        });
    }

    /// The wait after the last failure.
    fn wait(&self, pair: Pair) -> Duration {
        let free = u32::try_from(self.limits().failures).unwrap_or(u32::MAX);
        match pair.failures.checked_sub(free) {
            None => Duration::ZERO,
            Some(doublings) => Duration::from_secs(1 << doublings.min(MAX_DOUBLINGS)).min(LONGEST_WAIT),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Pair {
    fn is_old(self, now: Instant) -> bool {
        let memory = if self.failures == 0 { GOOD_MEMORY } else { MEMORY };
        now.saturating_duration_since(self.at) >= memory
    }
}

impl Address {
    fn level(self, now: Instant) -> f64 {
        let forgiven = now.saturating_duration_since(self.at).as_secs_f64() / FORGIVEN_EVERY.as_secs_f64();
        (self.level - forgiven).max(0.0)
    }
}

fn as_level(failures: usize) -> f64 {
    u32::try_from(failures).unwrap_or(u32::MAX).into()
}

/// Drops the oldest eighth of a table if it is full.
fn forget<K: Copy + Eq + Hash, V>(table: &mut HashMap<K, V>, most: usize, at: impl Fn(&V) -> Instant) {
    if table.len() <= most {
        return;
    }
    let mut by_age: Vec<(Instant, K)> = table.iter().map(|(key, value)| (at(value), *key)).collect();
    by_age.sort_unstable_by_key(|(at, _)| *at);
    for (_, key) in &by_age[..most / 8] {
        table.remove(key);
    }
}

#[cfg(test)]
mod tests;
