//! The two traits that every backend implements.
//!
//! Owns: the guarantees. Never: their implementation.

use std::fmt::Debug;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::{Checkpoint, Location, StoreError};

/// A stream of bytes. It ends after an error.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// A place for immutable bytes.
#[async_trait]
pub trait BlobStore: Send + Sync + Debug + 'static {
    /// Starts a new blob.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if a blob was written there and not deleted. A backend that cannot tell yet returns it
    /// from [`BlobWriter::finish`].
    async fn create(&self, location: &Location) -> Result<Box<dyn BlobWriter>, StoreError>;

    /// Continues a blob, in this process or another. Bytes beyond the checkpoint are discarded.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if nothing of it is left; [`StoreError::Busy`] while an earlier writer exists, if the
    /// backend can tell; [`StoreError::BadCheckpoint`] if fewer bytes are stored than the checkpoint says.
    async fn resume(&self, location: &Location, checkpoint: &Checkpoint) -> Result<Box<dyn BlobWriter>, StoreError>;

    /// Streams a finished blob, or a part of it. The result is undefined before [`BlobWriter::finish`] has returned.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::BadRange`] unless `start <= end <=` size. If a blob has become shorter,
    /// its stream ends with an error, never silently.
    async fn read(&self, location: &Location, range: Option<Range<u64>>) -> Result<ByteStream, StoreError>;

    /// Returns a URL under which a client may read the blob directly from the backend for `ttl`; `None` if the backend
    /// has none.
    async fn presign(&self, location: &Location, ttl: Duration) -> Result<Option<String>, StoreError> {
        let _ = (location, ttl);
        Ok(None)
    }

    /// Deletes a blob, finished or not. Succeeds if there is none.
    async fn delete(&self, location: &Location) -> Result<(), StoreError>;

    /// Returns at most `limit` locations after `after`, in order.
    ///
    /// A page may be shorter than `limit`; only an empty page is the end. Every finished blob that exists during the
    /// whole walk is returned exactly once; unfinished ones may be returned.
    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError>;

    /// Checks that the store can be written now. A full one returns [`StoreError::NoSpace`] and can still be read.
    async fn probe(&self) -> Result<(), StoreError>;
}

/// One blob being written, in order.
///
/// Dropping the writer ends the writing: bytes up to the last checkpoint are kept, later ones may be lost.
#[async_trait]
pub trait BlobWriter: Send + Sync + Debug {
    /// Announces how many bytes the blob will have. This is advice, for example about caching: fewer or more may come.
    fn expect(&mut self, _size_bytes: u64) {}

    /// Takes the next bytes, and waits while the storage is behind.
    ///
    /// A failure to store them may be reported only by a later call. If the call is cancelled,
    /// [`BlobWriter::offset_bytes`] tells how many bytes were taken.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Makes the bytes so far durable, and returns the checkpoint to resume from.
    async fn checkpoint(&mut self) -> Result<Checkpoint, StoreError>;

    /// Finishes the blob, makes it durable and returns its size. From then on it can be read and never changes.
    async fn finish(self: Box<Self>) -> Result<u64, StoreError>;

    /// How many bytes the blob has, including those that are not durable yet.
    fn offset_bytes(&self) -> u64;
}
