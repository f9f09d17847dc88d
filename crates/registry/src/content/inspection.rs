//! Checks whether the bytes of a blob are correct, and takes the blob out of service if they are not.
//!
//! Owns: that judgement. Never: when bytes are checked (`upkeep`, and every reader of a blob).

use futures::StreamExt as _;
use transship_catalog::Blob;
use transship_oci::Hasher;
use transship_store::{Blame, Location, StoreError};

use crate::content::pace::Pace;
use crate::content::service::Content;
use crate::error::ServiceError;

/// The result of checking a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The bytes are correct.
    Sound,
    /// The bytes are wrong, missing or unreadable, and the store itself works.
    Damaged(String),
}

impl Content {
    /// Reads and hashes a blob; reads a second time if the medium failed, since one failure may be the cable's.
    ///
    /// # Errors
    /// The store does not work, or the process lacks the resources to read, so the state of the blob is unknown.
    pub(crate) async fn inspect(&self, blob: &Blob, pace: &mut Pace) -> Result<Verdict, ServiceError> {
        let mut read = self.read_and_hash(blob, pace).await;
        if read.as_ref().is_err_and(|error| error.blames() == Blame::Medium) {
            read = self.read_and_hash(blob, pace).await;
        }
        match read {
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

    /// Checks that there are as many bytes as the row says, without reading any.
    ///
    /// # Errors
    /// As with [`Content::inspect`].
    pub(crate) async fn inspect_size(&self, blob: &Blob) -> Result<Verdict, ServiceError> {
        // Asks for the byte after the last one: the store refuses, and says how many bytes there are.
        let behind = blob.size_bytes..blob.size_bytes.saturating_add(1);
        match self.store().read(&Location::from(blob.location.clone()), Some(behind)).await {
            Err(StoreError::BadRange { size_bytes, .. }) if size_bytes == blob.size_bytes => Ok(Verdict::Sound),
            Err(StoreError::BadRange { size_bytes, .. }) => {
                Ok(Verdict::Damaged(wrong_size(size_bytes, blob.size_bytes)))
            }
            Err(error) => self.damage(&error).await,
            Ok(_) => Ok(Verdict::Damaged(format!("it has more than {} bytes", blob.size_bytes))),
        }
    }

    /// What a failed read says about the blob.
    ///
    /// The blob is damaged if its bytes are missing, or if the medium cannot read them although the store itself works.
    ///
    /// # Errors
    /// The read says nothing about the blob: the store does not work, or the process has too few file descriptors, too
    /// little memory or no right to read.
    pub(crate) async fn damage(&self, error: &StoreError) -> Result<Verdict, ServiceError> {
        let unknown = || ServiceError::StorageFault(error.to_string());
        match (error.blames(), error) {
            (Blame::Nobody, _) => Err(unknown()),
            (_, StoreError::NotFound { .. }) => Ok(Verdict::Damaged("its bytes are missing".to_owned())),
            _ => {
                self.store().probe().await?;
                Ok(Verdict::Damaged(format!("its bytes cannot be read: {error}")))
            }
        }
    }

    /// Takes a blob with wrong or missing bytes out of service. Returns `false` if its row has changed meanwhile.
    pub(crate) async fn quarantine(&self, blob: &Blob, reason: &str) -> Result<bool, ServiceError> {
        let quarantined = self.catalog().quarantine_blob(blob, reason).await?;
        if quarantined {
            tracing::error!(
                digest = %blob.digest,
                location = blob.location,
                "a blob was taken out of service: {reason}; it comes back with the next push of this content, or from a peer that has it"
            );
        }
        Ok(quarantined)
    }
}

fn wrong_size(actual: u64, expected: u64) -> String {
    format!("it has {actual} bytes instead of {expected}")
}
