//! Whether the bytes of a blob are what they should be.

use futures::StreamExt as _;
use transship_catalog::Blob;
use transship_oci::Hasher;
use transship_store::{Location, StoreError};

use super::Pace;
use crate::{Registry, ServiceError};

/// What reading a blob showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The bytes are right.
    Sound,
    /// They are wrong, missing or cannot be read, and the store as such works.
    Damaged(String),
}

impl Registry {
    /// Reads and hashes a blob.
    ///
    /// # Errors
    /// The store does not work, so nothing is known about the blob.
    pub(crate) async fn inspect(&self, blob: &Blob, pace: &mut Pace) -> Result<Verdict, ServiceError> {
        match self.read_and_hash(blob, pace).await {
            Ok(verdict) => Ok(verdict),
            Err(error) => self.damage(&error).await,
        }
    }

    async fn read_and_hash(&self, blob: &Blob, pace: &mut Pace) -> Result<Verdict, StoreError> {
        let mut stream = self.store().read(&Location::from(blob.location.clone()), None).await?;
        let mut hasher = Hasher::new(blob.digest.algorithm());
        let mut size_bytes = 0_u64;
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            pace.pass(piece.len()).await;
            size_bytes += piece.len() as u64;
            hasher.update(&piece);
        }
        if size_bytes != blob.size_bytes {
            return Ok(Verdict::Damaged(wrong_size(size_bytes, blob.size_bytes)));
        }
        let actual = hasher.finish();
        Ok(if actual == blob.digest {
            Verdict::Sound
        } else {
            Verdict::Damaged(format!("its bytes have digest {actual}"))
        })
    }

    /// What a failed read says about the blob.
    ///
    /// # Errors
    /// The store does not work, so it says nothing.
    pub(crate) async fn damage(&self, error: &StoreError) -> Result<Verdict, ServiceError> {
        match error {
            // The store has made sure that the volume is there.
            StoreError::NotFound { .. } => Ok(Verdict::Damaged("its bytes are missing".to_owned())),
            StoreError::Io { .. } | StoreError::BadRange { .. } | StoreError::BadLocation { .. } => {
                self.store().probe().await?;
                Ok(Verdict::Damaged(format!("its bytes cannot be read: {error}")))
            }
            _ => Err(ServiceError::Internal(error.to_string())),
        }
    }
}

pub(crate) fn wrong_size(actual: u64, expected: u64) -> String {
    format!("it has {actual} bytes instead of {expected}")
}
