//! The body of an upload request.
//!
//! Owns: its frames, and the length that its head announced. Never: what the bytes are for.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

/// A request body: frames of bytes, or the reason why the body ended early.
pub struct Body {
    frames: Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>,
    announced_bytes: Option<u64>,
}

impl Body {
    /// A body of these frames. `announced_bytes` is what its sender says about its length; nothing relies on it.
    pub fn new(
        frames: impl Stream<Item = Result<Bytes, String>> + Send + 'static,
        announced_bytes: Option<u64>,
    ) -> Self {
        Self { frames: Box::pin(frames), announced_bytes }
    }

    pub(crate) const fn announced_bytes(&self) -> Option<u64> {
        self.announced_bytes
    }
}

impl Stream for Body {
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.as_mut().poll_next(cx)
    }
}
