//! The key that a region is going to prove itself by. Peers pin it beside the present one before it takes that one's place, so
//! that no request is refused meanwhile.

use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::{KeyError, Keys, load_or_create};

/// Name of its file, until it is renamed to that of the region's key.
const NEXT_REGION_KEY_FILE: &str = "region.key.next";

impl Keys {
    /// The public half of the next key, which is made unless there is one.
    ///
    /// # Errors
    /// When its file cannot be made or read, holds something else, or can be read by other users of the machine.
    pub fn next_region_key(data_dir: &Path) -> Result<String, KeyError> {
        let path = data_dir.join(NEXT_REGION_KEY_FILE);
        let text = load_or_create(&path, || {
            let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
                .map_err(|_| "the system gave no randomness".to_owned())?;
            Ok(BASE64.encode(document.as_ref()))
        })?;
        let bad = || KeyError { path: path.clone(), reason: "is not an Ed25519 key in PKCS#8, in base64".to_owned() };
        let pkcs8 = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| bad())?);
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| bad())?;
        Ok(BASE64.encode(pair.public_key()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_key_waits_beside_the_present_one_until_it_is_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let present = Keys::load_or_create(dir.path()).unwrap().region_public_key();
        let next = Keys::next_region_key(dir.path()).unwrap();
        assert_ne!(next, present);
        assert_eq!(Keys::next_region_key(dir.path()).unwrap(), next, "it is made once");
        assert_eq!(Keys::load_or_create(dir.path()).unwrap().region_public_key(), present);
        std::fs::rename(dir.path().join(NEXT_REGION_KEY_FILE), dir.path().join("region.key")).unwrap();
        assert_eq!(Keys::load_or_create(dir.path()).unwrap().region_public_key(), next);
    }
}
