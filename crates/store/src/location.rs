//! Locations and checkpoints: where a blob is stored, and how much of it is durable.
//!
//! Owns: the form of a location and of a checkpoint. Never: how a backend uses them.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Hexadecimal digits before the slash, which name one of 256 directories.
pub(crate) const SHARD_DIGITS: usize = 2;
/// Hexadecimal digits after the slash: a UUID.
const NAME_DIGITS: usize = 32;

/// The name of one blob's bytes in a store, `<2 hex digits>/<32 hex digits>`.
///
/// It says nothing about the content. The caller of [`Location::fresh`] records the location before the first byte is
/// written. It is never reused for other bytes, so a late delete can never remove bytes that somebody else has just
/// written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Location(String);

impl Location {
    /// A location that nobody has used.
    pub fn fresh() -> Self {
        let name = Uuid::now_v7().simple().to_string();
        // A v7 UUID begins with the time, which would put all blobs of one hour into one directory. Its end is random.
        let shard = &name[NAME_DIGITS - SHARD_DIGITS..];
        Self(format!("{shard}/{name}"))
    }

    /// The location as it is recorded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the directory and the file name. Every backend calls this before any access, so a location that was not
    /// made by [`Location::fresh`] can never name a path outside the store.
    pub(crate) fn parts(&self) -> Result<(&str, &str), NotALocation> {
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match self.0.split_once('/') {
            Some((shard, name))
                if shard.len() == SHARD_DIGITS && name.len() == NAME_DIGITS && is_hex(shard) && is_hex(name) =>
            {
                Ok((shard, name))
            }
            _ => Err(NotALocation(self.clone())),
        }
    }
}

/// A text that [`Location::fresh`] did not make.
#[derive(Debug)]
pub(crate) struct NotALocation(pub(crate) Location);

impl From<String> for Location {
    /// Wraps a recorded location. Its form is checked when it is used.
    fn from(recorded: String) -> Self {
        Self(recorded)
    }
}

impl AsRef<str> for Location {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How much of an unfinished blob is durable. Any process with access to the same store can continue from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The number of bytes that survive a power cut, and the offset of the next byte.
    pub offset_bytes: u64,
    /// Information that the backend needs to continue. Only the backend reads it.
    pub state: String,
}

#[cfg(test)]
mod tests;
