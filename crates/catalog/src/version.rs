//! Whether anything has been committed since: what makes a cache of answers exact instead of timed.
//!
//! `SQLite` in WAL mode keeps a header in the shared file `<database>-shm` that every commit of every process renews (its
//! layout is documented: "WAL-File Format", section "The WAL-Index Header"). Two equal headers mean that no commit lies
//! between the two readings, whoever might have made it: this process, or an operator's command beside it. Reading it
//! costs two system calls on memory, where asking the database costs a query.
//!
//! That holds for one file. The header of a new one, made when the database is opened after its last connection was
//! closed, may equal one of before although something was committed in between, so each new file is another epoch.
//!
//! Owns: reading that header. Never: writing it, or a lock on it.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::RwLock;

/// Bytes of one copy of the header.
const HEADER_BYTES: usize = 48;
/// The byte that says whether the header holds anything.
const IS_INITIALISED: usize = 12;

/// The state of a catalog. Equal versions read the same; the opposite need not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Which of the files that this process has seen.
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
    /// Not closed while it has its name: closing any descriptor of a file drops all locks that the process holds on it
    /// (POSIX), and with them the locks of the database connections. One that has lost its name has no connections left.
    file: Option<File>,
}

impl VersionFile {
    /// The version of the database in this file.
    pub(crate) fn of_database(path: &str) -> Self {
        Self { path: PathBuf::from(format!("{path}-shm")), current: RwLock::default() }
    }

    /// The version now, unless it cannot be told.
    pub(crate) fn read(&self) -> Option<Version> {
        if let Some(version) = self.current.read().ok()?.version() {
            return Some(version);
        }
        self.open()
    }

    /// Opens the file, again when the last connection to the database took it away when it closed.
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
    /// The file is looked at after the reading: one that still has its name then was the current one all the time.
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
