//! The source of the bytes of a push.
//!
//! Owns: the interface of a source, which can be read repeatedly from any offset. Never: how its bytes are sent.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// The stream of bytes that is read from a source.
pub type SourceStream = BoxStream<'static, io::Result<Bytes>>;

/// A blob that can be read from any offset, as often as needed.
#[async_trait]
pub trait BlobSource: Send + Sync {
    /// Returns the bytes from `offset_bytes` to the end.
    ///
    /// # Errors
    /// `NotFound`, `InvalidData` and `PermissionDenied`, here and in the stream, end the push; other errors are
    /// retried.
    async fn open(&self, offset_bytes: u64) -> io::Result<SourceStream>;
}
