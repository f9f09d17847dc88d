//! Tags that many clients write at the same time, as registers (I4: after an acknowledged write no read returns an
//! older value): which values a read may return, in whatever order the region took the writes. Time is a counter, so
//! nothing here depends on a clock.
//!
//! [`History`] judges each read by itself, at once, for any number of reads. [`Register`] judges all reads of one tag
//! together: two reads, each of which may be right, can contradict each other.
//!
//! The oracle for one writer per tag, with kills in between, is `oracle.rs`.

#![expect(clippy::disallowed_types, reason = "each lock is a few lookups, with no await and no panic inside")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// One write of one tag. `None` as a value is the tag's absence.
#[derive(Clone, Debug)]
struct Write {
    value: Option<String>,
    start: u64,
    /// When its answer came; `None` if none has come. A write without an answer may still take effect at any later
    /// time.
    acknowledged: Option<u64>,
}

impl Write {
    /// True if `later` began after this one was answered, so that no read returns this one's value after `later`.
    fn is_before(&self, later: &Write) -> bool {
        self.acknowledged.is_some_and(|end| end < later.start)
    }
}

#[derive(Debug, Default)]
struct Inner {
    clock: u64,
    tags: BTreeMap<String, Vec<Write>>,
}

/// A write that was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    tag: String,
    start: u64,
}

/// The writes of many clients.
#[derive(Debug, Default)]
pub struct History {
    inner: Mutex<Inner>,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while holding it")
    }

    /// Returns a moment that is later than all before it.
    pub fn now(&self) -> u64 {
        let mut inner = self.lock();
        inner.clock += 1;
        inner.clock
    }

    /// Notes that a write is about to be sent. `tag` names the repository too; `None` deletes.
    pub fn begin(&self, tag: &str, value: Option<&str>) -> Begun {
        let start = self.now();
        let absent = Write { value: None, start: 0, acknowledged: Some(0) };
        let write = Write { value: value.map(str::to_owned), start, acknowledged: None };
        self.lock().tags.entry(tag.to_owned()).or_insert_with(|| vec![absent]).push(write);
        Begun { tag: tag.to_owned(), start }
    }

    /// Notes that the write was answered: it was done.
    pub fn acknowledge(&self, begun: &Begun) {
        let end = self.now();
        let mut inner = self.lock();
        let writes = inner.tags.get_mut(&begun.tag).expect("it was begun");
        writes.iter_mut().find(|write| write.start == begun.start).expect("it was begun").acknowledged = Some(end);
    }

    /// Notes that the write was answered: nothing was done.
    pub fn refuse(&self, begun: &Begun) {
        let mut inner = self.lock();
        let writes = inner.tags.get_mut(&begun.tag).expect("it was begun");
        writes.retain(|write| write.start != begun.start);
    }

    /// Whether no read can return the value of this write any more.
    pub fn is_overwritten(&self, begun: &Begun) -> bool {
        let inner = self.lock();
        let writes = &inner.tags[&begun.tag];
        let own = writes.iter().find(|write| write.start == begun.start).expect("it was begun");
        writes.iter().any(|later| later.acknowledged.is_some() && own.is_before(later))
    }

    /// The values that a read may have returned that began at `start` and has just ended.
    pub fn possible(&self, tag: &str, start: u64) -> BTreeSet<Option<String>> {
        let inner = self.lock();
        let writes = &inner.tags[tag];
        let hidden = |write: &Write| {
            let done = |later: &&Write| later.acknowledged.is_some_and(|end| end < start);
            writes.iter().filter(done).any(|later| write.is_before(later))
        };
        writes.iter().filter(|write| !hidden(write)).map(|write| write.value.clone()).collect()
    }

    /// Panics unless a read that began at `start` may have returned this value.
    pub fn read(&self, tag: &str, start: u64, found: Option<&str>) {
        let possible = self.possible(tag, start);
        let found = found.map(str::to_owned);
        assert!(possible.contains(&found), "I4: {tag} reads as {found:?}, which may be one of {possible:?}");
    }

    /// Every tag that was ever written.
    pub fn tags(&self) -> Vec<String> {
        self.lock().tags.keys().cloned().collect()
    }
}

/// Everything that was done with one value of a tag: its write and the reads that returned it.
#[derive(Clone, Debug)]
struct Cluster {
    write_start: Option<u64>,
    first_end: u64,
    last_start: u64,
    first_read_end: u64,
}

/// The whole history of one tag. Every write has its own value, and has been answered.
#[derive(Debug, Default)]
pub struct Register {
    clock: AtomicU64,
    clusters: Mutex<BTreeMap<String, Cluster>>,
}

impl Register {
    /// Returns a moment that is later than all before it.
    pub fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes that a write that began at `start` has just been answered: it was done.
    pub fn wrote(&self, value: &str, start: u64) {
        self.add(value, true, start, self.now());
    }

    /// Notes that a read that began at `start` has just been answered with this value.
    pub fn read(&self, value: &str, start: u64) {
        self.add(value, false, start, self.now());
    }

    fn add(&self, value: &str, is_write: bool, start: u64, end: u64) {
        let mut clusters = self.clusters.lock().expect("nobody panics while holding it");
        let empty = Cluster { write_start: None, first_end: u64::MAX, last_start: 0, first_read_end: u64::MAX };
        let cluster = clusters.entry(value.to_owned()).or_insert(empty);
        cluster.first_end = cluster.first_end.min(end);
        cluster.last_start = cluster.last_start.max(start);
        if is_write {
            cluster.write_start = Some(start);
        } else {
            cluster.first_read_end = cluster.first_read_end.min(end);
        }
    }

