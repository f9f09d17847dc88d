//! Large answers, sent in pieces that are freed one by one.
//!
//! Owns: the pieces, and how long a client may take to read them. Never: how large an answer may be. The registry
//! reserves room for it, which is held until the last piece is being sent.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use tokio::time::Instant;
use transship_registry::{Kept, LargeManifest, Room};

/// Size of one piece: a connection has this much in flight anyway.
const PIECE_BYTES: usize = 64 << 10;
/// Maximum time for a client to read the whole answer. The SDKs give up after two minutes (contract 1.1), and a slow
/// reader must not hold the room of others for longer.
const LONGEST: Duration = Duration::from_mins(2);

/// Bytes copied from a large manifest at a time: one HTTP/2 stream buffers this much for sending anyway.
const COPIED_BYTES: usize = 16 << 10;

/// Answers with status 200, and holds `room` until the answer is sent. The value is one of our own records.
pub fn json(value: &impl Serialize, room: Room) -> Response {
    let mut pieces = Pieces::default();
    serde_json::to_writer(&mut pieces, value).expect("records are plain data, and writing to memory does not fail");
    let mut response = Response::new(Body::new(pieces.into_body(room, Instant::now() + LONGEST)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[derive(Default)]
struct Pieces {
    full: VecDeque<Bytes>,
    last: Vec<u8>,
}

impl Pieces {
    fn into_body(mut self, room: Room, until: Instant) -> PiecesBody {
        self.full.push_back(Bytes::from(self.last));
        let left_bytes = self.full.iter().map(|piece| piece.len() as u64).sum();
        PiecesBody { pieces: Some(room.keep(self.full)), left_bytes, until }
    }
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.last.len() >= PIECE_BYTES {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(PIECE_BYTES));
            self.full.push_back(Bytes::from(full));
        }
        let taken = bytes.len().min(PIECE_BYTES - self.last.len());
        self.last.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct PiecesBody {
    /// `None` after the last piece.
    pieces: Option<Kept<VecDeque<Bytes>>>,
    left_bytes: u64,
    until: Instant,
}

impl http_body::Body for PiecesBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(pieces) = &self.pieces else { return Poll::Ready(None) };
        let next = if Instant::now() > self.until {
            Err(too_slow())
        } else {
            next_of(pieces.with(|left| left.pop_front().unwrap_or_default()))
        };
        let left = self.left_bytes - next.as_ref().map_or(0, |piece| piece.len() as u64);
        self.left_bytes = left;
        if left == 0 || next.is_err() {
            self.pieces = None;
        }
        Poll::Ready(Some(next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

/// Returns the next piece, or an error if the answer was cut off.
fn next_of(piece: Option<Bytes>) -> Result<Bytes, axum::BoxError> {
    piece.ok_or_else(|| "others waited for the room of a large answer whose client reads slowly".into())
}

fn too_slow() -> axum::BoxError {
    format!("the client took more than {} seconds for a large answer", LONGEST.as_secs()).into()
}

/// A body with the bytes of a large manifest, which other requests may be reading too.
pub fn manifest(manifest: Arc<LargeManifest>, size_bytes: u64) -> Body {
    let left_bytes = usize::try_from(size_bytes).unwrap_or(usize::MAX);
    Body::new(ManifestBody { manifest: Some(manifest), sent_bytes: 0, left_bytes, until: Instant::now() + LONGEST })
}

struct ManifestBody {
    /// `None` after the last piece.
    manifest: Option<Arc<LargeManifest>>,
    sent_bytes: usize,
    left_bytes: usize,
    until: Instant,
}

impl http_body::Body for ManifestBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(manifest) = &self.manifest else { return Poll::Ready(None) };
        let next = if Instant::now() > self.until {
            Err(too_slow())
        } else {
            next_of(manifest.piece(self.sent_bytes, COPIED_BYTES))
        };
        let bytes = next.as_ref().map_or(0, Bytes::len);
        self.sent_bytes += bytes;
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
        if self.left_bytes == 0 || bytes == 0 {
            self.manifest = None;
        }
        Poll::Ready(Some(next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.manifest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn what_is_written_in_pieces_is_read_as_one() {
        for length in [0, 1, PIECE_BYTES - 9, PIECE_BYTES, 3 * PIECE_BYTES + 1] {
            let value = json!({ "text": "x\n".repeat(length) });
            let response = super::json(&value, Room::default());
            let size = http_body::Body::size_hint(response.body()).exact().unwrap();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(bytes.len() as u64, size);
            assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
        }
    }

    #[tokio::test]
    async fn whoever_reads_for_too_long_is_cut_off() {
        let mut pieces = Pieces::default();
        serde_json::to_writer(&mut pieces, &"x".repeat(3 * PIECE_BYTES)).unwrap();
        let mut body = Body::new(pieces.into_body(Room::default(), Instant::now() + Duration::from_mins(1)));
        assert!(body.frame().await.unwrap().is_ok());
        let mut late = Pieces::default();
        serde_json::to_writer(&mut late, &"x".repeat(3 * PIECE_BYTES)).unwrap();
        let mut late =
            Body::new(late.into_body(Room::default(), Instant::now().checked_sub(Duration::from_secs(1)).unwrap()));
        assert!(late.frame().await.unwrap().is_err());
        assert!(late.frame().await.is_none());
    }
}
