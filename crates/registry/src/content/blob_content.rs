//! A blob that was found, with the location of its bytes.

use transship_oci::{Digest, RepositoryName};
use transship_store::Location;

/// A blob that the caller may read.
#[derive(Clone, Debug)]
pub struct BlobContent {
    /// Its digest, as the request gave it.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    pub(super) repository: RepositoryName,
    pub(super) location: Location,
}
