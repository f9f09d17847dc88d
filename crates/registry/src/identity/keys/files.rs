//! Key files on disk: written whole or not at all, readable by their owner only, and replaced so that a kill at any
//! moment leaves a correct one.
//!
//! Owns: files, names and locks. Never: what is in a key, and which of two files is the correct one.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KeyError, Master, REGION_KEY_FILE, RegionKey};

/// Suffix of a temporary file, after the process id.
const TEMPORARY: &str = ".tmp";

/// A new key beside the one that it will replace, with a lock that ends with the process.
pub(super) struct Pending {
    path: PathBuf,
    current: PathBuf,
    _lock: File,
}

/// Reads a key file; `None` if it does not exist.
pub(super) fn load(path: &Path) -> Result<Option<Zeroizing<String>>, KeyError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            let mode = metadata.permissions().mode() & 0o777;
            return Err(KeyError::file(
                path,
                format!("has mode {mode:03o}, so other users can read it; run chmod 600 on it"),
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KeyError::file(path, format!("cannot be looked at: {error}"))),
    }
    let text = std::fs::read_to_string(path);
    text.map(|text| Some(Zeroizing::new(text)))
        .map_err(|error| KeyError::file(path, format!("cannot be read: {error}")))
}

/// Reads a key file, and creates it if it does not exist.
pub(super) fn load_or_create(data_dir: &Path, name: &str) -> Result<Zeroizing<String>, KeyError> {
    load_or_create_as(data_dir, name, name)
}

/// As [`load_or_create`], for a file whose name is not that of its kind of key.
pub(super) fn load_or_create_as(data_dir: &Path, name: &str, kind: &str) -> Result<Zeroizing<String>, KeyError> {
    let path = data_dir.join(name);
    if load(&path)?.is_none() {
        create(&path, &generate(&path, kind)?)?;
    }
    // Read back even what was just created: if two processes start at once, both use the file that won.
    load(&path)?.ok_or_else(|| KeyError::file(&path, "went away while it was read"))
}

/// The text of a new key, of the kind that `name` stands for.
pub(super) fn generate(path: &Path, name: &str) -> Result<Zeroizing<String>, KeyError> {
    if name == REGION_KEY_FILE {
        RegionKey::generate().map_err(|reason| KeyError::file(path, reason))
    } else {
        Ok(Master::generate())
    }
}

/// Creates a file whole or not at all, unless another process was faster.
fn create(path: &Path, text: &str) -> Result<(), KeyError> {
    let made = write(path, text).and_then(|(temporary, _)| {
        let linked = std::fs::hard_link(&temporary, path);
        std::fs::remove_file(&temporary)?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => sync_directory(path),
        }
    });
    made.map_err(|error| KeyError::file(path, format!("cannot be made: {error}")))
}

/// Writes a temporary file beside `path`, durably, and locks it, so that nobody takes it for a left-over.
fn write(path: &Path, text: &str) -> std::io::Result<(PathBuf, File)> {
    let temporary = path.with_extension(format!("{}{TEMPORARY}", std::process::id()));
    let mut file = loop {
        let _ = std::fs::remove_file(&temporary);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        if try_lock(&file)? && is_at(&file, &temporary)? {
            break file;
        }
    };
    writeln!(file, "{}", text.trim())?;
    file.sync_all()?;
    Ok((temporary, file))
}

/// Removes the temporary files of killed processes: each may be a second name of a key that is in use.
pub(super) fn remove_left_behind(data_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(data_dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_temporary)) {
        let path = entry.path();
        let remove = || -> std::io::Result<()> {
            let file = File::open(&path)?;
            // A locked file belongs to a process that is still writing it.
            if try_lock(&file)? && is_at(&file, &path)? {
                std::fs::remove_file(&path)?;
                tracing::warn!(file = %path.display(), "removed a copy of a key, which a process that was killed has left");
            }
            Ok(())
        };
        match remove() {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(file = %path.display(), "a copy of a key was left there and cannot be removed: {error}");
            }
            _ => {}
        }
    }
}

/// Whether a name is one that [`write()`] makes for a key file, or for the new file beside one.
fn is_temporary(name: &str) -> bool {
    let names = super::Keys::FILES.into_iter().filter_map(|file| file.strip_suffix("key"));
    names.filter_map(|stem| name.strip_prefix(stem)?.strip_suffix(TEMPORARY)).any(|middle| {
        let process = middle.strip_prefix("key.").unwrap_or(middle);
        !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Takes the lock if it is free, without waiting; returns whether it did.
fn try_lock(file: &File) -> std::io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a path still leads to this file: since it was opened, the name may be gone or belong to another file.
fn is_at(file: &File, path: &Path) -> std::io::Result<bool> {
    let own = file.metadata()?.ino();
    match std::fs::metadata(path) {
        Ok(named) => Ok(named.ino() == own),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

impl Pending {
    /// Writes a new key beside the current one, durably; nobody else may touch it while this process lives.
    pub(super) fn write(current: &Path, text: &str) -> Result<Self, KeyError> {
        let path = beside(current);
        let made = write(&path, text).and_then(|(temporary, lock)| {
            let linked = std::fs::hard_link(&temporary, &path);
            std::fs::remove_file(&temporary)?;
            linked?;
            sync_directory(&path)?;
            Ok(lock)
        });
        match made {
            Ok(lock) => Ok(Self { path, current: current.to_owned(), _lock: lock }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(busy(&path)),
            Err(error) => Err(KeyError::file(&path, format!("cannot be made: {error}"))),
        }
    }

    /// The file that an interrupted replacement left behind.
    ///
    /// # Errors
    /// When that replacement is still running.
    pub(super) fn left_behind(current: &Path) -> Result<Option<Self>, KeyError> {
        let path = beside(current);
        let failed = |error: std::io::Error| KeyError::file(&path, format!("cannot be looked at: {error}"));
        loop {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            if !try_lock(&file).map_err(failed)? {
                return Err(busy(&path));
            }
            if is_at(&file, &path).map_err(failed)? {
                return Ok(Some(Self { path, current: current.to_owned(), _lock: file }));
            }
        }
    }

    /// The path of the new key.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the new key in place of the current one.
    pub(super) fn take_over(self) -> Result<(), KeyError> {
        let moved = std::fs::rename(&self.path, &self.current).and_then(|()| sync_directory(&self.path));
        moved.map_err(|error| KeyError::file(&self.path, format!("cannot take the place of the old file: {error}")))
    }

    /// Deletes the new key.
    pub(super) fn discard(self) -> Result<(), KeyError> {
        let removed = std::fs::remove_file(&self.path).and_then(|()| sync_directory(&self.path));
        removed.map_err(|error| KeyError::file(&self.path, format!("cannot be removed: {error}")))
    }
}

/// The path of a new key before it replaces the current one.
pub(super) fn beside(current: &Path) -> PathBuf {
    let mut name = current.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn busy(path: &Path) -> KeyError {
    KeyError::file(path, "is held by another process, which is replacing this key; try again when it has ended")
}
