//! Where the bytes of a push come from.
//!
//! Owns: the interface of a source, which can be read again from any offset. Never: how its bytes are sent.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// The bytes of a source as they are read.
pub type SourceStream = BoxStream<'static, io::Result<Bytes>>;

/// A blob that can be read from any offset, as often as needed.
#[async_trait]
pub trait BlobSource: Send + Sync {
    /// The bytes from `offset_bytes` to the end.
    ///
    /// # Errors
    /// `NotFound`, `InvalidData` and `PermissionDenied`, here and in the stream, end the push; others are tried again.
    async fn open(&self, offset_bytes: u64) -> io::Result<SourceStream>;
}
