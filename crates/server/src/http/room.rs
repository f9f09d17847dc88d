//! The budget of request bodies that are read whole, shared by all requests of the process.
//!
//! An unfinished body costs its sender nothing, while the region holds all bytes that have arrived. So all bodies share
//! one budget, and each owner (an address, or an account) may use a share of it. When there is no room, the body that
//! has been arriving longest gives up its place, as the longest idle connection does. It is a body of the same owner if
//! that owner's share is full, otherwise of the owner that holds most. A body that arrives at once is whole before its
//! turn to leave comes.
//!
//! Owns: who holds how much, and who leaves. Never: bytes or time-outs.

#![expect(clippy::disallowed_types, reason = "a short lock that is never held over an await")]

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Cost of a body beside its bytes: its place here, and the buffers round it.
const EACH_BYTES: usize = 1024;

/// There is no room for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// A budget. Cheap to clone.
#[derive(Debug)]
pub(super) struct Room<K: Eq + Hash + Clone> {
    all_bytes: usize,
    share_bytes: usize,
    table: Arc<Mutex<Table<K>>>,
}

#[derive(Debug)]
struct Table<K> {
    next: u64,
    held_bytes: usize,
    owners: HashMap<K, Owner>,
}

#[derive(Debug, Default)]
struct Owner {
    held_bytes: usize,
    /// Keyed by order of arrival, so the oldest comes first.
    bodies: BTreeMap<u64, Place>,
}

#[derive(Debug)]
struct Place {
    held_bytes: usize,
    /// Whether the body is complete; it is then being processed and does not leave for others.
    whole: bool,
    leave: CancellationToken,
}

/// The room of one body; given back when dropped.
#[derive(Debug)]
pub(super) struct Held<K: Eq + Hash + Clone> {
    room: Room<K>,
    owner: K,
    number: u64,
    leave: CancellationToken,
}

impl<K: Eq + Hash + Clone> Clone for Room<K> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table), ..*self }
    }
}

impl<K: Eq + Hash + Clone> Room<K> {
    pub(super) fn new(all_bytes: usize, share_bytes: usize) -> Self {
        let table = Table { next: 0, held_bytes: 0, owners: HashMap::new() };
        Self { all_bytes, share_bytes, table: Arc::new(Mutex::new(table)) }
    }

    /// Enters a body of this owner, with no bytes yet.
    pub(super) fn enter(&self, owner: K) -> Result<Held<K>, NoRoom> {
        let leave = CancellationToken::new();
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        self.make(&mut table, &owner, number, EACH_BYTES)?;
        table.held_bytes += EACH_BYTES;
        let of = table.owners.entry(owner.clone()).or_default();
        of.held_bytes += EACH_BYTES;
        of.bodies.insert(number, Place { held_bytes: EACH_BYTES, whole: false, leave: leave.clone() });
        drop(table);
        Ok(Held { room: self.clone(), owner, number, leave })
    }

    /// Makes other bodies leave until there is room for `more_bytes`; none leaves if that would not be enough.
    fn make(&self, table: &mut Table<K>, owner: &K, number: u64, more_bytes: usize) -> Result<(), NoRoom> {
        let own_bytes = table.owners.get(owner).map_or(0, |own| own.held_bytes);
        let own_movable = table.owners.get(owner).map_or(0, |own| own.movable_bytes(number));
        let all_movable: usize = table.owners.values().map(|of| of.movable_bytes(number)).sum();
        let too_many_own = (own_bytes + more_bytes).saturating_sub(self.share_bytes);
        let too_many = (table.held_bytes + more_bytes).saturating_sub(self.all_bytes);
        if too_many_own > own_movable || too_many > all_movable {
            return Err(NoRoom);
        }
        loop {
            let own_bytes = table.owners.get(owner).map_or(0, |own| own.held_bytes);
            let leaves = if own_bytes + more_bytes > self.share_bytes {
                table.oldest(owner, number).map(|oldest| (owner.clone(), oldest))
            } else if table.held_bytes + more_bytes > self.all_bytes {
                let largest = table.owners.iter().max_by_key(|(_, of)| of.movable_bytes(number));
                let largest = largest.map(|(key, _)| key.clone());
                largest.and_then(|key| table.oldest(&key, number).map(|oldest| (key, oldest)))
            } else {
                return Ok(());
            };
            let (of, oldest) = leaves.ok_or(NoRoom)?;
            if let Some(place) = table.remove(&of, oldest) {
                place.leave.cancel();
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Table<K> {
    /// The unfinished body of an owner that has been arriving longest, except body `but`.
    fn oldest(&self, owner: &K, but: u64) -> Option<u64> {
        let mut bodies = self.owners.get(owner)?.bodies.iter();
        bodies.find(|(number, place)| **number != but && !place.whole).map(|(number, _)| *number)
    }

    fn remove(&mut self, owner: &K, number: u64) -> Option<Place> {
        let of = self.owners.get_mut(owner)?;
        let place = of.bodies.remove(&number)?;
        of.held_bytes -= place.held_bytes;
        self.held_bytes -= place.held_bytes;
        if of.bodies.is_empty() {
            self.owners.remove(owner);
        }
        Some(place)
    }
}

impl Owner {
    /// Bytes of this owner's unfinished bodies, which can leave for others, except body `but`.
    fn movable_bytes(&self, but: u64) -> usize {
        let movable = self.bodies.iter().filter(|(number, place)| **number != but && !place.whole);
        movable.map(|(_, place)| place.held_bytes).sum()
    }
}

impl<K: Eq + Hash + Clone> Held<K> {
    /// Takes room for more bytes.
    pub(super) fn grow(&self, more_bytes: usize) -> Result<(), NoRoom> {
        let mut table = self.room.table();
        // A body that had to leave a moment ago has no place any more, and must not make others leave.
        let has_place = table.owners.get(&self.owner).is_some_and(|of| of.bodies.contains_key(&self.number));
        if !has_place {
            return Err(NoRoom);
        }
        self.room.make(&mut table, &self.owner, self.number, more_bytes)?;
        let of = table.owners.get_mut(&self.owner).ok_or(NoRoom)?;
        of.bodies.get_mut(&self.number).ok_or(NoRoom)?.held_bytes += more_bytes;
        of.held_bytes += more_bytes;
        table.held_bytes += more_bytes;
        Ok(())
    }

    /// Marks the body as complete: it no longer leaves for others.
    pub(super) fn came_whole(&self) {
        let mut table = self.room.table();
        let place = table.owners.get_mut(&self.owner).and_then(|of| of.bodies.get_mut(&self.number));
        if let Some(place) = place {
            place.whole = true;
        }
    }

    /// Returns when another body needs the room of this one.
    pub(super) async fn must_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl<K: Eq + Hash + Clone> Drop for Held<K> {
    fn drop(&mut self) {
        self.room.table().remove(&self.owner, self.number);
    }
}

#[cfg(test)]
mod tests;
