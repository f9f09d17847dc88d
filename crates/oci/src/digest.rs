//! Digests of content, and hashers whose state can be saved and restored in another process.
//!
//! Owns the text form `algorithm:hex` and the hashing itself. The caller compares the digest with the expected one.

use std::fmt;
use std::str::FromStr;

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

use crate::text::{GrammarError, checked_text};

/// The hash functions that a digest may name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256, which nearly all content uses.
    #[default]
    Sha256,
    /// SHA-512, registered by the OCI as the second choice.
    Sha512,
}

impl DigestAlgorithm {
    /// The name before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            DigestAlgorithm::Sha256 => "sha256",
            DigestAlgorithm::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits follow the colon.
    pub fn hex_len(self) -> usize {
        match self {
            DigestAlgorithm::Sha256 => 64,
            DigestAlgorithm::Sha512 => 128,
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for DigestAlgorithm {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        match text {
            "sha256" => Ok(DigestAlgorithm::Sha256),
            "sha512" => Ok(DigestAlgorithm::Sha512),
            _ => Err(GrammarError::new("digest algorithm", text, "sha256 or sha512")),
        }
    }
}

checked_text! {
    /// The digest of some content: `sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits.
    Digest, "digest", is_digest, "sha256: and 64, or sha512: and 128 lower-case hexadecimal digits"
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let Ok(algorithm) = algorithm.parse::<DigestAlgorithm>() else { return false };
    hex.len() == algorithm.hex_len() && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Digest {
    /// The digest of content that is already in memory, such as a manifest.
    pub fn of(algorithm: DigestAlgorithm, content: &[u8]) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// The hash function that the digest names.
    pub fn algorithm(&self) -> DigestAlgorithm {
        match self.0.as_bytes()[3] {
            b'2' => DigestAlgorithm::Sha256,
            _ => DigestAlgorithm::Sha512,
        }
    }

    /// The hexadecimal digits after the colon.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

/// Hashes content piece by piece.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher without any input yet.
    pub fn new(algorithm: DigestAlgorithm) -> Hasher {
        Hasher(match algorithm {
            DigestAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            DigestAlgorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// The hash function that is used.
    pub fn algorithm(&self) -> DigestAlgorithm {
        match self.0 {
            State::Sha256(_) => DigestAlgorithm::Sha256,
            State::Sha512(_) => DigestAlgorithm::Sha512,
        }
    }

    /// Hashes the next piece of the content.
    pub fn update(&mut self, piece: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(piece),
            State::Sha512(state) => state.update(piece),
        }
    }

    /// Returns the digest of all pieces.
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let hex = match self.0 {
            State::Sha256(state) => hex::encode(state.finalize()),
            State::Sha512(state) => hex::encode(state.finalize()),
        };
        Digest(format!("{algorithm}:{hex}"))
    }

    /// Returns the state as text, so that another process can continue with [`Hasher::restore`].
    pub fn save(&self) -> String {
        let hex = match &self.0 {
            State::Sha256(state) => hex::encode(state.serialize()),
            State::Sha512(state) => hex::encode(state.serialize()),
        };
        format!("{}:{hex}", self.algorithm())
    }

    /// Restores a hasher from the text that [`Hasher::save`] returned.
    pub fn restore(saved: &str) -> Result<Hasher, GrammarError> {
        let invalid = || GrammarError::new("hash state", saved, "the text that a hasher of this version saved");
        let (algorithm, hex) = saved.split_once(':').ok_or_else(invalid)?;
        let bytes = hex::decode(hex).map_err(|_| invalid())?;
        let state = match algorithm.parse() {
            Ok(DigestAlgorithm::Sha256) => restore_state(&bytes).map(State::Sha256),
            Ok(DigestAlgorithm::Sha512) => restore_state(&bytes).map(State::Sha512),
            Err(_) => None,
        };
        state.map(Hasher).ok_or_else(invalid)
    }
}

fn restore_state<T: SerializableState>(bytes: &[u8]) -> Option<T> {
    let state = SerializedState::<T>::try_from(bytes).ok()?;
    T::deserialize(&state).ok()
}

impl fmt::Debug for Hasher {
    /// Shows only the algorithm: the state is as secret as the content.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hasher({})", self.algorithm())
    }
}

#[cfg(test)]
mod tests;
