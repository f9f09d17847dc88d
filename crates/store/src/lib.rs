//! Storage for the bytes of blobs: writing, reading, listing and deleting them.
//!
//! Owns: the [`BlobStore`] and [`BlobWriter`] traits, their backends, and the one test suite that all of them pass.
//! Never: digests, names, permissions, or which bytes belong to which image. Those belong to the catalog; neither crate
//! depends on the other.
//!
//! The rules that every backend keeps:
//!
//! * A [`Location`] is written once. It is never renamed or reused.
//! * When [`BlobWriter::checkpoint`] or [`BlobWriter::finish`] has returned, the bytes survive a power cut.
//! * No call takes or returns a whole blob. The maximum memory of one writer and of one reader is a constant of the
//!   backend.
//! * A writer that has failed once always fails. [`BlobStore::resume`] continues its blob from the last checkpoint.
//! * If a location has two writers, the older one can never change what the newer one writes.
//!
//! ```
//! use bytes::Bytes;
//! use transship_store::{BlobStore, Location, MemoryStore, StoreError};
//!
//! async fn write_in_two_turns(store: &MemoryStore) -> Result<u64, StoreError> {
//!     let location = Location::fresh();
//!     let mut writer = store.create(&location).await?;
//!     writer.write(Bytes::from_static(b"the first half, ")).await?;
//!     let checkpoint = writer.checkpoint().await?;
//!     drop(writer); // The process may end here: the bytes are durable.
//!     let mut writer = store.resume(&location, &checkpoint).await?;
//!     writer.write(Bytes::from_static(b"and the second")).await?;
//!     writer.finish().await
//! }
//! ```

mod error;
mod faulty;
mod fs;
mod location;
mod lock;
mod memory;
mod store;

#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use error::{Blame, StoreError, StoreErrorKind};
pub use faulty::{Fault, FaultyStore, Operation};
pub use fs::{FsStore, READER_MEMORY_BYTES, WRITER_MEMORY_BYTES};
pub use location::{Checkpoint, Location};
pub use memory::MemoryStore;
pub use store::{BlobStore, BlobWriter, ByteStream};
