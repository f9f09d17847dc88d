//! Short and long forms of the random tests. `make test` runs the short ones; `make soak` sets `TRANSSHIP_SOAK=1` and
//! runs the long ones. Every random test prints its seed with the command that runs it again; `TRANSSHIP_SEED` sets the
//! seed.

use std::time::Duration;

use crate::environment;

/// Whether this is the long form.
pub fn is_long() -> bool {
    environment::variable("TRANSSHIP_SOAK").is_some_and(|value| value == "1")
}

/// How many rounds a test makes.
pub fn rounds(short: u64, long: u64) -> u64 {
    if is_long() { long } else { short }
}

/// How long a time-based test runs: `short`, or in the long form `TRANSSHIP_SOAK_MINUTES` (20 if it is not set).
pub fn duration(short: Duration) -> Duration {
    if !is_long() {
        return short;
    }
    let minutes = environment::variable("TRANSSHIP_SOAK_MINUTES").map_or(20, |text| {
        let number = text.to_str().and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("TRANSSHIP_SOAK_MINUTES is '{}', not a whole number", text.display()))
    });
    Duration::from_mins(minutes)
}

/// The seed of a test: `TRANSSHIP_SEED`, or a new one. Prints it with the command that runs this test again with it.
#[expect(clippy::print_stdout, reason = "the seed is what somebody needs to run a failed test again")]
pub fn seed(test: &str) -> u64 {
    let seed = environment::variable("TRANSSHIP_SEED").map_or_else(
        || uuid::Uuid::new_v4().as_u64_pair().0 >> 32,
        |text| {
            let number = text.to_str().and_then(|text| text.parse().ok());
            number.unwrap_or_else(|| panic!("TRANSSHIP_SEED is '{}', not a whole number", text.display()))
        },
    );
    println!("{test}: seed {seed}; again with: {}", replay(test, seed));
    seed
}

/// The command that runs one test of this suite with a seed. It sets the long form too, because that makes more rounds
/// of the same random numbers.
fn replay(test: &str, seed: u64) -> String {
    let long = if is_long() { "TRANSSHIP_SOAK=1 " } else { "" };
    format!("{long}TRANSSHIP_SEED={seed} cargo test -p transship-tests --test {} -- {test}", environment::suite())
}
