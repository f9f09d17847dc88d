//! A model of pushes and collection, searched through completely: two clients and a collector, two digests, two
//! repositories, in every order of their steps.
//!
//! A step is one statement, as PostgreSQL runs them: changes of a transaction show when it commits, a statement that
//! meets a row which another transaction has changed or locked waits, and each statement sees what is committed when it
//! begins. The graces are 0. Anybody may stop at any step and never come back. Foreign keys, the second safeguard, are
//! left out: what holds here holds by rule 4 alone (a transaction that relies on a row updates it).
//!
//! Client: upload (row, bytes, then one transaction), mount from the other repository, put a manifest that names both
//! blobs, delete a manifest, delete a blob. Collector: unlink, condemn, unnamed, sweep, and expired sessions.
//! [`Mistake`] takes one precaution out at a time, and for each of them the search must find what goes wrong.

mod state;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use state::{Client, Collector, Mistake, State};

/// Hashes with one multiplication: the keys are numbers of our own, and there are many.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are 64-bit numbers");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

/// What a search found.
struct Search {
    states: usize,
    /// What does not hold, and the steps to it.
    broken: Option<(&'static str, Vec<&'static str>)>,
}

/// Visits every state that can be reached, the nearest first.
fn search(mistake: Mistake) -> Search {
    /// For each state by its key: the key of the one before, and the step from there.
    type Seen = HashMap<u64, (u64, &'static str), BuildHasherDefault<KeyHasher>>;
    let mut seen = Seen::default();
    let mut queue = VecDeque::from([State::EMPTY]);
    let origin = State::EMPTY.key();
    seen.insert(origin, (origin, ""));
    while let Some(state) = queue.pop_front() {
        let key = state.key();
        let is_quiet = state.clients == [Client::Idle; 2] && state.collector == Collector::Idle;
        let verdict = match state.check() {
            Ok(()) if is_quiet && mistake == Mistake::None && !state.becomes_clean() => Err("garbage that stays"),
            verdict => verdict,
        };
        if let Err(broken) = verdict {
            let mut steps = Vec::new();
            let mut at = key;
            while at != origin {
                let (before, step) = seen[&at];
                steps.push(step);
                at = before;
            }
            steps.reverse();
            return Search { states: seen.len(), broken: Some((broken, steps)) };
        }
        state.successors(mistake, &mut |step, next| {
            seen.entry(next.key()).or_insert_with(|| {
                queue.push_back(next);
                (key, step)
            });
        });
    }
    Search { states: seen.len(), broken: None }
}

#[test]
fn no_order_of_steps_breaks_an_image_or_leaves_garbage() {
    let search = search(Mistake::None);
    println!("{} states", search.states);
    assert!(search.broken.is_none(), "{:#?}", search.broken);
    // Far fewer would mean that some steps are never taken.
    assert!(search.states > 100_000, "{} states", search.states);
}

#[test]
fn every_precaution_is_needed() {
    for mistake in [
        Mistake::UnlinkUnseen,
        Mistake::CondemnUnseen,
        Mistake::PutReadsOnly,
        Mistake::MountReadsOnly,
        Mistake::LocationsUsedAgain,
        Mistake::RowsBeforeList,
    ] {
        let search = search(mistake);
        let (broken, steps) = search.broken.unwrap_or_else(|| panic!("{mistake:?} breaks nothing"));
        println!("{mistake:?}: {broken}, after {steps:#?}");
    }
}
