//! Key files on the disk: made whole or not at all, readable by their owner only, replaced so that a kill at any moment leaves one
//! that is right.
//!
//! Owns: files, names and locks. Never: what is in a key, and which of two files is the right one.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KeyError, Master, REGION_KEY_FILE, RegionKey};

/// A new key beside the one that it is going to replace, with a lock that ends with the process.
pub(super) struct Pending {
    path: PathBuf,
    current: PathBuf,
    _lock: File,
}

/// Reads a key file, or nothing when it is not there.
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

/// Reads a key file, and makes it when it is not there.
pub(super) fn load_or_create(data_dir: &Path, name: &str) -> Result<Zeroizing<String>, KeyError> {
    load_or_create_as(data_dir, name, name)
}

/// The same for a file of another name than the kind of key in it has.
pub(super) fn load_or_create_as(data_dir: &Path, name: &str, kind: &str) -> Result<Zeroizing<String>, KeyError> {
    let path = data_dir.join(name);
    if load(&path)?.is_none() {
        create(&path, &generate(&path, kind)?)?;
    }
    // Read back even what was just made: when two processes start at once, both use the file that won.
    load(&path)?.ok_or_else(|| KeyError::file(&path, "went away while it was read"))
}

/// The text of a new key for the file of that name.
pub(super) fn generate(path: &Path, name: &str) -> Result<Zeroizing<String>, KeyError> {
    if name == REGION_KEY_FILE {
        RegionKey::generate().map_err(|reason| KeyError::file(path, reason))
    } else {
        Ok(Master::generate())
    }
}

/// Makes a file whole or not at all, unless another process was faster.
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

/// Writes a temporary file beside `path`, durably, and locks it.
fn write(path: &Path, text: &str) -> std::io::Result<(PathBuf, File)> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{}", text.trim())?;
    file.sync_all()?;
    file.try_lock().map_err(std::io::Error::from)?;
    Ok((temporary, file))
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

    /// The file that a replacement left which did not come to its end.
    ///
    /// # Errors
    /// When that replacement is still at work.
    pub(super) fn left_behind(current: &Path) -> Result<Option<Self>, KeyError> {
        let path = beside(current);
        let failed = |error: std::io::Error| KeyError::file(&path, format!("cannot be looked at: {error}"));
        loop {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(busy(&path)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // The name may have gone, or may be that of another file, since it was opened.
            let own = file.metadata().map_err(failed)?.ino();
            match std::fs::metadata(&path) {
                Ok(named) if named.ino() == own => {
                    return Ok(Some(Self { path, current: current.to_owned(), _lock: file }));
                }
                _ => {}
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in place of the current one.
    pub(super) fn take_over(self) -> Result<(), KeyError> {
        let moved = std::fs::rename(&self.path, &self.current).and_then(|()| sync_directory(&self.path));
        moved.map_err(|error| KeyError::file(&self.path, format!("cannot take the place of the old file: {error}")))
    }

    /// Takes it away.
    pub(super) fn discard(self) -> Result<(), KeyError> {
        let removed = std::fs::remove_file(&self.path).and_then(|()| sync_directory(&self.path));
        removed.map_err(|error| KeyError::file(&self.path, format!("cannot be removed: {error}")))
    }
}

fn beside(current: &Path) -> PathBuf {
    let mut name = current.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn busy(path: &Path) -> KeyError {
    KeyError::file(path, "is held by another process, which is replacing this key; try again when it has ended")
}
