//! Blobs in memory, for tests.
//!
//! Owns: the same guarantees as the other backends, and power cuts on demand. Never: production use. It is the only
//! backend that holds whole blobs in memory, up to a fixed total.

use std::collections::BTreeMap;
use std::io;
use std::ops::{Bound, Range};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;

use crate::lock::ShortLock;
use crate::{BlobStore, BlobWriter, ByteStream, Checkpoint, Location, StoreError, StoreErrorKind};

/// Capacity of [`MemoryStore::new`]: enough for the images of a test, too little to harm the machine.
const CAPACITY_BYTES: u64 = 256 * 1024 * 1024;
const PIECE_BYTES: u64 = 256 * 1024;
const STATE: &str = "memory";

/// A store in memory. Clones share the blobs, as processes share a directory.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<ShortLock<Shared>>,
}

#[derive(Debug)]
struct Shared {
    capacity_bytes: u64,
    used_bytes: u64,
    next_writer: u64,
    blobs: BTreeMap<Location, Blob>,
}

#[derive(Debug, Default)]
struct Blob {
    bytes: Vec<u8>,
    /// How many bytes survive a power cut; `None` if not even the name does.
    durable_bytes: Option<usize>,
    /// The id of the only writer that may write.
    writer: Option<u64>,
}

#[derive(Debug)]
struct MemoryWriter {
    store: MemoryStore,
    location: Location,
    id: u64,
    offset_bytes: u64,
    failed: Option<(StoreErrorKind, String)>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY_BYTES)
    }

    /// An empty store with room for `capacity_bytes`.
    pub fn with_capacity(capacity_bytes: u64) -> Self {
        let shared = Shared { capacity_bytes, used_bytes: 0, next_writer: 0, blobs: BTreeMap::new() };
        Self { shared: Arc::new(ShortLock::new(shared)) }
    }

    /// Changes the capacity.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.shared.with(|shared| shared.capacity_bytes = capacity_bytes);
    }

    /// How many bytes the store holds.
    pub fn used_bytes(&self) -> u64 {
        self.shared.with(|shared| shared.used_bytes)
    }

    /// Simulates a power cut: drops all bytes that are not durable, and stops every writer.
    pub fn cut_power(&self) {
        self.shared.with(|shared| {
            shared.blobs.retain(|_, blob| {
                blob.writer = None;
                blob.bytes.truncate(blob.durable_bytes.unwrap_or(0));
                blob.durable_bytes.is_some()
            });
            shared.used_bytes = shared.blobs.values().map(|blob| blob.bytes.len() as u64).sum();
        });
    }

    fn piece(&self, location: &Location, range: &Range<u64>) -> Result<Bytes, StoreError> {
        self.shared.with(|shared| {
            let blob = shared.blobs.get(location).ok_or_else(|| not_found(location))?;
            let part = index(range.start)..index(range.end.min(range.start + PIECE_BYTES));
            let bytes = blob.bytes.get(part).ok_or_else(|| shorter(location))?;
            Ok(Bytes::copy_from_slice(bytes))
        })
    }
}

impl Shared {
    fn check_room(&self, location: &Location, more_bytes: u64) -> Result<(), StoreError> {
        if self.used_bytes.saturating_add(more_bytes) <= self.capacity_bytes {
            return Ok(());
        }
        Err(StoreError::NoSpace { what: format!("writing {location}"), error: io::ErrorKind::StorageFull.into() })
    }

