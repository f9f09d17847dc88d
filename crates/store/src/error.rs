//! What can go wrong with bytes.
//!
//! Owns: the kinds, and which operating system errors are which. Never: what an API answers.

use std::io;
use std::ops::Range;

use rustix::io::Errno;

use crate::location::{Location, NotALocation};

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There are no bytes at this location.
    #[error("{location} does not exist")]
    NotFound {
        /// What was asked for.
        location: Location,
    },
    /// A location is written once, and this one was.
    #[error("{location} exists already")]
    Exists {
        /// What was to be created.
        location: Location,
    },
    /// An earlier writer of this location still lives.
    #[error("{location} is held by another writer")]
    Busy {
        /// What was to be written.
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
    /// Not a location that [`Location::fresh`] gives.
    #[error("'{location}' is not a location")]
    BadLocation {
        /// The text.
        location: Location,
    },
    /// The range does not lie within the bytes.
    #[error("bytes {}..{} of {location}, which has {size_bytes}", range.start, range.end)]
    BadRange {
        /// What was to be read.
        location: Location,
        /// Which of its bytes.
        range: Range<u64>,
        /// How many it has.
        size_bytes: u64,
    },
    /// The checkpoint does not fit what is stored; the blob must be written anew under a fresh location.
    #[error("{location} cannot go on from its checkpoint: {reason}")]
    BadCheckpoint {
        /// What was to be resumed.
        location: Location,
        /// Why not.
        reason: String,
    },
    /// An earlier call of this writer failed, so nobody knows what it has stored since its last checkpoint.
    #[error("{location}: an earlier write failed: {reason}")]
    Poisoned {
        /// What was being written.
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

/// What a caller does about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// Nothing is there; asking again does not help.
    NotFound,
    /// Something is there; take a fresh location.
    Exists,
    /// Wait until the other writer is gone.
    Busy,
    /// Wait until somebody has made room.
    NoSpace,
    /// The request makes no sense; give up.
    Invalid,
    /// The storage failed: try again later, from the last checkpoint.
    Io,
}

/// What a failed read says about the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// They are not there, or fewer than there should be.
    Bytes,
    /// The medium could not give these bytes back. It may be only they, and it may be all that lies on it.
    Medium,
    /// Nothing: the process or the machine could not read now, whatever lies there.
    Nobody,
}

/// The errors by which Linux and its file systems say that a medium has lost what it should hold: EIO; EBADMSG and EILSEQ, a
/// checksum of the file system or of the device below it that does not fit; EUCLEAN, a damaged structure; ENODATA, a
/// sector that a disk has given up.
const MEDIUM_ERRORS: [Errno; 5] = [Errno::IO, Errno::BADMSG, Errno::ILSEQ, Errno::UCLEAN, Errno::NODATA];

impl From<NotALocation> for StoreError {
    fn from(NotALocation(location): NotALocation) -> Self {
        Self::BadLocation { location }
    }
}

impl StoreError {
    /// What it says about the bytes when a read ends with it.
    pub fn blames(&self) -> Blame {
        match self {
            // The store has made sure that the volume is there. A location that cannot be one has no bytes either.
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

    /// What to do about it.
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

    /// An operating system error, with the full disk told apart.
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
