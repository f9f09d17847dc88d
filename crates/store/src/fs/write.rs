//! Writing one file while the next bytes arrive.
//!
//! Owns: the buffer, the order of write and sync, and that nothing is written after a failure. Never: opening or naming
//! files.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::num::NonZeroU64;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::Advice;
use tokio::task::JoinHandle;

use super::spare::Share;
use super::{BlobPath, failed, is_deleted, joined, sync_directory};
use crate::{BlobWriter, Checkpoint, StoreError, StoreErrorKind};

/// A write starts once this many bytes are buffered and no other write is in progress.
const FLUSH_BYTES: usize = 256 * 1024;
/// Maximum number of buffered bytes during a write, and of bytes in one write. This absorbs a slow write (a few
/// milliseconds on a busy disk) without delaying a fast sender.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Bytes after which the disk begins to make a large blob durable, beside the writes. Otherwise it would be idle between
/// checkpoints, and each checkpoint would wait for all of its bytes. Smaller blobs are left to the sync at their end.
const EARLY_SYNC_BYTES: u64 = 16 << 20;
/// The maximum memory of one writer: a buffer being filled and a buffer being written. Buffers grow as bytes arrive, so
/// a small blob or a slow sender holds less.
pub const WRITER_MEMORY_BYTES: usize = 2 * BUFFER_BYTES;

/// The value of [`Checkpoint::state`]: a constant, because the offset is all that a resume needs.
const STATE: &str = "fs";

/// A file that is being written. Each disk operation takes ownership of the open file and returns it.
#[derive(Debug)]
pub(super) struct FsWriter {
    path: BlobPath,
    /// Bytes that have not been handed to the disk.
    buffer: Vec<u8>,
    offset_bytes: u64,
    /// How many bytes the file will have, as far as that is known.
    expected_bytes: u64,
    disk: Disk,
    /// The same file as the disk's.
    file: Arc<File>,
    /// The last sync that nobody waited for; its error must not be lost, because the kernel reports it only once.
    early_sync: Option<JoinHandle<Result<(), StoreError>>>,
    /// Where the last sync began.
    early_sync_at: u64,
    /// Whether the file's name survives a power cut.
    is_name_durable: bool,
}

#[derive(Debug)]
enum Disk {
    Idle(OpenFile),
    Working(JoinHandle<Result<OpenFile, StoreError>>),
    /// A final state: after a failed write or sync, the content on the disk is unknown. The kernel marks lost pages as
    /// clean after a failed sync, so a second sync would succeed.
    Failed {
        kind: StoreErrorKind,
        reason: String,
    },
}

#[derive(Debug)]
struct OpenFile {
    path: BlobPath,
    file: Arc<File>,
    /// The share of the page cache that it may fill.
    share: Share,
    /// An empty buffer for reuse.
    spare: Vec<u8>,
}

/// What to do after the bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    /// Make the whole file durable.
    Sync {
        /// How many bytes it then has.
        size_bytes: u64,
        /// How many it will have in the end, as far as that is known.
        expected_bytes: u64,
    },
}

impl FsWriter {
    /// A writer of an empty file.
    pub(super) fn created(path: BlobPath, file: File, share: Share) -> Self {
        Self::new(path, file, share, 0, false)
    }

    /// A writer that continues from the checkpoint. Blocks.
    pub(super) fn resumed(
        path: BlobPath,
        mut file: File,
        share: Share,
        checkpoint: &Checkpoint,
    ) -> Result<Self, StoreError> {
        let bad = |reason| StoreError::BadCheckpoint { location: path.location.clone(), reason };
        if checkpoint.state != STATE {
            return Err(bad(format!("its state is '{}', not '{STATE}'", checkpoint.state)));
        }
        let offset_bytes = checkpoint.offset_bytes;
        let size_bytes = file.metadata().map_err(|error| failed("opening", &path.file, error))?.len();
        if size_bytes < offset_bytes {
            return Err(bad(format!("it has {size_bytes} bytes, not {offset_bytes}")));
        }
        file.set_len(offset_bytes)
            .and_then(|()| file.seek(SeekFrom::Start(offset_bytes)))
            .map_err(|error| failed("truncating", &path.file, error))?;
        Ok(Self::new(path, file, share, offset_bytes, true))
    }

