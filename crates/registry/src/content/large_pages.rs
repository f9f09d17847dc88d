//! Room for large answers: how many bytes of manifests, long texts and records may be on their way to clients at once.
//!
//! An answer is bounded, but many at once would not be, least of all to clients that read slowly. So whoever makes a large
//! answer takes room for it first, and gives it back when it has been sent. Where there is none for some seconds, the
//! answer that has been on its way for longest is cut off, as an unfinished request body is: whoever reads slowly, or asks
//! for one large answer after another, keeps nobody out for long.
//!
//! Owns: the room, who waits for it, and who is cut off. Never: what is in an answer.

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

/// The most bytes of long texts on one page, unless the first has more: as many as one manifest may have.
pub(crate) const PAGE_BYTES: u64 = 4 << 20;
/// Answers up to this size need no room: they cost no more than the connection they go out on.
pub(crate) const SMALL_BYTES: u64 = 64 << 10;
/// What a record of a list takes up beside long texts: 0.7 KiB with names of usual length, 1.9 KiB with the longest ones.
pub(crate) const ROW_BYTES: u64 = 1536;
/// Room in the region: two of the largest answers. One costs up to five times its bytes while it is made.
const REGION_BYTES: u64 = 8 << 20;
/// Of that, what one owner may have, so that it waits for itself before it keeps others waiting: one of the largest.
const OWNER_BYTES: u64 = 4 << 20;

/// How long an answer waits for room that it cannot do without: longer than it takes until others are cut off for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The same where there is another answer. Nobody is cut off for it.
pub(crate) const LITTLE_PATIENCE: Duration = Duration::from_secs(2);
/// How long somebody waits before others are cut off.
const GRACE: Duration = Duration::from_secs(3);
/// How long any answer may be read, whoever waits: 4 MiB at 0.8 MB/s.
const FAIR_TIME: Duration = Duration::from_secs(5);
/// How often somebody who waits looks whether an answer has had its time.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Most answers of one owner that wait at once; who comes after them is told at once.
const MAX_WAITING: usize = 64;

/// The times above; tests have shorter ones.
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
    /// Somebody who waits may find something new.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// By number, so the oldest comes first. As answers without a place are small, these are few.
    answers: BTreeMap<u64, Answer>,
    waiting: BTreeMap<u64, Waiting>,
    /// The number of the last answer of each owner that has one or waits for one.
    served: HashMap<Owner, u64>,
    /// Whose turn it is, and since when that is known: to look for it costs as much as there are who wait.
    turn: Option<(Instant, u64)>,
}

struct Answer {
    owner: Owner,
    bytes: u64,
    /// What is left to send, and since when it is sent. While it is still being made, nothing is.
    sent: Option<(Instant, Arc<dyn LetGo>)>,
}

struct Waiting {
    owner: Owner,
    since: Instant,
}

/// Something that can be taken away from whoever sends it.
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

/// Room that an answer has; given back when dropped.
#[derive(Debug, Default)]
pub struct Room {
    /// None for small answers.
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
    /// Keeps what is to be sent. From now on it can be cut off for others, and is gone then.
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

/// What is to be sent, with its room.
#[derive(Debug)]
pub struct Kept<T> {
    content: Arc<Mutex<Option<T>>>,
    _room: Room,
}

impl<T> Kept<T> {
    /// Looks at it; `None` when it was cut off for others.
    pub fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        lock(&self.content).as_mut().map(look)
    }
}

impl Rooms {
    /// Takes room for an answer.
    ///
    /// # Errors
    /// [`ServiceError::TooManyLargeAnswers`] when there is none for so long.
    pub(crate) async fn take(&self, asks: Asks<'_>, bytes: u64, patience: Duration) -> Result<Room, ServiceError> {
        self.take_unless(asks, bytes, patience, || None::<std::convert::Infallible>).await.map(|taken| match taken {
            Ok(room) => room,
            Err(never) => match never {},
        })
    }

    /// Takes room for an answer, unless there is something that can do without: the inner error, looked for again as long as
    /// there is no room.
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
            // From here on a change is not missed.
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

    /// Has those who wait look again for something that can do without room.
    pub(crate) fn look_again(&self) {
        self.shared.changed.notify_waiters();
    }

    /// Room for an answer, if there is some at once.
    fn take_now(&self, asks: Asks<'_>, bytes: u64) -> Option<Room> {
        if bytes <= SMALL_BYTES {
            return Some(Room::default());
        }
        self.shared.admit(&Owner::from(asks), bytes, None)
    }

    /// Has an answer that is still being made take so many bytes in all, if there is room at once.
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

    /// Reads what an answer is made of, and takes room for it. While there is none, what was read is let go, so that nothing
    /// is held by those who wait.
    ///
    /// # Errors
    /// As `read`; [`ServiceError::TooManyLargeAnswers`] when there is no room for so long.
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
        // It may have become more meanwhile.
        if self.grow(&mut room, asks, size(&again)) {
            Ok((again, room))
        } else {
            Err(ServiceError::TooManyLargeAnswers)
        }
    }
}

/// A place among those who wait; given back when dropped.
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
    /// Room for an answer; whose turn it is has others cut off for it.
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

    /// The one for whom others are cut off: of the owner that was served least recently. So whoever asks again and again
    /// comes after those who have had nothing yet.
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

    /// The answers without which there is room, if those that have had their time are enough: the oldest of the own ones
    /// where the share is full, otherwise the oldest of the owner that holds most.
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
                // Of equals, the last one is the greatest.
                movable.rev().max_by_key(|(_, answer)| left(Some(&answer.owner)))
            } else {
                return Some(cut);
            };
            let number = *next?.0;
            cut.push(number);
        }
    }

    /// Owners without answers, for whom nobody waits, are forgotten.
    fn forget_others(&mut self) {
        let (answers, waiting) = (&self.answers, &self.waiting);
        self.served.retain(|owner, _| {
            answers.values().any(|answer| answer.owner == *owner) || waiting.values().any(|one| one.owner == *owner)
        });
    }
}

#[cfg(test)]
mod tests;
