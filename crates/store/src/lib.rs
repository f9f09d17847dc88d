//! Bytes: where blobs lie, and how they come and go.
//!
//! Owns: the [`BlobStore`] and [`BlobWriter`] traits, their backends, and the one suite that all of them pass.
//! Never: digests, names, who may read what, or which bytes belong to which image. That is the catalog's knowledge, and
//! the two do not know each other.
//!
//! The rules that every backend keeps:
//!
//! * A [`Location`] is written once. It is never renamed and never used again.
//! * What [`BlobWriter::checkpoint`] and [`BlobWriter::finish`] have answered survives a power cut.
//! * No call takes or gives back a whole blob. What one writer and one reader may hold is a constant of the backend.
//! * A writer that has failed once fails for ever. Its blob goes on by [`BlobStore::resume`] from the last checkpoint.
//! * The older of two writers of one location can never change what the newer one writes.

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
