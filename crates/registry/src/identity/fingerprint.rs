//! Public keys of regions, in the form that people write and compare.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The raw bytes of a public key.
pub(crate) fn decode_public_key(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.trim()).ok()?;
    (bytes.len() == 32).then_some(bytes)
}

/// [`fingerprint`] of a key in the form that peers pin; `None` if the text is not such a key.
pub fn key_fingerprint(public_key: &str) -> Option<String> {
    decode_public_key(public_key).map(|key| fingerprint(&key))
}

/// The text by which people compare keys: short enough to read aloud, and useless to anybody who has only this text.
pub(crate) fn fingerprint(public_key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(public_key)))
}
