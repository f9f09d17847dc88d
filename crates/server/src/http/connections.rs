//! All open connections: how many there may be, in all and of one address, and which one makes room for a new one.
//!
//! A connection that handles no request costs its client nothing and others a place. So where places are short, the one
//! that has been idle for longest ends, and only when all are at work a new one has to wait, or is refused when they are
//! all of its own address. Owns: places. Never: sockets.

#![expect(clippy::disallowed_types, reason = "a short lock that is never held over an await")]

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use transship_registry::counted_address;

use super::address::TrustedProxies;
use super::busy::Busy;

/// How soon it is looked again for an idle connection when all were at work.
const LOOK: Duration = Duration::from_millis(100);
/// A connection that is idle for less does not make room for others: its request may be on its way.
const FRESH: Duration = Duration::from_millis(100);

/// How many connections there may be at once.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// In all.
    pub all: usize,
    /// Of one address, a /64 of IPv6 counting as one.
    pub of_one_address: usize,
    /// Whose connections are not counted by address.
    pub proxies: TrustedProxies,
}

/// The table. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    limits: Arc<RwLock<ConnectionLimits>>,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Open>,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Open {
    address: IpAddr,
    busy: Busy,
    close: CancellationToken,
}

/// A place for a connection that is not in the table yet.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "holding it is what it is for")] OwnedSemaphorePermit);

/// A connection in the table; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Connections,
    number: u64,
    close: CancellationToken,
    _place: Place,
}

impl Connections {
    /// At most as many connections as `limits` says; a trusted proxy speaks for many, so it is not counted by address.
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        let places = Arc::new(Semaphore::new(limits.all));
        Self { places, limits: Arc::new(RwLock::new(limits)), table: Arc::default() }
    }

    /// From now on other limits hold. Connections that are too many by them stay until they end or are idle.
    pub(super) fn set_limits(&self, limits: ConnectionLimits) {
        let mut current = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        let (before, after) = (current.all, limits.all);
        *current = limits;
        drop(current);
        if after >= before {
            self.places.add_permits(after - before);
            return;
        }
        let taken = before - after - self.places.forget_permits(before - after);
        if taken == 0 {
            return;
        }
        // The places that are too many are taken from idle connections at once: nobody comes in before the last of them is free.
        for _ in 0..taken {
            if !self.make_room(None) {
                break;
            }
        }
        let less = u32::try_from(taken).unwrap_or(u32::MAX);
        let places = Arc::clone(&self.places);
        // Waits for its places ahead of new connections, which make room as they do when all places are taken.
        tokio::spawn(async move {
            if let Ok(permits) = places.acquire_many_owned(less).await {
                permits.forget();
            }
        });
    }

    /// Whose connections are not counted by address.
    pub(super) fn proxies(&self) -> TrustedProxies {
        self.limits().proxies.clone()
    }

    fn limits(&self) -> RwLockReadGuard<'_, ConnectionLimits> {
        self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place, and has the connection that is idle for longest make it where none is free.
    pub(super) async fn place(&self) -> Place {
        loop {
            if self.places.available_permits() == 0 {
                self.end_longest_idle(None, FRESH);
            }
            let permit = tokio::time::timeout(LOOK, Arc::clone(&self.places).acquire_owned()).await;
            if let Ok(Ok(permit)) = permit {
                return Place(permit);
            }
        }
    }

    /// Ends the connection that is idle for longest, of one address or of all. `false` when none is idle.
    pub(super) fn make_room(&self, of: Option<IpAddr>) -> bool {
        self.end_longest_idle(of, Duration::ZERO)
    }

    fn end_longest_idle(&self, of: Option<IpAddr>, at_least: Duration) -> bool {
        let table = self.table();
        let candidates = table.open.values().filter(|open| of.is_none_or(|address| open.address == address));
        let candidates = candidates.filter(|open| !open.close.is_cancelled());
        let idle = candidates.filter_map(|open| Some((open.busy.idle_for()?, open)));
        let longest = idle.filter(|(idle, _)| *idle >= at_least).max_by_key(|(idle, _)| *idle);
        longest.inspect(|(_, open)| open.close.cancel()).is_some()
    }

    /// Takes a connection in; nothing when its address has as many at work as it may have.
    pub(super) fn admit(&self, place: Place, remote: IpAddr, busy: &Busy) -> Option<Seat> {
        let address = counted_address(remote);
        let (of_one_address, trusted) = {
            let limits = self.limits();
            (limits.of_one_address, limits.proxies.trusts(remote.to_canonical()))
        };
        let full = || self.table().by_address.get(&address).is_some_and(|count| *count >= of_one_address);
        if !trusted && full() && !self.make_room(Some(address)) {
            return None;
        }
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        let close = CancellationToken::new();
        table.open.insert(number, Open { address, busy: busy.clone(), close: close.clone() });
        *table.by_address.entry(address).or_default() += 1;
        drop(table);
        Some(Seat { connections: self.clone(), number, close, _place: place })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Told when the connection must end to make room.
    pub(super) fn close(&self) -> &CancellationToken {
        &self.close
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        let Some(open) = table.open.remove(&self.number) else { return };
        if let Some(count) = table.by_address.get_mut(&open.address) {
            *count -= 1;
            if *count == 0 {
                table.by_address.remove(&open.address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
