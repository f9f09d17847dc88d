//! All open connections: the maximum in all and per address, and which one ends to make room for a new one.
//!
//! A connection that handles no request costs its client nothing, but takes a place from others. So when places are
//! short, the connection that has been idle longest ends. A new connection waits only while all are busy; it is refused
//! only if its own address already has its maximum and all of them are busy. Owns: places. Never: sockets.

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

/// Interval between two searches for an idle connection while all are busy.
const LOOK: Duration = Duration::from_millis(100);
/// Minimum idle time before `place` ends a connection: the request of a newer one may be on its way.
const FRESH: Duration = Duration::from_millis(100);

/// Maximum number of connections at once.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// In all.
    pub all: usize,
    /// Per address; a /64 of IPv6 counts as one.
    pub of_one_address: usize,
    /// Proxies whose connections are not counted by address.
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

/// A connection in the table; dropping this removes it.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Connections,
    number: u64,
    close: CancellationToken,
    _place: Place,
}

impl Connections {
    /// Allows at most as many connections as `limits` says. A trusted proxy connects for many clients, so it is not
    /// counted by address.
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        let places = Arc::new(Semaphore::new(limits.all));
        Self { places, limits: Arc::new(RwLock::new(limits)), table: Arc::default() }
    }

    /// Replaces the limits. Connections above the new maximum stay until they end or are idle.
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
        // Ends idle connections at once for the places that are too many. No new connection gets in before the last of
        // these places is free.
        for _ in 0..taken {
            if !self.make_room(None) {
                break;
            }
        }
        let less = u32::try_from(taken).unwrap_or(u32::MAX);
        let places = Arc::clone(&self.places);
        // Queues for these places ahead of new connections, which go on ending idle ones, as always when no place is
        // free.
        tokio::spawn(async move {
            if let Ok(permits) = places.acquire_many_owned(less).await {
                permits.forget();
            }
        });
    }

    /// The proxies whose connections are not counted by address.
    pub(super) fn proxies(&self) -> TrustedProxies {
        self.limits().proxies.clone()
    }

    fn limits(&self) -> RwLockReadGuard<'_, ConnectionLimits> {
        self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. If none is free, ends the connection that has been idle longest.
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

    /// Ends the connection that has been idle longest, of one address or of all; returns `false` if none is idle.
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

    /// Adds a connection to the table; returns `None` if its address already has its maximum and all of them are busy.
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
    /// The token that is cancelled when the connection must end to make room.
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
