//! Tells whether anything has been committed since an earlier reading, so that a cache of answers is exact and needs no
//! expiry.
//!
//! `SQLite` in WAL mode keeps a header in the shared file `<database>-shm` that every commit of every process changes
//! (its layout is documented: "WAL-File Format", section "The WAL-Index Header"). Two equal headers mean that nobody
//! has committed between the two readings, neither this process nor an operator's command beside it. Reading it costs
//! two system calls on memory; asking the database costs a query.
//!
//! This holds for one file. A new file is made when the database is opened after its last connection was closed. Its
//! header may equal an earlier one although something was committed in between, so each new file is a new epoch.
//!
//! This module reads that header. It never writes or locks it.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::RwLock;

/// Bytes of one copy of the header.
const HEADER_BYTES: usize = 48;
/// Offset of the byte that says whether the header is initialised.
const IS_INITIALISED: usize = 12;

/// The version of a catalog. Equal versions have the same content; the converse need not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Number of the file, among those that this process has opened.
    epoch: u64,
    header: [u8; HEADER_BYTES],
}

/// Reads the version of one database file.
#[derive(Debug)]
pub(crate) struct VersionFile {
    path: PathBuf,
    current: RwLock<Current>,
}

#[derive(Debug, Default)]
struct Current {
    epoch: u64,
    /// Not closed while the file has its name: closing any descriptor of a file drops all locks that the process holds
    /// on it (POSIX), and so those of the database connections. A file that has lost its name has no connections left.
    file: Option<File>,
}

impl VersionFile {
    /// Returns a reader of the version of the database in this file.
    pub(crate) fn of_database(path: &str) -> Self {
        Self { path: PathBuf::from(format!("{path}-shm")), current: RwLock::default() }
    }

    /// Returns the version now; `None` if it cannot be read.
    pub(crate) fn read(&self) -> Option<Version> {
        if let Some(version) = self.current.read().ok()?.version() {
            return Some(version);
        }
        self.open()
    }

    /// Opens the file, and opens it again after the last connection to the database has deleted it.
    fn open(&self) -> Option<Version> {
        let mut current = self.current.write().ok()?;
        if !current.file.as_ref().is_some_and(is_there) {
            current.file = None;
            current.file = Some(File::open(&self.path).ok()?);
            current.epoch += 1;
        }
        current.version()
    }
}

impl Current {
    /// Reads the version, then checks that the file still has its name: if so, it was the current file all the time.
    fn version(&self) -> Option<Version> {
        let file = self.file.as_ref()?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).ok()?;
        let epoch = self.epoch;
        (header[IS_INITIALISED] != 0 && is_there(file)).then_some(Version { epoch, header })
    }
}

fn is_there(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}
