//! Reading one file, a piece ahead of the reader.
//!
//! Owns: the pieces. Never: more than two of them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use tokio::task::JoinHandle;

use super::{BlobPath, FsStore, blocking, failed, joined};
use crate::{ByteStream, StoreError};

/// Large enough that the system calls do not count, small enough for many readers at once.
const PIECE_BYTES: u64 = 256 * 1024;
/// The most that one reader holds: the piece that is being sent and the one being read.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
pub const READER_MEMORY_BYTES: usize = 2 * PIECE_BYTES as usize;

type Piece = Result<Bytes, StoreError>;

/// Opens a file and reads its first piece.
pub(super) async fn open(store: FsStore, path: BlobPath, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
    let (source, rest, first) = blocking(move || {
        let (source, range) = Source::open(&store, path, range)?;
        let source = Arc::new(source);
        let (piece, rest) = split(range);
        let first = source.read(piece)?;
        Ok::<_, StoreError>((source, rest, first))
    })
    .await??;
    let begin = Reader { source, rest, next: Next::Ready(first) };
    Ok(Box::pin(stream::try_unfold(begin, Reader::next)))
}

#[derive(Debug)]
struct Source {
    path: BlobPath,
    file: File,
}

struct Reader {
    source: Arc<Source>,
    rest: Range<u64>,
    next: Next,
}

enum Next {
    Ready(Bytes),
    Coming(JoinHandle<Piece>),
}

impl Source {
    fn open(store: &FsStore, path: BlobPath, range: Option<Range<u64>>) -> Result<(Self, Range<u64>), StoreError> {
        let file = File::open(&path.file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => store.missing(&path.location),
            _ => failed("opening", &path.file, error),
        })?;
        let size_bytes = file.metadata().map_err(|error| failed("opening", &path.file, error))?.len();
        let range = range.unwrap_or(0..size_bytes);
        if range.start > range.end || range.end > size_bytes {
            return Err(StoreError::BadRange { location: path.location, range, size_bytes });
        }
        Ok((Self { path, file }, range))
    }

    fn read(&self, piece: Range<u64>) -> Piece {
        let length = usize::try_from(piece.end - piece.start).expect("a piece fits in memory");
        let mut bytes = vec![0; length];
        // A file that has become shorter gives an error here.
        self.file.read_exact_at(&mut bytes, piece.start).map_err(|error| failed("reading", self.file_path(), error))?;
        Ok(Bytes::from(bytes))
    }

    fn file_path(&self) -> &Path {
        &self.path.file
    }
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        let bytes = match self.next {
            Next::Ready(bytes) => bytes,
            Next::Coming(piece) => joined(piece.await)??,
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let (piece, rest) = split(self.rest);
        self.rest = rest;
        self.next = if piece.is_empty() {
            Next::Ready(Bytes::new())
        } else {
            let source = Arc::clone(&self.source);
            Next::Coming(tokio::task::spawn_blocking(move || source.read(piece)))
        };
        Ok(Some((bytes, self)))
    }
}

/// The next piece, and what comes behind it.
fn split(range: Range<u64>) -> (Range<u64>, Range<u64>) {
    let middle = range.end.min(range.start.saturating_add(PIECE_BYTES));
    (range.start..middle, middle..range.end)
}