    /// Checks that there is one order of all operations, each at a moment between its start and its end, in which every
    /// read returns the value of the write before it.
    ///
    /// A value must be present at least from the first end to the last start of the operations on it, if that start is
    /// later. No two values may be present at once, and no other value may have had its only chance meanwhile. These
    /// conditions are enough (P. Gibbons and E. Korach, Testing Shared Memories, 1997).
    ///
    /// # Errors
    /// Which operations contradict each other.
    pub fn check(&self) -> Result<(), String> {
        let clusters = self.clusters.lock().expect("nobody panics while holding it");
        let mut held: Vec<(u64, u64, &str)> = Vec::new();
        for (value, cluster) in &*clusters {
            let Some(write_start) = cluster.write_start else { return Err(format!("nobody has written {value}")) };
            if cluster.first_read_end < write_start {
                return Err(format!("{value} was read before it was written"));
            }
            if cluster.first_end < cluster.last_start {
                held.push((cluster.first_end, cluster.last_start, value));
            }
        }
        held.sort_unstable();
        for pair in held.windows(2) {
            if pair[1].0 < pair[0].1 {
                return Err(format!("both were there at once: {:?} and {:?}", pair[0], pair[1]));
            }
        }
        for (value, Cluster { first_end, last_start, .. }) in &*clusters {
            if let Some(other) =
                held.iter().find(|(from, to, _)| from < last_start && last_start < first_end && first_end < to)
            {
                return Err(format!(
                    "{value} was never there: it was used from {last_start} to {first_end}, in {other:?}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{History, Register};
    use crate::random::Random;

    #[test]
    fn what_was_certainly_overwritten_is_not_read_again() {
        let history = History::default();
        let one = history.begin("r:t", Some("one"));
        history.acknowledge(&one);
        let two = history.begin("r:t", Some("two"));
        // Not answered yet: a read may find either.
        for found in ["one", "two"] {
            history.read("r:t", history.now(), Some(found));
        }
        assert!(!history.is_overwritten(&one));
        let early = history.now();
        history.acknowledge(&two);
        assert!(history.is_overwritten(&one));
        assert!(history.possible("r:t", early).contains(&Some("one".to_owned())), "that read began before the answer");
        assert_eq!(history.possible("r:t", history.now()), [Some("two".to_owned())].into());
        // Two at once: either stays.
        let (three, gone) = (history.begin("r:t", Some("three")), history.begin("r:t", None));
        history.acknowledge(&three);
        history.acknowledge(&gone);
        assert_eq!(history.possible("r:t", history.now()), [None, Some("three".to_owned())].into());
        history.refuse(&gone);
        assert_eq!(history.possible("r:t", history.now()), [Some("three".to_owned())].into());
    }

    /// An operation: value, whether it writes it, start and end.
    type Operation = (u64, bool, u64, u64);

    fn register(operations: &[Operation]) -> Register {
        let register = Register::default();
        for &(value, is_write, start, end) in operations {
            register.add(&value.to_string(), is_write, start, end);
        }
        register
    }

    /// The definition itself: some operation that began before all others ended comes first, and so on.
    fn has_an_order(left: &[Operation], now: Option<u64>) -> bool {
        left.is_empty()
            || (0..left.len()).any(|first| {
                let (value, is_write, start, _) = left[first];
                let mut others = left.to_vec();
                others.remove(first);
                others.iter().all(|other| start < other.3)
                    && (is_write || now == Some(value))
                    && has_an_order(&others, Some(value))
            })
    }

    #[test]
    fn reads_that_contradict_each_other_are_found() {
        let writes = [(1, true, 0, 1), (2, true, 2, 9)];
        let check = |reads: &[Operation]| register(&[&writes, reads].concat()).check();
        assert_eq!(check(&[(1, false, 3, 4), (2, false, 5, 6), (2, false, 10, 11)]), Ok(()));
        // Each alone may be, while the second write is under way.
        check(&[(2, false, 3, 4), (1, false, 5, 6)]).expect_err("the new value, and then the old one");
        check(&[(1, false, 10, 11)]).expect_err("the old value after the answer");
        check(&[(3, false, 3, 4)]).expect_err("a value from nowhere");
        register(&[(1, false, 0, 1), (1, true, 2, 3)]).check().expect_err("read before it was written");
    }

    #[test]
    fn the_check_agrees_with_the_definition() {
        let mut random = Random::seeded(1);
        let mut right = 0;
        for _ in 0..20_000 {
            let (writes, all) = (1 + random.below(3), 2 + random.below(5));
            let mut moments: Vec<u64> = (0..14).collect();
            let mut moment = || moments.swap_remove(usize::try_from(random.below(moments.len() as u64)).unwrap());
            let times: Vec<(u64, u64)> = (0..writes.max(all)).map(|_| (moment(), moment())).collect();
            let operations = times.iter().zip(0..).map(|(&(one, other), number)| {
                let value = if number < writes { number } else { random.below(writes) };
                (value, number < writes, one.min(other), one.max(other))
            });
            let operations: Vec<Operation> = operations.collect();
            let is_right = has_an_order(&operations, None);
            assert_eq!(register(&operations).check().is_ok(), is_right, "{operations:?}");
            right += u64::from(is_right);
        }
        assert!((1000..19_000).contains(&right), "{right} of 20000 are right, which says little");
    }
}
