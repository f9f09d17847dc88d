//! Blobs as files in a directory: `<directory>/<2 hex digits>/<32 hex digits>`.
//!
//! Owns: the layout, and when files and names are made durable. Never: any state besides these files that outlives the
//! process.
//!
//! Every disk operation runs in a blocking thread and holds it only while it works: a slow client holds a file and a
//! buffer, not a thread.

mod pieces;
mod read;
mod spare;
mod write;

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::location::SHARD_DIGITS;
use crate::{BlobStore, BlobWriter, ByteStream, Checkpoint, Location, StoreError};

pub use read::READER_MEMORY_BYTES;
pub use write::WRITER_MEMORY_BYTES;

/// A file that identifies the directory. If it is missing, the volume is not mounted, and no blob may be reported as
/// absent.
const MARKER: &str = "transship-blobs";
const MARKER_TEXT: &str = "transship blobs 1\n";
/// Written and deleted by each probe.
const PROBE: &str = ".probe";
/// One block: enough that a full disk refuses it.
const PROBE_BYTES: usize = 4096;
/// Maximum number of locations in one page of a listing, at about 100 bytes each: 1 MB, whatever limit the caller
/// gives.
const MAX_PAGE: usize = 10_000;
/// How long to wait for the lock: a writer that was just dropped may still be in its last write.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// Blobs as files in a directory.
#[derive(Clone, Debug)]
pub struct FsStore {
    root: PathBuf,
    pieces: pieces::Pieces,
    memory: spare::Memory,
}

/// The paths of one blob.
#[derive(Clone, Debug)]
struct BlobPath {
    location: Location,
    directory: PathBuf,
    file: PathBuf,
}

impl FsStore {
    /// Opens the store in `directory`, which is created if absent, and checks that it can be written and locked.
    ///
    /// Blocks; call it at start-up.
    ///
    /// # Errors
    /// If the directory cannot be used; the error names it.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = directory.into();
        create_directory(&root)?;
        let store = Self::at(root);
        store.mark()?;
        for shard in shards() {
            create_if_absent(&store.root.join(shard))?;
        }
        sync_directory(&store.root)?;
        store.try_out()?;
        Ok(store)
    }

    /// Opens an existing store without changing it, so that a store on a full or read-only disk can still be read.
    ///
    /// # Errors
    /// If the directory is not a store of this program.
    pub fn open_unchanged(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self::at(directory.into());
        store.check_marker()?;
        Ok(store)
    }

    fn at(root: PathBuf) -> Self {
        Self { root, pieces: pieces::Pieces::default(), memory: spare::Memory::default() }
    }

    /// The directory of the store.
    pub fn directory(&self) -> &Path {
        &self.root
    }

    fn path(&self, location: &Location) -> Result<BlobPath, StoreError> {
        let (shard, name) = location.parts()?;
        let directory = self.root.join(shard);
        Ok(BlobPath { location: location.clone(), file: directory.join(name), directory })
    }

    /// Writes the marker, or checks an existing one.
    fn mark(&self) -> Result<(), StoreError> {
        let path = self.root.join(MARKER);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => file
                .write_all(MARKER_TEXT.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(|error| failed("writing", &path, error)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check_marker(),
            Err(error) => Err(failed("creating", &path, error)),
        }
    }

    fn check_marker(&self) -> Result<(), StoreError> {
        let path = self.root.join(MARKER);
        let text = fs::read_to_string(&path).map_err(|error| failed("reading", &path, error))?;
        // A crash during the first write leaves the marker empty or truncated, but never with other text.
        if MARKER_TEXT.starts_with(&text) {
            return Ok(());
        }
        let found = text.lines().next().unwrap_or_default();
        Err(failed("reading", &path, io::Error::other(format!("this is no store of this version: '{found}'"))))
    }

    /// Writes, locks and deletes a small file.
    fn try_out(&self) -> Result<(), StoreError> {
        self.check_marker()?;
        let path = self.root.join(PROBE);
        // Two probes may use the file at once: neither truncates it, and either may find it deleted.
        let tried = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .and_then(|mut file| file.write_all(&[0; PROBE_BYTES]).and_then(|()| file.lock_shared()));
        let deleted = remove_if_present(&path);
        tried.map_err(|error| failed("writing", &path, error))?;
        deleted.map(drop).map_err(|error| failed("deleting", &path, error))
    }

    /// The error for a missing file: the blob does not exist, unless the whole volume is missing.
    fn missing(&self, location: &Location) -> StoreError {
        self.check_marker().err().unwrap_or_else(|| StoreError::NotFound { location: location.clone() })
    }

    fn create_file(&self, path: &BlobPath) -> Result<File, StoreError> {
        let create = || OpenOptions::new().read(true).write(true).create_new(true).open(&path.file);
        let created = match create() {
            // Somebody removed an empty directory, or the volume is not mounted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.check_marker()?;
                create_if_absent(&path.directory)?;
                sync_directory(&self.root)?;
                create()
            }
            other => other,
        };
        let file = created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists { location: path.location.clone() },
            _ => failed("creating", &path.file, error),
        })?;
        file.lock().map_err(|error| failed("locking", &path.file, error))?;
        Ok(file)
    }

    /// Opens an unfinished file and locks it; `None` if another writer holds the lock.
    fn open_locked(&self, path: &BlobPath) -> Result<Option<File>, StoreError> {
        let opened = OpenOptions::new().read(true).write(true).open(&path.file);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.missing(&path.location),
            _ => failed("opening", &path.file, error),
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(failed("locking", &path.file, error)),
        }
    }

    fn delete_file(&self, path: &BlobPath) -> Result<(), StoreError> {
        match remove_if_present(&path.file) {
            // Without this sync the file could reappear after a power cut, when no row names it any more.
            Ok(true) => sync_directory(&path.directory),
            Ok(false) => self.check_marker(),
            Err(error) => Err(failed("deleting", &path.file, error)),
        }
    }

    /// Returns the smallest locations after `after`. Reads one directory at a time, and keeps only its smallest names.
    fn page(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        self.check_marker()?;
        let limit = limit.min(MAX_PAGE);
        let first_shard = after.map(Location::parts).transpose()?.map(|(shard, _)| shard.to_owned());
        let mut page = Vec::new();
        for shard in shards().skip_while(|shard| first_shard.as_ref().is_some_and(|first| shard < first)) {
            if page.len() == limit {
                break;
            }
            let mut smallest = std::collections::BTreeSet::new();
            for location in self.shard_locations(&shard)? {
                let location = location?;
                if after.is_none_or(|after| location > *after) {
                    smallest.insert(location);
                    if page.len() + smallest.len() > limit {
                        smallest.pop_last();
                    }
                }
            }
            page.extend(smallest);
        }
        Ok(page)
    }

    /// Returns the blobs in one directory, unordered.
    fn shard_locations(
        &self,
        shard: &str,
    ) -> Result<impl Iterator<Item = Result<Location, StoreError>> + use<>, StoreError> {
        let directory = self.root.join(shard);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("listing", &directory, error)),
        };
        let shard = shard.to_owned();
        Ok(entries.into_iter().flatten().filter_map(move |entry| match entry {
            Ok(entry) => entry_location(&shard, &entry).map(Ok),
            Err(error) => Some(Err(failed("listing", &directory, error))),
        }))
    }
}