    fn new_writer(&mut self) -> u64 {
        self.next_writer += 1;
        self.next_writer
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn create(&self, location: &Location) -> Result<Box<dyn BlobWriter>, StoreError> {
        location.parts()?;
        let id = self.shared.with(|shared| {
            if shared.blobs.contains_key(location) {
                return Err(StoreError::Exists { location: location.clone() });
            }
            let id = shared.new_writer();
            shared.blobs.insert(location.clone(), Blob { writer: Some(id), ..Blob::default() });
            Ok(id)
        })?;
        Ok(Box::new(MemoryWriter::new(self, location, id, 0)))
    }

    async fn resume(&self, location: &Location, checkpoint: &Checkpoint) -> Result<Box<dyn BlobWriter>, StoreError> {
        location.parts()?;
        let bad = |reason| StoreError::BadCheckpoint { location: location.clone(), reason };
        let offset_bytes = checkpoint.offset_bytes;
        let id = self.shared.with(|shared| {
            let id = shared.new_writer();
            let blob = shared.blobs.get_mut(location).ok_or_else(|| not_found(location))?;
            if blob.writer.is_some() {
                return Err(StoreError::Busy { location: location.clone() });
            }
            if checkpoint.state != STATE {
                return Err(bad(format!("its state is '{}', not '{STATE}'", checkpoint.state)));
            }
            let size_bytes = blob.bytes.len() as u64;
            if size_bytes < offset_bytes {
                return Err(bad(format!("it has {size_bytes} bytes, not {offset_bytes}")));
            }
            blob.bytes.truncate(index(offset_bytes));
            blob.durable_bytes = Some(blob.bytes.len());
            blob.writer = Some(id);
            shared.used_bytes -= size_bytes - offset_bytes;
            Ok(id)
        })?;
        Ok(Box::new(MemoryWriter::new(self, location, id, offset_bytes)))
    }

    async fn read(&self, location: &Location, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        location.parts()?;
        let size_bytes = self.shared.with(|shared| {
            let blob = shared.blobs.get(location).ok_or_else(|| not_found(location))?;
            Ok::<_, StoreError>(blob.bytes.len() as u64)
        })?;
        let range = range.unwrap_or(0..size_bytes);
        if range.start > range.end || range.end > size_bytes {
            return Err(StoreError::BadRange { location: location.clone(), range, size_bytes });
        }
        let (store, location) = (self.clone(), location.clone());
        Ok(Box::pin(stream::try_unfold(range, move |range| {
            let piece = if range.is_empty() { Ok(None) } else { store.piece(&location, &range).map(Some) };
            async move {
                Ok(piece?.map(|bytes| {
                    let rest = range.start + bytes.len() as u64..range.end;
                    (bytes, rest)
                }))
            }
        })))
    }

    async fn delete(&self, location: &Location) -> Result<(), StoreError> {
        location.parts()?;
        self.shared.with(|shared| {
            if let Some(blob) = shared.blobs.remove(location) {
                shared.used_bytes -= blob.bytes.len() as u64;
            }
        });
        Ok(())
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        after.map(Location::parts).transpose()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.shared.with(|shared| {
            let behind = shared.blobs.range::<Location, _>((from, Bound::Unbounded));
            behind.take(limit).map(|(location, _)| location.clone()).collect()
        }))
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.shared.with(|shared| {
            if shared.used_bytes < shared.capacity_bytes {
                return Ok(());
            }
            Err(StoreError::NoSpace { what: "probing".to_owned(), error: io::ErrorKind::StorageFull.into() })
        })
    }
}

impl MemoryWriter {
    fn new(store: &MemoryStore, location: &Location, id: u64, offset_bytes: u64) -> Self {
        Self { store: store.clone(), location: location.clone(), id, offset_bytes, failed: None }
    }

    /// Runs `work` on the blob; after a failure, this writer fails for ever.
    fn with_blob<T>(
        &mut self,
        work: impl FnOnce(&mut Shared, &Location, u64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some((kind, reason)) = &self.failed {
            let location = self.location.clone();
            return Err(StoreError::Poisoned { location, kind: *kind, reason: reason.clone() });
        }
        let done = self.store.shared.with(|shared| work(shared, &self.location, self.id));
        if let Err(error) = &done {
            self.failed = Some((error.kind(), error.to_string()));
        }
        done
    }

    fn make_durable(&mut self) -> Result<(), StoreError> {
        self.with_blob(|shared, location, id| {
            let blob = shared.blobs.get_mut(location).ok_or_else(|| not_found(location))?;
            blob.check_writer(location, id)?;
            blob.durable_bytes = Some(blob.bytes.len());
            Ok(())
        })
    }
}

impl Blob {
    fn check_writer(&self, location: &Location, id: u64) -> Result<(), StoreError> {
        if self.writer == Some(id) { Ok(()) } else { Err(gone(location, "the power was cut")) }
    }
}

#[async_trait]
impl BlobWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.with_blob(|shared, location, id| {
            shared.check_room(location, bytes.len() as u64)?;
            let blob = shared.blobs.get_mut(location).ok_or_else(|| not_found(location))?;
            blob.check_writer(location, id)?;
            blob.bytes.extend_from_slice(&bytes);
            shared.used_bytes += bytes.len() as u64;
            Ok(())
        })?;
        self.offset_bytes += bytes.len() as u64;
        Ok(())
    }

    async fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        self.make_durable()?;
        Ok(Checkpoint { offset_bytes: self.offset_bytes, state: STATE.to_owned() })
    }

    async fn finish(mut self: Box<Self>) -> Result<u64, StoreError> {
        self.make_durable()?;
        Ok(self.offset_bytes)
    }

    fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.store.shared.with(|shared| {
            if let Some(blob) = shared.blobs.get_mut(&self.location).filter(|blob| blob.writer == Some(self.id)) {
                blob.writer = None;
            }
        });
    }
}

fn not_found(location: &Location) -> StoreError {
    StoreError::NotFound { location: location.clone() }
}

fn shorter(location: &Location) -> StoreError {
    StoreError::Io { what: format!("using {location}"), error: io::ErrorKind::UnexpectedEof.into() }
}

fn gone(location: &Location, reason: &str) -> StoreError {
    StoreError::Io { what: format!("using {location}"), error: io::Error::other(reason.to_owned()) }
}

/// A position in bytes that are in memory.
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
