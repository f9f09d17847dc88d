//! A manifest in the form that clients get.

use bytes::Bytes;
use transship_oci::Digest;

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// Its size.
    pub size_bytes: u64,
    /// The raw bytes; `None` for a large manifest, which needs room first (`Content::send_manifest`).
    pub raw: Option<Bytes>,
}
