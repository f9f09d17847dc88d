//! Room for large answers: limits the bytes of manifests, long texts and records that are sent to clients at once.
//!
//! One answer is bounded, but many at once would not be, least of all when clients read slowly. So the code that makes
//! a large answer takes room for it first, and gives it back when the answer has been sent. If a caller finds no room
//! for some seconds, the answer that has been in transit longest is cut off, as an unfinished request body is. So a
//! client that reads slowly, or asks for one large answer after another, does not keep others out for long.
//!
//! Owns: the room, the queue for it, and the choice of answers to cut off. Never: what is in an answer.

#![expect(clippy::disallowed_types, reason = "short locks that are never held over an await")]

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::access::asks::Asks;
use crate::address::counted_address;
use crate::error::ServiceError;

/// Maximum bytes of long texts on one page, unless the first alone is longer: the maximum size of one manifest.
pub(crate) const PAGE_BYTES: u64 = 4 << 20;
/// Answers up to this size need no room: they cost no more than the connection that carries them.
pub(crate) const SMALL_BYTES: u64 = 64 << 10;
/// Size of a list record without long texts: 0.7 KiB with names of usual length, 1.9 KiB with the longest ones.
pub(crate) const ROW_BYTES: u64 = 1536;
/// Room in the region: two of the largest answers. Making an answer costs up to five times its bytes.
const REGION_BYTES: u64 = 8 << 20;
/// Maximum room of one owner: one of the largest answers, so that an owner waits for itself before others wait for it.
const OWNER_BYTES: u64 = 4 << 20;

/// Maximum wait for room of an answer that has no alternative: longer than it takes until others are cut off for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum wait where there is another answer to give. It is too short for others to be cut off.
pub(crate) const LITTLE_PATIENCE: Duration = Duration::from_secs(2);
/// Wait after which others are cut off.
const GRACE: Duration = Duration::from_secs(3);
/// Time that every answer gets, whoever waits: enough for 4 MiB at 0.8 MB/s.
const FAIR_TIME: Duration = Duration::from_secs(5);
/// Interval at which a waiting caller checks whether an answer has had its time.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Maximum number of waiting answers of one owner; further ones are refused at once.
const MAX_WAITING: usize = 64;

/// The times above; tests use shorter ones.
#[derive(Clone, Copy)]
struct Pace {
    grace: Duration,
    fair_time: Duration,
    look_again: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { grace: GRACE, fair_time: FAIR_TIME, look_again: LOOK_AGAIN }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Account(Box<str>),
    Address(IpAddr),
}

impl From<Asks<'_>> for Owner {
    fn from(asks: Asks<'_>) -> Self {
        match asks {
            Asks::Account(id) => Self::Account(id.into()),
            Asks::Stranger(address) => Self::Address(counted_address(address)),
        }
    }
}

/// The room of a region.
#[derive(Default)]
pub(crate) struct Rooms {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    pace: Pace,
    table: Mutex<Table>,
    /// Wakes the waiting callers when there may be room.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// By number, so the oldest comes first. There are few, because small answers have no entry.
    answers: BTreeMap<u64, Answer>,
    waiting: BTreeMap<u64, Waiting>,
    /// The number of the latest answer of each owner that has an answer or waits for one.
    served: HashMap<Owner, u64>,
    /// Whose turn it is, and when that was determined. Cached, because the search visits every waiting caller.
    turn: Option<(Instant, u64)>,
}

struct Answer {
    owner: Owner,
    bytes: u64,
    /// When sending began, and the content that is left; `None` while the answer is still being made.
    sent: Option<(Instant, Arc<dyn LetGo>)>,
}

struct Waiting {
    owner: Owner,
    since: Instant,
}

/// Content that can be dropped while it is being sent.
trait LetGo: Send + Sync {
    fn let_go(&self);
}

impl<T: Send> LetGo for Mutex<Option<T>> {
    fn let_go(&self) {
        drop(lock(self).take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The room of an answer; given back when dropped.
#[derive(Debug, Default)]
pub struct Room {
    /// `None` for small answers.
    place: Option<Place>,
}

struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.shared.table).remove(self.number);
        self.shared.changed.notify_waiters();
    }
}

impl Room {
    /// Holds the content while it is sent. From now on others may cut it off, which drops the content.
    pub fn keep<T: Send + 'static>(self, content: T) -> Kept<T> {
        let content = Arc::new(Mutex::new(Some(content)));
        if let Some(place) = &self.place
            && let Some(answer) = lock(&place.shared.table).answers.get_mut(&place.number)
        {
            answer.sent = Some((Instant::now(), Arc::clone(&content) as Arc<dyn LetGo>));
        }
        Kept { content, _room: self }
    }
}

