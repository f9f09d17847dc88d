//! Reading one file, piece by piece.
//!
//! Owns: the order of the pieces. Never: more than one piece in memory, or a thread while nothing is being read.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::ReadWriteFlags;

use super::pieces::{Buffer, LARGE_BYTES, Pieces};
use super::{BlobPath, FsStore, blocking, failed};
use crate::{ByteStream, StoreError};

/// The maximum memory of one reader: the piece that is being sent.
pub const READER_MEMORY_BYTES: usize = LARGE_BYTES;

/// Opens a file and reads its first piece.
pub(super) async fn open(store: FsStore, path: BlobPath, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
    let pieces = store.pieces.clone();
    // As for reads: a file whose name and inode are cached is opened here; everything else, including errors, is
    // handled on another thread.
    let (source, rest) = match open_cached(&path.file) {
        Some(file) => Source::new(path, file, range)?,
        None => blocking(move || Source::open(&store, path, range)).await??,
    };
    let mut reader = Reader { source: Arc::new(source), pieces, rest, taken_bytes: 0, first: None };
    reader.first = Some(reader.read().await?);
    Ok(Box::pin(stream::try_unfold(reader, Reader::next)))
}

/// Opens a file if the operating system has its name and its inode cached.
fn open_cached(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(File::from)
}

#[derive(Debug)]
struct Source {
    path: BlobPath,
    file: File,
}

struct Reader {
    source: Arc<Source>,
    pieces: Pieces,
    rest: Range<u64>,
    taken_bytes: u64,
    first: Option<Bytes>,
}

impl Source {
    fn open(store: &FsStore, path: BlobPath, range: Option<Range<u64>>) -> Result<(Self, Range<u64>), StoreError> {
        let file = File::open(&path.file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => store.missing(&path.location),
            _ => failed("opening", &path.file, error),
        })?;
        Self::new(path, file, range)
    }

    /// Returns the file and the range to read.
    fn new(path: BlobPath, file: File, range: Option<Range<u64>>) -> Result<(Self, Range<u64>), StoreError> {
        let size_bytes = file.metadata().map_err(|error| failed("opening", &path.file, error))?.len();
        let range = range.unwrap_or(0..size_bytes);
        if range.start > range.end || range.end > size_bytes {
            return Err(StoreError::BadRange { location: path.location, range, size_bytes });
        }
        Ok((Self { path, file }, range))
    }

    /// Fills a buffer. Blocks.
    fn read(&self, mut buffer: Buffer, offset: u64) -> Result<Bytes, StoreError> {
        let length = buffer.len();
        // Fails here if the file has become shorter.
        self.file.read_exact_at(buffer.space(), offset).map_err(|error| self.unreadable(error))?;
        Ok(buffer.filled(length))
    }

    /// Fills a buffer with the bytes that the operating system has cached; `None` if it has none or cannot tell.
    fn read_cached(&self, buffer: &mut Buffer, offset: u64) -> Option<usize> {
        let mut space = [IoSliceMut::new(buffer.space())];
        rustix::io::preadv2(&self.file, &mut space, offset, ReadWriteFlags::NOWAIT).ok().filter(|read| *read > 0)
    }

    fn unreadable(&self, error: io::Error) -> StoreError {
        failed("reading", self.file_path(), error)
    }

    fn file_path(&self) -> &Path {
        &self.path.file
    }
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        let piece = match self.first.take() {
            Some(first) => first,
            None => self.read().await?,
        };
        if piece.is_empty() {
            return Ok(None);
        }
        self.taken_bytes += piece.len() as u64;
        Ok(Some((piece, self)))
    }

    /// Returns the next piece, which is empty at the end.
    async fn read(&mut self) -> Result<Bytes, StoreError> {
        let offset = self.rest.start;
        let mut buffer = self.pieces.lend(self.rest.end - offset, self.taken_bytes);
        let piece = match self.source.read_cached(&mut buffer, offset) {
            // Cached bytes are copied here: handing the work to a thread takes as long.
            Some(read) => buffer.filled(read),
            None if buffer.len() == 0 => Bytes::new(),
            None => {
                let source = Arc::clone(&self.source);
                blocking(move || source.read(buffer, offset)).await??
            }
        };
        self.rest.start += piece.len() as u64;
        Ok(piece)
    }
}
