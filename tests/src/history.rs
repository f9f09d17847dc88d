//! Tags that many clients write at the same time, as registers (I4): which values a read may find, whatever the order in
//! which the region took the writes. Time is a counter, so that nothing here depends on a clock.
//!
//! The oracle of one writer for each tag, with kills in between, is `oracle.rs`.

#![expect(clippy::disallowed_types, reason = "each lock is a few lookups, with no await and no panic inside")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

/// One write of one tag. `None` as a value is the tag's absence.
#[derive(Clone, Debug)]
struct Write {
    value: Option<String>,
    start: u64,
    /// When its answer came, if that has come. Without an answer it may happen at any later time.
    acknowledged: Option<u64>,
}

impl Write {
    /// True when `later` began after the answer to this one, so that nobody finds this one's value after `later`.
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

    /// A moment: each is later than all before it.
    pub fn now(&self) -> u64 {
        let mut inner = self.lock();
        inner.clock += 1;
        inner.clock
    }

    /// A write is about to be sent. `tag` names the repository too; `None` deletes.
    pub fn begin(&self, tag: &str, value: Option<&str>) -> Begun {
        let start = self.now();
        let absent = Write { value: None, start: 0, acknowledged: Some(0) };
        let write = Write { value: value.map(str::to_owned), start, acknowledged: None };
        self.lock().tags.entry(tag.to_owned()).or_insert_with(|| vec![absent]).push(write);
        Begun { tag: tag.to_owned(), start }
    }

    /// Its answer said that it was done.
    pub fn acknowledge(&self, begun: &Begun) {
        let end = self.now();
        let mut inner = self.lock();
        let writes = inner.tags.get_mut(&begun.tag).expect("it was begun");
        writes.iter_mut().find(|write| write.start == begun.start).expect("it was begun").acknowledged = Some(end);
    }

    /// Its answer said that nothing was done.
    pub fn refuse(&self, begun: &Begun) {
        let mut inner = self.lock();
        let writes = inner.tags.get_mut(&begun.tag).expect("it was begun");
        writes.retain(|write| write.start != begun.start);
    }

    /// Whether nobody can find the value of this write any more.
    pub fn is_overwritten(&self, begun: &Begun) -> bool {
        let inner = self.lock();
        let writes = &inner.tags[&begun.tag];
        let own = writes.iter().find(|write| write.start == begun.start).expect("it was begun");
        writes.iter().any(|later| later.acknowledged.is_some() && own.is_before(later))
    }

    /// What a read that began at `start`, and has just ended, may have found.
    pub fn possible(&self, tag: &str, start: u64) -> BTreeSet<Option<String>> {
        let inner = self.lock();
        let writes = &inner.tags[tag];
        let hidden = |write: &Write| {
            let done = |later: &&Write| later.acknowledged.is_some_and(|end| end < start);
            writes.iter().filter(done).any(|later| write.is_before(later))
        };
        writes.iter().filter(|write| !hidden(write)).map(|write| write.value.clone()).collect()
    }

    /// Panics unless a read that began at `start` may have found this.
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

#[cfg(test)]
mod tests {
    use super::History;

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
}