    fn new(path: BlobPath, file: File, share: Share, offset_bytes: u64, is_name_durable: bool) -> Self {
        let file = Arc::new(file);
        let open = OpenFile { path: path.clone(), file: Arc::clone(&file), share, spare: Vec::new() };
        Self {
            path,
            buffer: Vec::new(),
            offset_bytes,
            expected_bytes: 0,
            disk: Disk::Idle(open),
            file,
            early_sync: None,
            early_sync_at: offset_bytes,
            is_name_durable,
        }
    }

    /// Hands the buffer to the disk after the work in progress is done.
    async fn hand_over(&mut self, then: Then) -> Result<(), StoreError> {
        self.settle().await?;
        let stopped = Disk::Failed { kind: StoreErrorKind::Io, reason: "the writer was stopped".to_owned() };
        match std::mem::replace(&mut self.disk, stopped) {
            Disk::Idle(mut file) => {
                let bytes = std::mem::replace(&mut self.buffer, std::mem::take(&mut file.spare));
                self.disk = Disk::Working(tokio::task::spawn_blocking(move || file.work(bytes, then)));
                Ok(())
            }
            other => {
                self.disk = other;
                Err(self.poisoned())
            }
        }
    }

    /// Begins a sync beside the writes once enough bytes have come since the last one, if that one is done.
    async fn sync_early(&mut self) -> Result<(), StoreError> {
        let is_running = self.early_sync.as_ref().is_some_and(|sync| !sync.is_finished());
        if is_running || self.offset_bytes - self.early_sync_at < EARLY_SYNC_BYTES {
            return Ok(());
        }
        self.end_early_sync().await?;
        let (file, path) = (Arc::clone(&self.file), self.path.file.clone());
        self.early_sync_at = self.offset_bytes;
        self.early_sync = Some(tokio::task::spawn_blocking(move || {
            file.sync_data().map_err(|error| failed("syncing", &path, error))
        }));
        Ok(())
    }

    /// Waits for the early sync. If the call is cancelled here, the next one waits for the same sync.
    async fn end_early_sync(&mut self) -> Result<(), StoreError> {
        let Some(sync) = &mut self.early_sync else { return Ok(()) };
        let done = joined(sync.await).and_then(|result| result);
        self.early_sync = None;
        if let Err(error) = &done {
            // Without waiting for anything: a call that is cancelled here would lose the error. A write that is still
            // in progress ends by itself, and nobody calls its bytes durable.
            self.disk = Disk::Failed { kind: error.kind(), reason: error.to_string() };
        }
        done
    }

    /// Makes bytes and name durable, both at once: a journaling file system serves two waiting syncs with one commit.
    async fn sync(&mut self) -> Result<(), StoreError> {
        let then = Then::Sync { size_bytes: self.offset_bytes, expected_bytes: self.expected_bytes };
        self.hand_over(then).await?;
        self.early_sync_at = self.offset_bytes;
        if self.is_name_durable {
            self.settle().await?;
            return self.end_early_sync().await;
        }
        let directory = self.path.directory.clone();
        let name = tokio::task::spawn_blocking(move || sync_directory(&directory));
        self.settle().await?;
        if let Err(error) = joined(name.await).and_then(|result| result) {
            self.disk = Disk::Failed { kind: error.kind(), reason: error.to_string() };
            return Err(error);
        }
        self.is_name_durable = true;
        self.end_early_sync().await
    }

    /// Waits for the work in progress. If the call is cancelled here, the work goes on and nothing is lost.
    async fn settle(&mut self) -> Result<(), StoreError> {
        if let Disk::Working(work) = &mut self.disk {
            match joined(work.await).and_then(|result| result) {
                Ok(file) => self.disk = Disk::Idle(file),
                Err(error) => {
                    self.disk = Disk::Failed { kind: error.kind(), reason: error.to_string() };
                    return Err(error);
                }
            }
        }
        self.check()
    }

    fn check(&self) -> Result<(), StoreError> {
        if matches!(self.disk, Disk::Failed { .. }) { Err(self.poisoned()) } else { Ok(()) }
    }