/// Content that is being sent, with its room.
#[derive(Debug)]
pub struct Kept<T> {
    content: Arc<Mutex<Option<T>>>,
    _room: Room,
}

impl<T> Kept<T> {
    /// Calls `look` with the content; `None` if it was cut off for others.
    pub fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.content).as_mut().map(look)
    }
}

impl Rooms {
    /// Takes room for an answer.
    ///
    /// # Errors
    /// [`ServiceError::TooManyLargeAnswers`] if there is none within `patience`.
    pub(crate) async fn take(&self, asks: Asks<'_>, bytes: u64, patience: Duration) -> Result<Room, ServiceError> {
        self.take_unless(asks, bytes, patience, || None::<std::convert::Infallible>).await.map(|taken| match taken {
            Ok(room) => room,
            Err(never) => match never {},
        })
    }

    /// Takes room for an answer, unless `other` returns something that needs none.
    ///
    /// That is the inner error; `other` is called again while there is no room.
    ///
    /// # Errors
    /// As [`Rooms::take`].
    pub(crate) async fn take_unless<T>(
        &self,
        asks: Asks<'_>,
        bytes: u64,
        patience: Duration,
        other: impl Fn() -> Option<T>,
    ) -> Result<Result<Room, T>, ServiceError> {
        if let Some(other) = other() {
            return Ok(Err(other));
        }
        if let Some(room) = self.take_now(asks, bytes) {
            return Ok(Ok(room));
        }
        let owner = Owner::from(asks);
        let turn = Turn::new(&self.shared, &owner).ok_or(ServiceError::TooManyLargeAnswers)?;
        let until = Instant::now() + patience;
        loop {
            let changed = self.shared.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(other) = other() {
                return Ok(Err(other));
            }
            if let Some(room) = self.shared.admit(&owner, bytes, Some(turn.number)) {
                return Ok(Ok(room));
            }
            let now = Instant::now();
            if now >= until {
                return Err(ServiceError::TooManyLargeAnswers);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(until.min(now + self.shared.pace.look_again)) => {}
            }
        }
    }

    /// Wakes the waiting callers, so that they call `other` of [`Rooms::take_unless`] again.
    pub(crate) fn look_again(&self) {
        self.shared.changed.notify_waiters();
    }

    /// Room for an answer; `None` if there is none now.
    fn take_now(&self, asks: Asks<'_>, bytes: u64) -> Option<Room> {
        if bytes <= SMALL_BYTES {
            return Some(Room::default());
        }
        self.shared.admit(&Owner::from(asks), bytes, None)
    }

    /// Grows the room of an answer that is still being made to `bytes` in all; returns `false` if there is no room now.
    pub(crate) fn grow(&self, room: &mut Room, asks: Asks<'_>, bytes: u64) -> bool {
        let Some(place) = &room.place else {
            let taken = self.take_now(asks, bytes);
            return taken.map(|taken| *room = taken).is_some();
        };
        let mut table = lock(&self.shared.table);
        let Some(answer) = table.answers.get(&place.number) else { return false };
        let (owner, has_bytes) = (answer.owner.clone(), answer.bytes);
        let bytes = bytes.min(OWNER_BYTES);
        let fits = bytes <= has_bytes || table.fits(&owner, bytes - has_bytes);
        if let Some(answer) = table.answers.get_mut(&place.number).filter(|_| fits) {
            answer.bytes = answer.bytes.max(bytes);
        }
        fits
    }

    /// Reads the content of an answer, and takes room for it.
    ///
    /// While there is no room, the content is dropped and then read again, so that waiting callers hold nothing.
    ///
    /// # Errors
    /// As `read`; [`ServiceError::TooManyLargeAnswers`] if there is no room within `patience`.
    pub(crate) async fn read<T, F: Future<Output = Result<T, ServiceError>>>(
        &self,
        asks: Asks<'_>,
        patience: Duration,
        read: impl Fn() -> F,
        size: impl Fn(&T) -> u64,
    ) -> Result<(T, Room), ServiceError> {
        let first = read().await?;
        let bytes = size(&first);
        if let Some(room) = self.take_now(asks, bytes) {
            return Ok((first, room));
        }
        drop(first);
        let mut room = self.take(asks, bytes, patience).await?;
        let again = read().await?;
        // The content may have grown meanwhile.
        if self.grow(&mut room, asks, size(&again)) {
            Ok((again, room))
        } else {
            Err(ServiceError::TooManyLargeAnswers)
        }
    }
}

/// A place in the queue; given back when dropped.
struct Turn<'a> {
    shared: &'a Arc<Shared>,
    number: u64,
}

