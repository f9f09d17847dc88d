//! Random numbers that can be had again: every run prints its seed, and `TRANSSHIP_TEST_SEED` sets it.

use std::time::Duration;

use crate::environment;

/// A small generator (`SplitMix64`), good enough to spread faults and to fill layers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator for one test: from `TRANSSHIP_TEST_SEED`, or a fresh seed. The seed is printed either way.
    #[expect(clippy::print_stdout, reason = "the seed is what somebody needs to run a failed test again")]
    pub fn for_test(name: &str) -> Self {
        let given = environment::variable("TRANSSHIP_TEST_SEED").and_then(|text| text.to_str()?.parse().ok());
        let seed = given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 >> 32);
        println!("{name}: TRANSSHIP_TEST_SEED={seed}");
        Self::seeded(seed)
    }

    /// A generator that always gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// A time of at least `low` and less than `high` milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.below(high - low))
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.bits().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}