    fn poisoned(&self) -> StoreError {
        let (kind, reason) = match &self.disk {
            Disk::Failed { kind, reason } => (*kind, reason.clone()),
            Disk::Idle(_) | Disk::Working(_) => (StoreErrorKind::Io, "the disk is at work".to_owned()),
        };
        StoreError::Poisoned { location: self.path.location.clone(), kind, reason }
    }

    fn is_disk_idle(&self) -> bool {
        match &self.disk {
            Disk::Idle(_) => true,
            Disk::Working(work) => work.is_finished(),
            Disk::Failed { .. } => false,
        }
    }
}

#[async_trait]
impl BlobWriter for FsWriter {
    fn expect(&mut self, size_bytes: u64) {
        self.expected_bytes = size_bytes;
    }

    async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.check()?;
        while !bytes.is_empty() {
            if self.buffer.len() == BUFFER_BYTES {
                self.hand_over(Then::Nothing).await?;
            }
            // The bytes are copied, because a frame of one byte may keep its whole receive buffer alive.
            let taken = bytes.split_to(bytes.len().min(BUFFER_BYTES - self.buffer.len()));
            make_room(&mut self.buffer, taken.len());
            self.buffer.extend_from_slice(&taken);
            self.offset_bytes += taken.len() as u64;
            if self.buffer.len() >= FLUSH_BYTES && self.is_disk_idle() {
                self.hand_over(Then::Nothing).await?;
            }
            self.sync_early().await?;
        }
        Ok(())
    }

    async fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        self.sync().await?;
        Ok(Checkpoint { offset_bytes: self.offset_bytes, state: STATE.to_owned() })
    }

    async fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        self.sync().await?;
        Ok(self.offset_bytes)
    }

    fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }
}

impl OpenFile {
    /// Writes the bytes, and syncs if `then` asks for it. Blocks.
    fn work(mut self, mut bytes: Vec<u8>, then: Then) -> Result<Self, StoreError> {
        (&*self.file).write_all(&bytes).map_err(|error| failed("writing", &self.path.file, error))?;
        bytes.clear();
        self.spare = bytes;
        if let Then::Sync { size_bytes, expected_bytes } = then {
            self.file.sync_data().map_err(|error| failed("syncing", &self.path.file, error))?;
            self.verify(size_bytes)?;
            self.drop_cached(size_bytes, expected_bytes);
        }
        Ok(self)
    }

    /// Drops the pages for which there is no memory from the page cache: they would evict pages that others need, and
    /// reusing pages at once costs far less than allocating new ones. This is advice that the kernel may ignore, so
    /// errors are ignored too.
    fn drop_cached(&mut self, size_bytes: u64, expected_bytes: u64) {
        if let Some((offset_bytes, length_bytes)) = self.range_to_drop(size_bytes, expected_bytes) {
            let _ = rustix::fs::fadvise(&self.file, offset_bytes, Some(length_bytes), Advice::DontNeed);
        }
    }

    /// Returns offset and length of the range to drop; `None` if there is memory for the whole file.
    fn range_to_drop(&mut self, size_bytes: u64, expected_bytes: u64) -> Option<(u64, NonZeroU64)> {
        let kept_bytes = self.share.keep(size_bytes, expected_bytes);
        let dropped_bytes = size_bytes.checked_sub(kept_bytes).and_then(NonZeroU64::new)?;
        Some((kept_bytes, dropped_bytes))
    }

    /// Checks that nobody else has changed the file: it has as many bytes as were written, and has not been deleted.
    fn verify(&self, size_bytes: u64) -> Result<(), StoreError> {
        let look = |error| failed("looking at", &self.path.file, error);
        if is_deleted(&self.file).map_err(look)? {
            return Err(StoreError::NotFound { location: self.path.location.clone() });
        }
        let actual_bytes = self.file.metadata().map_err(look)?.len();
        if actual_bytes != size_bytes {
            let reason = format!("it has {actual_bytes} bytes, not the {size_bytes} that were written");
            return Err(look(io::Error::other(reason)));
        }
        Ok(())
    }
}

/// Grows a buffer by doubling, up to [`BUFFER_BYTES`].
fn make_room(buffer: &mut Vec<u8>, more: usize) {
    let wanted = buffer.len() + more;
    if wanted > buffer.capacity() {
        buffer.reserve_exact(wanted.next_power_of_two().min(BUFFER_BYTES) - buffer.len());
    }
}

#[cfg(test)]
mod tests;
