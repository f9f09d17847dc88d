//! The secrets of a region: its Ed25519 identity, and one master secret from which every other key is derived.
//!
//! Owns: the two key files, sealing of secret keys at rest, the derivation of token keys. Never: who may use them.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rand::RngCore as _;
use sha2::Sha256;
use zeroize::Zeroizing;

mod next;

/// Name of the file with the region's identity, PKCS#8 in base64.
const REGION_KEY_FILE: &str = "region.key";
/// Name of the file with the master secret, 32 bytes in hex.
const SECRETS_KEY_FILE: &str = "secrets.key";
/// 96 bits, the nonce size of AES-GCM.
const NONCE_BYTES: usize = 12;

/// A key file that cannot be made, read or trusted.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct KeyError {
    path: PathBuf,
    reason: String,
}

/// The keys of this region.
pub struct Keys {
    region_public: Vec<u8>,
    region_signing: EncodingKey,
    sealing: Aes256Gcm,
    registry_token: SymmetricKey,
    iam_token: SymmetricKey,
    refresh_token: SymmetricKey,
}

/// A key that signs and verifies one kind of token.
pub(crate) struct SymmetricKey {
    pub(crate) signing: EncodingKey,
    pub(crate) verifying: DecodingKey,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("region_public", &self.region_public_key()).finish_non_exhaustive()
    }
}

impl Keys {
    /// The files that they lie in, below the data directory.
    pub const FILES: [&'static str; 2] = [REGION_KEY_FILE, SECRETS_KEY_FILE];

    /// Reads the keys of a region from its data directory, and makes those that are not there yet.
    ///
    /// # Errors
    /// When a file cannot be made or read, holds something else, or can be read by other users of the machine.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, KeyError> {
        let region_path = data_dir.join(REGION_KEY_FILE);
        let region = load_or_create(&region_path, || {
            let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
                .map_err(|_| "the system gave no randomness".to_owned())?;
            Ok(BASE64.encode(document.as_ref()))
        })?;
        let bad_region = |reason: &str| KeyError { path: region_path.clone(), reason: reason.to_owned() };
        let pkcs8 = Zeroizing::new(BASE64.decode(region.trim()).map_err(|_| bad_region("is not base64"))?);
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| bad_region("is not an Ed25519 key in PKCS#8"))?;

        let secrets_path = data_dir.join(SECRETS_KEY_FILE);
        let secrets = load_or_create(&secrets_path, || {
            let mut bytes = Zeroizing::new([0_u8; 32]);
            rand::rng().fill_bytes(bytes.as_mut());
            Ok(hex::encode(*bytes))
        })?;
        let master = hex::decode(secrets.trim())
            .ok()
            .filter(|bytes| bytes.len() == 32)
            .ok_or_else(|| KeyError { path: secrets_path, reason: "is not 64 hexadecimal digits".to_owned() })?;
        let master = Zeroizing::new(master);

        Ok(Self {
            region_public: pair.public_key().as_ref().to_vec(),
            region_signing: EncodingKey::from_ed_der(&pkcs8),
            sealing: <Aes256Gcm as aes_gcm::KeyInit>::new_from_slice(derive(&master, "secret keys at rest").as_slice())
                .expect("derived keys have 32 bytes"),
            registry_token: SymmetricKey::new(derive(&master, "registry tokens").as_slice()),
            iam_token: SymmetricKey::new(derive(&master, "IAM tokens").as_slice()),
            refresh_token: SymmetricKey::new(derive(&master, "refresh tokens").as_slice()),
        })
    }

    /// The public half of the region's identity, as peers pin it: base64 of the 32 raw bytes.
    pub fn region_public_key(&self) -> String {
        BASE64.encode(&self.region_public)
    }

    /// What people compare that key by.
    pub fn region_fingerprint(&self) -> String {
        crate::peers::fingerprint(&self.region_public)
    }

    pub(crate) const fn region_signing(&self) -> &EncodingKey {
        &self.region_signing
    }

    pub(crate) const fn registry_token(&self) -> &SymmetricKey {
        &self.registry_token
    }

    pub(crate) const fn iam_token(&self) -> &SymmetricKey {
        &self.iam_token
    }

    pub(crate) const fn refresh_token(&self) -> &SymmetricKey {
        &self.refresh_token
    }

    /// Encrypts a secret for the catalog; `owner` (its access key) is bound to it, so that rows cannot be swapped.
    pub(crate) fn seal(&self, owner: &str, secret: &str) -> String {
        let mut nonce = [0_u8; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: secret.as_bytes(), aad: owner.as_bytes() };
        let sealed = self
            .sealing
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("a secret is far below the limit of AES-GCM");
        BASE64.encode([&nonce[..], &sealed].concat())
    }

    /// Decrypts what [`Keys::seal`] made for the same owner.
    pub(crate) fn open(&self, owner: &str, sealed: &str) -> Option<String> {
        let bytes = BASE64.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES)?;
        let payload = Payload { msg: sealed, aad: owner.as_bytes() };
        String::from_utf8(self.sealing.decrypt(Nonce::from_slice(nonce), payload).ok()?).ok()
    }
}

impl SymmetricKey {
    fn new(key: &[u8]) -> Self {
        Self { signing: EncodingKey::from_secret(key), verifying: DecodingKey::from_secret(key) }
    }
}

/// HMAC-SHA256 as a key derivation: one independent key for each purpose, so that no token of one kind can ever verify
/// as another.
fn derive(master: &[u8], purpose: &str) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(master).expect("HMAC takes keys of any length");
    mac.update(purpose.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn load_or_create(path: &Path, make: impl FnOnce() -> Result<String, String>) -> Result<Zeroizing<String>, KeyError> {
    let fail = |reason: String| KeyError { path: path.to_owned(), reason };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            return Err(fail(format!(
                "has mode {:03o}, so other users can read it; run chmod 600 on it",
                metadata.permissions().mode() & 0o777
            )));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = Zeroizing::new(make().map_err(fail)?);
            create(path, &text).map_err(|error| fail(format!("cannot be made: {error}")))?;
        }
        Err(error) => return Err(fail(format!("cannot be looked at: {error}"))),
    }
    // Read back even what was just made: when two processes start at once, both use the file that won.
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| fail(format!("cannot be read: {error}")))
}

/// Makes the file whole or not at all: a temporary file, synced, then linked under its name, which fails when another
/// process was faster.
fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
