//! The suite that every backend must pass.
//!
//! Owns: the guarantees of [`BlobStore`] and [`BlobWriter`], as tests. Never: the behaviour of a single backend.
//!
//! A backend's tests call [`store_suite!`](crate::store_suite) with an expression that makes a [`Bench`]. Each case
//! becomes a separate test with its own store.

mod errors;
mod reading;
mod resuming;
mod writing;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::{BlobStore, BlobWriter, Location, StoreError};

pub use errors::{bad_locations_are_refused, missing_blobs_are_told, odd_ranges_are_refused};
pub use reading::{
    list_gives_every_blob_once, presign_answers, probe_answers, ranges_give_their_bytes, reads_go_on_side_by_side,
    reads_keep_to_their_bound,
};
pub use resuming::{
    bytes_behind_a_checkpoint_are_thrown_away, checkpoints_survive_a_crash, dropped_writer_leaves_its_checkpoint,
    finished_blobs_survive_a_crash, foreign_checkpoints_are_refused, older_writer_changes_nothing,
    resume_at_every_kind_of_offset, resume_goes_on_in_another_process, resume_in_many_steps,
};
pub use writing::{
    blobs_of_many_sizes_come_back, delete_is_idempotent, deleted_location_is_empty, empty_blobs_exist,
    locations_are_written_once, writers_do_not_meet,
};

/// Makes one test of each case of the suite.
///
/// The argument is an expression that returns a [`Bench`](crate::suite::Bench); the crate needs tokio with its macros.
#[macro_export]
macro_rules! store_suite {
    ($make:expr) => {
        $crate::store_suite!(@cases $make,
            blobs_of_many_sizes_come_back, delete_is_idempotent, deleted_location_is_empty, empty_blobs_exist,
            locations_are_written_once, writers_do_not_meet, list_gives_every_blob_once, presign_answers,
            probe_answers, ranges_give_their_bytes, reads_go_on_side_by_side, reads_keep_to_their_bound,
            bytes_behind_a_checkpoint_are_thrown_away, checkpoints_survive_a_crash,
            dropped_writer_leaves_its_checkpoint, finished_blobs_survive_a_crash, foreign_checkpoints_are_refused,
            older_writer_changes_nothing, resume_at_every_kind_of_offset, resume_goes_on_in_another_process,
            resume_in_many_steps, bad_locations_are_refused, missing_blobs_are_told, odd_ranges_are_refused,
        );
    };
    (@cases $make:expr, $($case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::suite::$case(&$make).await;
            }
        )*
    };
}

/// The maximum size of a piece that a read may return, for every backend.
pub const MAX_PIECE_BYTES: usize = 1024 * 1024;

/// A backend under test: one storage that any number of processes can use.
pub trait Bench: Send + Sync {
    /// Opens the store as a newly started process would.
    fn open(&self) -> Arc<dyn BlobStore>;

    /// Drops all bytes that are not durable, if that can be simulated.
    fn crash(&self) {}
}

/// Bytes that differ at every offset and for every seed.
fn pattern(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    Bytes::from(bytes)
}

async fn create(store: &Arc<dyn BlobStore>) -> (Location, Box<dyn BlobWriter>) {
    let location = Location::fresh();
    let writer = store.create(&location).await.expect("a fresh location can be created");
    (location, writer)
}

/// Writes in frames whose size does not align with any buffer.
async fn write_all(writer: &mut Box<dyn BlobWriter>, bytes: &Bytes) {
    const FRAME_BYTES: usize = 61_441;
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let frame = rest.split_to(rest.len().min(FRAME_BYTES));
        writer.write(frame).await.expect("bytes can be written");
    }
}

async fn put(store: &Arc<dyn BlobStore>, bytes: &Bytes) -> Location {
    let (location, mut writer) = create(store).await;
    write_all(&mut writer, bytes).await;
    assert_eq!(writer.offset_bytes(), bytes.len() as u64);
    assert_eq!(writer.finish().await.expect("a blob can be finished"), bytes.len() as u64);
    location
}

async fn try_get(
    store: &Arc<dyn BlobStore>,
    location: &Location,
    range: Option<Range<u64>>,
) -> Result<Vec<u8>, StoreError> {
    let mut pieces = store.read(location, range).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn get(store: &Arc<dyn BlobStore>, location: &Location) -> Vec<u8> {
    try_get(store, location, None).await.expect("a finished blob can be read")
}

/// Compares without printing megabytes.
#[track_caller]
fn assert_same(actual: &[u8], expected: &[u8]) {
    assert_eq!(actual.len(), expected.len(), "length");
    if actual != expected {
        let differs = actual.iter().zip(expected).position(|(actual, expected)| actual != expected);
        panic!("the first byte that differs is {differs:?}");
    }
}
