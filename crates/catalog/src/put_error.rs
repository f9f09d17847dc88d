//! Why a manifest was not stored, or a tag not moved: one error for both, since storing a manifest moves tags.

use transship_oci::{Digest, Tag};

use crate::CatalogError;
use crate::retry::fallible;

/// Why a manifest was not stored, or a tag not moved. Nothing is changed.
#[derive(Debug, thiserror::Error)]
pub enum PutManifestError {
    /// The repository does not link a blob that the manifest needs.
    #[error("blob {0} is unknown to the repository")]
    BlobUnknown(Digest),
    /// The repository does not hold a manifest that is needed.
    #[error("manifest {0} is unknown to the repository")]
    ChildUnknown(Digest),
    /// The manifest states a wrong size for a blob or another manifest.
    #[error("{digest} has {actual} bytes, not {expected}")]
    SizeDiffers {
        /// The blob or manifest.
        digest: Digest,
        /// The size that the manifest states.
        expected: u64,
        /// The size that it has.
        actual: u64,
    },
    /// A tag may not move, because it does not meet the condition.
    #[error("tag {tag} does not meet the condition")]
    ConditionFailed {
        /// The tag.
        tag: Tag,
        /// What it points at.
        current: Option<Digest>,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

fallible!(PutManifestError);
