//! The two traits that every backend implements.
//!
//! Owns: what is promised. Never: how it is kept.

use std::fmt::Debug;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::{Checkpoint, Location, StoreError};

/// Bytes as they come. After an error there is nothing more.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// A place for immutable bytes.
#[async_trait]
pub trait BlobStore: Send + Sync + Debug + 'static {
    /// Begins a blob.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when something was ever written there and not deleted. A backend that cannot tell yet says
    /// so in [`BlobWriter::finish`].
    async fn create(&self, location: &Location) -> Result<Box<dyn BlobWriter>, StoreError>;

    /// Goes on with a blob, in this process or another. Bytes beyond the checkpoint are thrown away.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing of it is left, [`StoreError::Busy`] while an earlier writer lives, where the
    /// backend can tell, [`StoreError::BadCheckpoint`] when fewer bytes are stored than the checkpoint says.
    async fn resume(&self, location: &Location, checkpoint: &Checkpoint) -> Result<Box<dyn BlobWriter>, StoreError>;

    /// Streams a finished blob, or a part of it. What comes before [`BlobWriter::finish`] has answered is not defined.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::BadRange`] unless `start <= end <=` size. A blob that turns out shorter
    /// than it was ends with an error, never early.
    async fn read(&self, location: &Location, range: Option<Range<u64>>) -> Result<ByteStream, StoreError>;

    /// An address under which a client may read the blob without us for `ttl`, where the backend has such a thing.
    async fn presign(&self, location: &Location, ttl: Duration) -> Result<Option<String>, StoreError> {
        let _ = (location, ttl);
        Ok(None)
    }

    /// Deletes a blob, finished or not. An absent one is deleted already.
    async fn delete(&self, location: &Location) -> Result<(), StoreError>;

    /// The locations behind `after`, in order, at most `limit`. A page may be shorter than `limit`; only an empty page is
    /// the end. Every finished blob that is there during the whole walk comes exactly once; unfinished ones may come.
    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError>;

    /// Whether the store can be written now. A full one answers [`StoreError::NoSpace`] and can still be read.
    async fn probe(&self) -> Result<(), StoreError>;
}

/// One blob being written, in order.
///
/// Dropping it ends the writing: what was checkpointed stays, what came after may go.
#[async_trait]
pub trait BlobWriter: Send + Sync + Debug {
    /// Takes the next bytes, and waits while the storage is behind. A failure to store them may come only with a later
    /// call. When the call is cancelled, [`BlobWriter::offset_bytes`] says how many bytes were taken.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Makes durable what was written, and says how to go on from here.
    async fn checkpoint(&mut self) -> Result<Checkpoint, StoreError>;

    /// Ends the blob and makes it durable; gives its size. From now on it can be read and never changes.
    async fn finish(self: Box<Self>) -> Result<u64, StoreError>;

    /// How many bytes the blob has, with those that are not durable yet.
    fn offset_bytes(&self) -> u64;
}