impl<'a> Turn<'a> {
    fn new(shared: &'a Arc<Shared>, owner: &Owner) -> Option<Self> {
        let mut table = lock(&shared.table);
        if table.waiting.values().filter(|waiting| waiting.owner == *owner).count() >= MAX_WAITING {
            return None;
        }
        let number = table.number();
        table.waiting.insert(number, Waiting { owner: owner.clone(), since: Instant::now() });
        Some(Self { shared, number })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.shared.table).waiting.remove(&self.number);
    }
}

impl Shared {
    /// Room for an answer; cuts others off for it if it is this caller's turn.
    fn admit(self: &Arc<Self>, owner: &Owner, bytes: u64, turn: Option<u64>) -> Option<Room> {
        let bytes = bytes.min(OWNER_BYTES);
        let now = Instant::now();
        let mut table = lock(&self.table);
        if !table.fits(owner, bytes) {
            if turn.is_none() || table.whose_turn(now, self.pace) != turn {
                return None;
            }
            for number in table.cuts(owner, bytes, now, self.pace)? {
                if let Some(Answer { sent: Some((_, content)), .. }) = table.remove(number) {
                    content.let_go();
                }
            }
        }
        let number = table.number();
        table.answers.insert(number, Answer { owner: owner.clone(), bytes, sent: None });
        table.served.insert(owner.clone(), number);
        table.turn = None;
        table.forget_others();
        drop(table);
        Some(Room { place: Some(Place { shared: Arc::clone(self), number }) })
    }
}

impl Table {
    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn remove(&mut self, number: u64) -> Option<Answer> {
        self.answers.remove(&number)
    }

    fn fits(&self, owner: &Owner, bytes: u64) -> bool {
        let held = |of: &dyn Fn(&Answer) -> bool| -> u64 {
            self.answers.values().filter(|answer| of(answer)).map(|answer| answer.bytes).sum()
        };
        held(&|_| true) + bytes <= REGION_BYTES && held(&|answer| answer.owner == *owner) + bytes <= OWNER_BYTES
    }

    /// The waiting caller for whom others are cut off: one of the owner that was served least recently.
    ///
    /// So an owner that asks again and again comes after those that have had nothing yet.
    fn whose_turn(&mut self, now: Instant, pace: Pace) -> Option<u64> {
        if let Some((since, number)) = self.turn
            && now - since < pace.look_again
            && self.waiting.contains_key(&number)
        {
            return Some(number);
        }
        let late = self.waiting.iter().filter(|(_, waiting)| now - waiting.since >= pace.grace);
        let first = late.min_by_key(|(number, waiting)| (self.served.get(&waiting.owner).copied(), **number));
        self.turn = first.map(|(number, _)| (now, *number));
        self.turn.map(|(_, number)| number)
    }

    /// The answers to cut off to make room, if cutting those that have had their time is enough.
    ///
    /// If the owner's share is full, its own oldest answer goes first; otherwise the oldest of the owner that holds
    /// most.
    fn cuts(&self, owner: &Owner, bytes: u64, now: Instant, pace: Pace) -> Option<Vec<u64>> {
        let mut cut: Vec<u64> = Vec::new();
        loop {
            let left = |of: Option<&Owner>| -> u64 {
                let stays = |number: &u64, answer: &Answer| {
                    !cut.contains(number) && of.is_none_or(|owner| answer.owner == *owner)
                };
                self.answers
                    .iter()
                    .filter(|(number, answer)| stays(number, answer))
                    .map(|(_, answer)| answer.bytes)
                    .sum()
            };
            let had_its_time =
                |answer: &Answer| answer.sent.as_ref().is_some_and(|(since, _)| now - *since >= pace.fair_time);
            let mut movable =
                self.answers.iter().filter(|(number, answer)| !cut.contains(number) && had_its_time(answer));
            let next = if left(Some(owner)) + bytes > OWNER_BYTES {
                movable.find(|(_, answer)| answer.owner == *owner)
            } else if left(None) + bytes > REGION_BYTES {
                // Of equal elements, `max_by_key` returns the last one, which is the oldest answer.
                movable.rev().max_by_key(|(_, answer)| left(Some(&answer.owner)))
            } else {
                return Some(cut);
            };
            let number = *next?.0;
            cut.push(number);
        }
    }

    /// Forgets owners that have no answer and no waiting caller.
    fn forget_others(&mut self) {
        let (answers, waiting) = (&self.answers, &self.waiting);
        self.served.retain(|owner, _| {
            answers.values().any(|answer| answer.owner == *owner) || waiting.values().any(|one| one.owner == *owner)
        });
    }
}

#[cfg(test)]
mod tests;
