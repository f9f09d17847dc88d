//! Where bytes lie, and how far they have come.
//!
//! Owns: the form of a location and of a checkpoint. Never: what they mean to a backend.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Hexadecimal digits in front of the slash: one of 256 directories.
pub(crate) const SHARD_DIGITS: usize = 2;
/// Hexadecimal digits behind the slash: a UUID.
const NAME_DIGITS: usize = 32;

/// The name of one blob's bytes in a store, `<2 hex digits>/<32 hex digits>`.
///
/// It says nothing about the content. Whoever takes a fresh one records it before the first byte is written; after that
/// it is never given to other bytes, so that a late delete can never remove what somebody else has just written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Location(String);

impl Location {
    /// A location that nobody has used.
    pub fn fresh() -> Self {
        let name = Uuid::now_v7().simple().to_string();
        // The front of a v7 UUID is the time, which would put everything of one hour into one directory. The end is random.
        let shard = &name[NAME_DIGITS - SHARD_DIGITS..];
        Self(format!("{shard}/{name}"))
    }

    /// The location as it is recorded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory and the file name. Every backend calls this before it touches anything, so a location that was not
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
    /// Takes a location as it was recorded. Its form is checked where it is used.
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

/// How much of an unfinished blob is durable. With it, writing goes on in any process that reaches the same store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// So many bytes survive a power cut; the next byte goes here.
    pub offset_bytes: u64,
    /// What the backend must know to go on. Only the backend reads it.
    pub state: String,
}

#[cfg(test)]
mod tests;
