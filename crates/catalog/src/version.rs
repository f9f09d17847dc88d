//! Whether anything has been committed since: what makes a cache of answers exact instead of timed.
//!
//! `SQLite` in WAL mode keeps a header in the shared file `<database>-shm` that every commit of every process renews (its
//! layout is documented: "WAL-File Format", section "The WAL-Index Header"). Two equal headers mean that no commit lies
//! between the two readings, whoever might have made it: this process, or an operator's command beside it. Reading it
//! costs two system calls on memory, where asking the database costs a query.
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
pub struct Version([u8; HEADER_BYTES]);

/// Reads the version of one database file.
#[derive(Debug)]
pub(crate) struct VersionFile {
    path: PathBuf,
    /// Never closed while `SQLite` may use the same file: closing any descriptor of a file drops all locks that the
    /// process holds on it (POSIX), and with them the locks of the database connections. Hence the leak.
    file: RwLock<Option<&'static File>>,
}

impl VersionFile {
    /// The version of the database in this file.
    pub(crate) fn of_database(path: &str) -> Self {
        Self { path: PathBuf::from(format!("{path}-shm")), file: RwLock::new(None) }
    }

    /// The version now, unless it cannot be told.
    pub(crate) fn read(&self) -> Option<Version> {
        let known = *self.file.read().ok()?;
        known.and_then(read_header).or_else(|| read_header(self.open()?))
    }

    /// Opens the file, again when the last connection to the database took it away when it closed.
    fn open(&self) -> Option<&'static File> {
        let mut known = self.file.write().ok()?;
        if let Some(file) = known.filter(|file| is_there(file)) {
            return Some(file);
        }
        let file: &'static File = Box::leak(Box::new(File::open(&self.path).ok()?));
        *known = Some(file);
        Some(file)
    }
}

/// The file is looked at after the reading: one that still has its name then was the current one all the time.
fn read_header(file: &File) -> Option<Version> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    (header[IS_INITIALISED] != 0 && is_there(file)).then_some(Version(header))
}

fn is_there(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}
