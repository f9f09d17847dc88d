//! Getting bytes back: from their old location, or from a peer that has the same digest.
//!
//! The asking region proves itself with a token that names one digest and the accounts that link it. The peer gives the
//! bytes only if an account of one of these names links the digest there too. Bytes from a peer are trusted no more
//! than those of any client: they are hashed on the way in, and linked only if they are right.

use futures::StreamExt as _;
use transship_catalog::{Abandon, Blob, NewUpload};
use transship_client::ClientError;
use transship_oci::{Hasher, RegionId};
use transship_store::{ByteStream, Location};

use super::{REPAIRS, millis};
use crate::content::inspection::Verdict;
use crate::content::pace::Pace;
use crate::error::ServiceError;
use crate::replication::region_tokens::RegionTokenError;
use crate::replication::region_tokens::RepairClaims;
use crate::upkeep::service::Upkeep;

/// The owner of the upload sessions of repairs: no user who can push has this id.
const NOBODY: &str = "!repair";
/// Maximum number of accounts in one repair token. A blob linked by more accounts is looked up through the first of
/// them.
const ACCOUNTS: usize = 16;
/// Maximum number of organizations that are searched for one whose bytes the asking peer may have.
const NAMESPACES: usize = 1000;
/// How long a repair may hold its session: longer than any transfer that is still worthwhile.
const SESSION_MS: i64 = 86_400_000;

/// The result of asking a peer.
enum Answer {
    /// The bytes are in place.
    Repaired,
    /// The peer does not have them, or not for these accounts.
    Lacks,
}

