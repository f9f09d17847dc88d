//! A manifest as clients get it.

use bytes::Bytes;
use transship_oci::Digest;

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// The raw bytes.
    pub raw: Bytes,
}

impl From<transship_catalog::StoredManifest> for StoredManifest {
    fn from(stored: transship_catalog::StoredManifest) -> Self {
        Self { digest: stored.digest, media_type: stored.media_type, raw: Bytes::from(stored.raw) }
    }
}
