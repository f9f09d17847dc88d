//! Values derived from the secret of an access key.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// Length of the part of a hash of the secret that is kept, just enough to notice that the secret was replaced.
const FINGERPRINT_BYTES: usize = 8;

/// The long-term registry password of an access key (contract 7.5).
pub(crate) fn derived_password(access_key: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(access_key.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The part of a hash of the secret that a refresh token carries.
pub(crate) fn fingerprint(access_key: &str, secret: &str) -> String {
    let hash = Sha256::digest(format!("refresh {}", derived_password(access_key, secret)));
    hex::encode(&hash[..FINGERPRINT_BYTES])
}
