//! A blob as it is found: where its bytes lie.

use transship_oci::{Digest, RepositoryName};
use transship_store::Location;

/// A blob that may be read.
#[derive(Clone, Debug)]
pub struct BlobContent {
    /// Its digest, as it was asked for.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
    pub(super) repository: RepositoryName,
    pub(super) location: Location,
}
