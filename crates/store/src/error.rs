//! The errors of a store.
//!
//! Owns: the kinds of error, and which operating system error is of which kind. Never: the response of an API.

use std::io;
use std::ops::Range;

use rustix::io::Errno;

use crate::location::{Location, NotALocation};

/// Why a call to a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There are no bytes at this location.
    #[error("{location} does not exist")]
    NotFound {
        /// The location that was asked for.
        location: Location,
    },
    /// The location has been written already; a location is written only once.
    #[error("{location} exists already")]
    Exists {
        /// The location that was to be created.
        location: Location,
    },
    /// An earlier writer of this location still exists.
    #[error("{location} is held by another writer")]
    Busy {
        /// The location that was to be written.
        location: Location,
    },
    /// The disk is full or the quota is used up. Reads still work.
    #[error("{what}: no space left: {error}")]
    NoSpace {
        /// What was being done, and to which path.
        what: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// The text does not have the form that [`Location::fresh`] gives.
    #[error("'{location}' is not a location")]
    BadLocation {
        /// The text.
        location: Location,
    },
    /// The range does not lie within the bytes.
    #[error("bytes {}..{} of {location}, which has {size_bytes}", range.start, range.end)]
    BadRange {
        /// The location that was to be read.
        location: Location,
        /// The requested bytes.
        range: Range<u64>,
        /// The size of the blob.
        size_bytes: u64,
    },
    /// The checkpoint does not match the stored bytes; the blob must be written again under a fresh location.
    #[error("{location} cannot go on from its checkpoint: {reason}")]
    BadCheckpoint {
        /// The location that was to be resumed.
        location: Location,
        /// Why it cannot be resumed.
        reason: String,
    },
    /// An earlier call of this writer failed, so it is unknown what has been stored since its last checkpoint.
    #[error("{location}: an earlier write failed: {reason}")]
    Poisoned {
        /// The location that was being written.
        location: Location,
        /// The kind of the first failure.
        kind: StoreErrorKind,
        /// The first failure.
        reason: String,
    },
    /// The storage failed.
    #[error("{what}: {error}")]
    Io {
        /// What was being done, and to which path.
        what: String,
        /// What the operating system said.
        error: io::Error,
    },
}

/// How a caller should react to a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// The blob does not exist; do not retry.
    NotFound,
    /// The location is in use; take a fresh one.
    Exists,
    /// Another writer exists; wait until it is gone.
    Busy,
    /// There is no space; wait until some is freed.
    NoSpace,
    /// The request is invalid; give up.
    Invalid,
    /// The storage failed; retry later from the last checkpoint.
    Io,
}

/// What a failed read says about the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// They are missing, or fewer than expected.
    Bytes,
    /// The medium could not return these bytes. Only they may be lost, or everything on the medium.
    Medium,
    /// Nothing: the process or the machine cannot read at the moment, and the bytes may be intact.
    Nobody,
}

/// Errors by which Linux and its file systems report that a medium has lost data: EIO; EBADMSG and EILSEQ, a checksum
/// mismatch in the file system or the device below it; EUCLEAN, a damaged structure; ENODATA, a sector that the disk
/// can no longer read.
const MEDIUM_ERRORS: [Errno; 5] = [Errno::IO, Errno::BADMSG, Errno::ILSEQ, Errno::UCLEAN, Errno::NODATA];

impl From<NotALocation> for StoreError {
    fn from(NotALocation(location): NotALocation) -> Self {
        Self::BadLocation { location }
    }
}

impl StoreError {
    /// What this error says about the bytes if a read fails with it.
    pub fn blames(&self) -> Blame {
        match self {
            // The store has checked that the volume is mounted. An invalid location has no bytes.
            Self::NotFound { .. } | Self::BadRange { .. } | Self::BadLocation { .. } => Blame::Bytes,
            Self::Io { error, .. } if error.kind() == io::ErrorKind::UnexpectedEof => Blame::Bytes,
            Self::Io { error, .. }
                if Errno::from_io_error(error).is_some_and(|number| MEDIUM_ERRORS.contains(&number)) =>
            {
                Blame::Medium
            }
            _ => Blame::Nobody,
        }
    }

    /// How a caller should react.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::NotFound { .. } => StoreErrorKind::NotFound,
            Self::Exists { .. } => StoreErrorKind::Exists,
            Self::Busy { .. } => StoreErrorKind::Busy,
            Self::NoSpace { .. } => StoreErrorKind::NoSpace,
            Self::BadLocation { .. } | Self::BadRange { .. } | Self::BadCheckpoint { .. } => StoreErrorKind::Invalid,
            Self::Poisoned { kind, .. } => *kind,
            Self::Io { .. } => StoreErrorKind::Io,
        }
    }

    /// Whether the disk is full or the quota is used up.
    pub fn is_no_space(&self) -> bool {
        self.kind() == StoreErrorKind::NoSpace
    }

    /// Wraps an operating system error; a full disk or quota becomes `NoSpace`.
    pub(crate) fn from_io(what: impl Into<String>, error: io::Error) -> Self {
        let what = what.into();
        match error.kind() {
            // ENOSPC and EDQUOT.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { what, error },
            _ => Self::Io { what, error },
        }
    }
}

#[cfg(test)]
mod tests;