#[async_trait]
impl BlobStore for FsStore {
    async fn create(&self, location: &Location) -> Result<Box<dyn BlobWriter>, StoreError> {
        let path = self.path(location)?;
        let store = self.clone();
        let writer = blocking(move || {
            store.create_file(&path).map(|file| write::FsWriter::created(path, file, store.memory.share()))
        });
        Ok(Box::new(writer.await??))
    }

    async fn resume(&self, location: &Location, checkpoint: &Checkpoint) -> Result<Box<dyn BlobWriter>, StoreError> {
        let path = self.path(location)?;
        let begun = Instant::now();
        let file = loop {
            let (store, path) = (self.clone(), path.clone());
            if let Some(file) = blocking(move || store.open_locked(&path)).await?? {
                break file;
            }
            if begun.elapsed() > LOCK_PATIENCE {
                return Err(StoreError::Busy { location: location.clone() });
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
        };
        let (checkpoint, share) = (checkpoint.clone(), self.memory.share());
        let writer = blocking(move || write::FsWriter::resumed(path, file, share, &checkpoint)).await??;
        Ok(Box::new(writer))
    }

    async fn read(&self, location: &Location, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        read::open(self.clone(), self.path(location)?, range).await
    }

    async fn delete(&self, location: &Location) -> Result<(), StoreError> {
        let path = self.path(location)?;
        let store = self.clone();
        blocking(move || store.delete_file(&path)).await?
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        let (store, after) = (self.clone(), after.cloned());
        blocking(move || store.page(after.as_ref(), limit)).await?
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let store = self.clone();
        blocking(move || store.try_out()).await?
    }
}

/// Runs disk work in a blocking thread, and propagates a panic to the caller.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    joined(tokio::task::spawn_blocking(work).await)
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, StoreError> {
    result.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => StoreError::Io { what: "waiting for the disk".to_owned(), error: io::Error::other(error) },
    })
}

fn failed(doing: &str, path: &Path, error: io::Error) -> StoreError {
    StoreError::from_io(format!("{doing} {}", path.display()), error)
}

/// The names of all directories, in order.
fn shards() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|shard| format!("{shard:0SHARD_DIGITS$x}"))
}

fn entry_location(shard: &str, entry: &DirEntry) -> Option<Location> {
    let name = entry.file_name().into_string().ok()?;
    let location = Location::from(format!("{shard}/{name}"));
    location.parts().is_ok().then_some(location)
}

/// Removes a file; returns `false` if it did not exist.
fn remove_if_present(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn create_if_absent(path: &Path) -> Result<(), StoreError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("creating", path, error)),
        _ => Ok(()),
    }
}

/// Creates a directory and its parents, and makes each name durable in its parent.
fn create_directory(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(failed("opening", path, io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("opening", path, error)),
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(parent)?;
    create_if_absent(path)?;
    sync_directory(parent)
}

/// Makes the names in a directory durable.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| failed("syncing", path, error))
}

/// Whether the file has no name any more.
fn is_deleted(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() == 0)
}

#[cfg(test)]
mod tests;
