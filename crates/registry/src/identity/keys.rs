//! The secrets of a region: its Ed25519 identity, and one master secret from which every other key is derived.
//!
//! Owns: the two key files ([`files`]), the check that they belong to the catalog ([`check`]), their replacement
//! ([`replace`]), sealing of secret keys at rest, derivation of token keys. Never: who may use them.

mod check;
mod files;
mod replace;

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
use transship_catalog::CatalogError;
use zeroize::Zeroizing;

pub use check::FoundKeys;
pub use replace::{NewKey, Replaced};

/// Name of the file with the region's identity, PKCS#8 in base64.
const REGION_KEY_FILE: &str = "region.key";
/// Name of the file with the master secret, 32 bytes in hex.
const SECRETS_KEY_FILE: &str = transship_catalog::SECRETS_KEY;
/// 96 bits, the nonce size of AES-GCM.
const NONCE_BYTES: usize = 12;

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key file cannot be created, read or trusted.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Key files are missing although the catalog was used with them; one sentence for each.
    #[error("{0}")]
    Missing(String),
    /// The catalog cannot say which keys it was used with, or refuses these.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl KeyError {
    fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), reason: reason.into() }
    }
}

/// The keys of this region.
pub struct Keys {
    region_signing: EncodingKey,
    sealing: Sealing,
    region_check: String,
    secrets_check: String,
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
    /// The key files, in the data directory.
    pub const FILES: [&'static str; 2] = [REGION_KEY_FILE, SECRETS_KEY_FILE];

    /// Reads the keys of a region from its data directory, and creates missing ones.
    ///
    /// It does not check whether they belong to a catalog: see [`Keys::of_catalog`].
    ///
    /// # Errors
    /// When a file cannot be created or read, holds something else, or is readable by other users of the machine.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, KeyError> {
        files::remove_left_behind(data_dir);
        let region =
            RegionKey::from_text(&data_dir.join(REGION_KEY_FILE), &files::load_or_create(data_dir, REGION_KEY_FILE)?)?;
        let master =
            Master::from_text(&data_dir.join(SECRETS_KEY_FILE), &files::load_or_create(data_dir, SECRETS_KEY_FILE)?)?;
        Ok(Self::new(&region, &master))
    }

    fn new(region: &RegionKey, master: &Master) -> Self {
        Self {
            region_signing: EncodingKey::from_ed_der(&region.pkcs8),
            sealing: master.sealing(),
            region_check: region.check(),
            secrets_check: master.check(),
            registry_token: SymmetricKey::new(master.derive("registry tokens").as_slice()),
            iam_token: SymmetricKey::new(master.derive("IAM tokens").as_slice()),
            refresh_token: SymmetricKey::new(master.derive("refresh tokens").as_slice()),
        }
    }

    /// The public half of the region's identity, as peers pin it: base64 of the 32 raw bytes.
    pub fn region_public_key(&self) -> String {
        self.region_check.clone()
    }

    /// The fingerprint by which people compare that key.
    pub fn region_fingerprint(&self) -> String {
        crate::identity::fingerprint::key_fingerprint(&self.region_check).expect("the key's own text is one")
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
        self.sealing.seal(owner, secret)
    }

    /// Decrypts a secret that [`Keys::seal`] encrypted for the same owner.
    pub(crate) fn open(&self, owner: &str, sealed: &str) -> Option<String> {
        self.sealing.open(owner, sealed)
    }
}

/// The identity of a region, read from its file.
struct RegionKey {
    public: Vec<u8>,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl RegionKey {
    fn generate() -> Result<Zeroizing<String>, String> {
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new())
            .map_err(|_| "the system gave no randomness".to_owned())?;
        Ok(Zeroizing::new(BASE64.encode(document.as_ref())))
    }

    /// Parses the file's text; `path` is for the error only.
    fn from_text(path: &Path, text: &str) -> Result<Self, KeyError> {
        let pkcs8 = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| KeyError::file(path, "is not base64"))?);
        let pair =
            Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| KeyError::file(path, "is not an Ed25519 key in PKCS#8"))?;
        Ok(Self { public: pair.public_key().as_ref().to_vec(), pkcs8 })
    }

    /// The value that identifies the key: the public key, as peers pin it.
    fn check(&self) -> String {
        BASE64.encode(&self.public)
    }
}

/// The master secret, read from its file.
struct Master(Zeroizing<Vec<u8>>);

impl Master {
    fn generate() -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        rand::rng().fill_bytes(bytes.as_mut());
        Zeroizing::new(hex::encode(*bytes))
    }

    /// Parses the file's text; `path` is for the error only.
    fn from_text(path: &Path, text: &str) -> Result<Self, KeyError> {
        let bytes = hex::decode(text.trim()).ok().filter(|bytes| bytes.len() == 32);
        bytes
            .map(|bytes| Self(Zeroizing::new(bytes)))
            .ok_or_else(|| KeyError::file(path, "is not 64 hexadecimal digits"))
    }

    /// HMAC-SHA256 as a key derivation: an independent key for each purpose.
    ///
    /// So no token of one kind can ever verify as another.
    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    /// The value that identifies the secret and reveals nothing else: half of a value derived for this purpose alone.
    fn check(&self) -> String {
        hex::encode(&self.derive("which secrets.key this is")[..16])
    }

    /// Whether this key opens a sealed secret.
    fn opens(&self, access_key: &str, sealed: &str) -> bool {
        self.sealing().open(access_key, sealed).is_some()
    }

    fn sealing(&self) -> Sealing {
        let key = self.derive("secret keys at rest");
        let cipher = <Aes256Gcm as aes_gcm::KeyInit>::new_from_slice(key.as_slice());
        Sealing(cipher.expect("derived keys have 32 bytes"))
    }
}

/// The key that seals secrets.
struct Sealing(Aes256Gcm);

impl Sealing {
    fn seal(&self, owner: &str, secret: &str) -> String {
        let mut nonce = [0_u8; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: secret.as_bytes(), aad: owner.as_bytes() };
        let sealed =
            self.0.encrypt(Nonce::from_slice(&nonce), payload).expect("a secret is far below the limit of AES-GCM");
        BASE64.encode([&nonce[..], &sealed].concat())
    }

    fn open(&self, owner: &str, sealed: &str) -> Option<String> {
        let bytes = BASE64.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES)?;
        let payload = Payload { msg: sealed, aad: owner.as_bytes() };
        String::from_utf8(self.0.decrypt(Nonce::from_slice(nonce), payload).ok()?).ok()
    }
}

impl SymmetricKey {
    fn new(key: &[u8]) -> Self {
        Self { signing: EncodingKey::from_secret(key), verifying: DecodingKey::from_secret(key) }
    }
}

#[cfg(test)]
mod tests;
