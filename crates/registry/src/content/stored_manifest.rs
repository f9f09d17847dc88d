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
    /// How many bytes it has.
    pub size_bytes: u64,
    /// The raw bytes; not those of a large one, which takes room first (`Content::send_manifest`).
    pub raw: Option<Bytes>,
}