/// Why a peer could not be used.
#[derive(Debug, thiserror::Error)]
enum RepairError {
    #[error(transparent)]
    Peer(#[from] ClientError),
    #[error(transparent)]
    Own(#[from] ServiceError),
}

/// The asking side.
impl Upkeep {
    /// Tries every repair that is due.
    pub(super) async fn repair_due(&self) -> Result<(), ServiceError> {
        let pause_ms = millis(self.settings().scrub.repair_interval);
        for lost in self.catalog().claim_repairs(pause_ms, REPAIRS).await? {
            // The failure of one repair must not stop the others, which are claimed already.
            if let Err(error) = self.repair(&lost.blob).await {
                let (digest, reason) = (&lost.blob.digest, error.log_reason());
                tracing::warn!(%digest, reason, "the blob could not be repaired and is tried again later: {error}");
            }
        }
        Ok(())
    }

    async fn repair(&self, blob: &Blob) -> Result<(), ServiceError> {
        // Somebody may have put the file back, or the volume was only unplugged.
        let mut pace = Pace::new(self.settings().scrub.bytes_per_second);
        let is_sound = match self.content.inspect(blob, &mut pace).await {
            Ok(verdict) => verdict == Verdict::Sound,
            Err(error) => {
                // A peer may have what this process may not read here, and its bytes go to another location. A store
                // that does not work would not take them, so then the repair ends.
                self.store().probe().await?;
                let (digest, reason) = (&blob.digest, error.log_reason());
                tracing::warn!(%digest, reason, "the old bytes could not be checked, and peers are asked: {error}");
                false
            }
        };
        if is_sound {
            if self.catalog().release_blob(blob).await? {
                tracing::info!(digest = %blob.digest, "the bytes are right again where they were; the blob is back");
            }
            return Ok(());
        }
        let Some((repository_id, accounts)) = self.catalog().linked_by(&blob.digest, ACCOUNTS).await? else {
            return Ok(());
        };
        let peers: Vec<RegionId> =
            self.settings().peers.iter().filter(|peer| peer.repair).map(|peer| peer.id.clone()).collect();
        for region in &peers {
            match self.repair_from(region, repository_id, blob, &accounts).await {
                Ok(Answer::Repaired) => {
                    tracing::info!(digest = %blob.digest, peer = %region, "repaired: the bytes came from a peer");
                    return Ok(());
                }
                Ok(Answer::Lacks) => {}
                Err(error) => {
                    tracing::warn!(digest = %blob.digest, peer = %region, "no repair from this peer: {error}");
                }
            }
        }
        tracing::warn!(digest = %blob.digest, peers = peers.len(), "no peer could repair the blob; it is asked for again later");
        Ok(())
    }

    async fn repair_from(
        &self,
        region: &RegionId,
        repository_id: i64,
        blob: &Blob,
        accounts: &[String],
    ) -> Result<Answer, RepairError> {
        let Some(peer) = self.trust.peer_client(region) else { return Ok(Answer::Lacks) };
        let proof = self.trust.mint_repair_token(region, &blob.digest, accounts);
        let asked = peer.blob(&proof).await.map_err(|error| self.trust.explain_refused_proof(region, error));
        let Some(stream) = asked? else { return Ok(Answer::Lacks) };
        // An upload session records the location before its first byte is written, and frees it if this process dies.
        let upload = NewUpload {
            id: uuid::Uuid::new_v4().simple().to_string(),
            repository_id,
            user_id: NOBODY.to_owned(),
            most_of_user: i64::MAX,
            location: Location::fresh().to_string(),
            algorithm: blob.digest.algorithm(),
            life_ms: SESSION_MS,
        };
        self.catalog().create_upload(&upload).await.map_err(ServiceError::from)?;
        let lease = uuid::Uuid::new_v4().simple().to_string();
        let fresh = Location::fresh().to_string();
        let taken = self.catalog().take_writer(&upload.id, &lease, SESSION_MS, &fresh).await;
        taken.map_err(ServiceError::from)?.ok_or(ServiceError::UploadAbsent)?;
        let received = self.receive_repair(stream, blob, &upload, &lease).await;
        if received.is_err() {
            self.content.discard(&upload.id, Abandon::Writer(&lease)).await?;
        }
        received.map(|()| Answer::Repaired)
    }

    async fn receive_repair(
        &self,
        mut stream: transship_client::ByteStream,
        blob: &Blob,
        upload: &NewUpload,
        lease: &str,
    ) -> Result<(), RepairError> {
        let location = Location::from(upload.location.clone());
        let mut writer = self.store().create(&location).await.map_err(ServiceError::from)?;
        let mut hasher = Hasher::new(blob.digest.algorithm());
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            hasher.update(&piece);
            writer.write(piece).await.map_err(ServiceError::from)?;
            if writer.offset_bytes() > blob.size_bytes {
                break;
            }
        }
        let size_bytes = writer.finish().await.map_err(ServiceError::from)?;
        let actual = hasher.finish();
        if size_bytes != blob.size_bytes || actual != blob.digest {
            return Err(ServiceError::DigestMismatch { expected: blob.digest.clone(), actual }.into());
        }
        let finished = self.catalog().finish_repair(&upload.id, lease, &blob.digest, size_bytes).await;
        finished.map_err(ServiceError::from)?;
        Ok(())
    }
}

/// The answering side.
impl Upkeep {
    /// Sends the size and the bytes of a blob to another region that has lost it.
    ///
    /// # Errors
    /// [`ServiceError::BlobAbsent`] if no account that it names links the blob here, whether the blob exists or not;
    /// [`ServiceError::Denied`] if this peer gets no blobs; the inner error if the token is refused.
    pub async fn answer_repair(
        &self,
        proof: &str,
    ) -> Result<Result<(u64, ByteStream), RegionTokenError>, ServiceError> {
        let (peer, claims) = match self.trust.verify_region_token::<RepairClaims>(proof) {
            Ok(verified) => verified,
            Err(error) => return Ok(Err(error)),
        };
        let peer = &peer.settings;
        if !peer.repair {
            return Err(ServiceError::Denied(format!(
                "region {} gives no bytes to {}",
                self.settings().region,
                peer.id
            )));
        }
        if let Err(error) = self.trust.use_region_token(&claims).await? {
            return Ok(Err(error));
        }
        let absent = || ServiceError::BlobAbsent(claims.digest.clone());
        let mut accounts = claims.accounts.clone();
        accounts.truncate(ACCOUNTS);
        accounts.retain(|account| peer.accounts.matches(account));
        if !peer.namespaces.is_everything() {
            let names = self.catalog().namespaces_of_accounts(&claims.digest, &accounts, NAMESPACES).await?;
            if !names.iter().any(|name| peer.namespaces.matches(name)) {
                return Err(absent());
            }
        }
        let found = self.catalog().blob_of_accounts(&claims.digest, &accounts).await?.ok_or_else(absent)?;
        tracing::info!(digest = %claims.digest, peer = %peer.id, "gives a blob to a region that has lost it");
        let size_bytes = found.size_bytes;
        let stream = self.store().read(&Location::from(found.location), Some(0..size_bytes)).await?;
        Ok(Ok((size_bytes, stream)))
    }
}
