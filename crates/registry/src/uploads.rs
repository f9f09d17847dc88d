//! Upload sessions: how bytes arrive, and how a session goes on after either end has died.
//!
//! The session's state is a row (offset, hash state, store state), renewed at each checkpoint; what came after the last
//! checkpoint is thrown away when the session goes on. Owns: that order. Never: what a digest may be used for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use transship_catalog::{CatalogError, NewUpload, Upload};
use transship_oci::{ContentRange, Digest, DigestAlgorithm, Hasher, RepositoryName};
use transship_store::{BlobWriter, Checkpoint, Location};

use crate::logins::now_ms;
use crate::registry::detached;
use crate::{Grant, Registry, ServiceError};

/// A checkpoint each so many bytes: what a crash can cost at most.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// … or each so much time, for slow links.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// A writer that has shown no sign of life for this long has lost its session to the next one. Six checkpoints' time.
const WRITER_LEASE_MS: i64 = 30_000;
/// How long a request waits for an earlier writer of its session, which may be at its last sync for a client that is gone
/// and has come back.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);
/// How often it asks meanwhile.
const WRITER_INTERVAL: Duration = Duration::from_millis(50);
/// A client that sends nothing for this long is gone.
const BODY_IDLE: Duration = Duration::from_mins(1);

/// Where an upload session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// The session's id: 128 random bits.
    pub session: String,
    /// Bytes that are durable; the next chunk starts here.
    pub offset_bytes: u64,
}

/// A request body: frames of bytes, or the reason why there are no more.
pub type Body = std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

impl Registry {
    /// Opens an upload session; the repository is made when absent.
    pub async fn start_upload(
        &self,
        grant: &Grant,
        name: &RepositoryName,
        algorithm: DigestAlgorithm,
    ) -> Result<UploadStatus, ServiceError> {
        let repository = self.repository_to_push(grant, name).await?;
        let session = uuid::Uuid::new_v4().simple().to_string();
        let expiry_ms = i64::try_from(self.settings().upload_expiry.as_millis()).unwrap_or(i64::MAX);
        let limit = self.settings().upload_sessions_per_user;
        let opened = self
            .catalog()
            .create_upload(&NewUpload {
                id: session.clone(),
                repository_id: repository.id,
                user_id: grant.user_id().to_owned(),
                location: Location::fresh().to_string(),
                algorithm,
                expires_at_ms: now_ms().saturating_add(expiry_ms),
                most_of_user: limit,
            })
            .await?;
        if !opened {
            return Err(ServiceError::TooManyUploads { limit });
        }
        Ok(UploadStatus { session, offset_bytes: 0 })
    }

    /// Where a session stands.
    pub async fn upload_status(
        &self,
        grant: &Grant,
        name: &RepositoryName,
        session: &str,
    ) -> Result<UploadStatus, ServiceError> {
        let upload = self.upload(grant, name, session).await?;
        Ok(UploadStatus { session: upload.id, offset_bytes: upload.offset_bytes })
    }

    /// Takes a session back and frees its bytes.
    pub async fn cancel_upload(&self, grant: &Grant, name: &RepositoryName, session: &str) -> Result<(), ServiceError> {
        let upload = self.upload(grant, name, session).await?;
        self.discard(&upload).await
    }

    /// Appends a body to a session. Returns once its bytes are durable.
    ///
    /// # Errors
    /// [`ServiceError::RangeInvalid`] when `range` does not start where the session stands; nothing is changed then.
    pub async fn append_upload(
        &self,
        grant: &Grant,
        name: &RepositoryName,
        session: &str,
        range: Option<ContentRange>,
        body: Body,
    ) -> Result<UploadStatus, ServiceError> {
        let upload = self.upload(grant, name, session).await?;
        let registry = self.clone();
        detached(async move {
            // A stream does not say where it belongs, so it must not follow what another request brings meanwhile.
            let patience = if range.is_some() { WRITER_PATIENCE } else { Duration::ZERO };
            let mut receiving = Receiving::begin(&registry, upload, range, patience).await?;
            let received = receiving.receive(&registry, range, body).await;
            if let Err(error @ ServiceError::NamespaceFull(_)) = received {
                // It never fits, so its bytes are not kept for a next chunk.
                registry.discard(&receiving.upload).await?;
                return Err(error);
            }
            receiving.pause(&registry).await?;
            received?;
            Ok(UploadStatus { session: receiving.upload.id, offset_bytes: receiving.durable_bytes })
        })
        .await
    }

    /// Appends what is left, compares the digest, and links the blob to the repository. May be repeated with the same
    /// digest when the answer was lost: whoever finished the session gets the same answer again for a while (I22).
    ///
    /// A body without a range begins where the session stands, and counts only when it comes whole, so that it too can be
    /// repeated after it was cut short.
    ///
    /// # Errors
    /// [`ServiceError::DigestMismatch`]: the session is gone then, as its bytes are not what they were said to be.
    pub async fn finish_upload(
        &self,
        grant: &Grant,
        name: &RepositoryName,
        session: &str,
        range: Option<ContentRange>,
        body: Body,
        expected: Digest,
    ) -> Result<(), ServiceError> {
        let repository = self.catalog().find_repository(name).await?.ok_or(ServiceError::UploadAbsent)?;
        let finished = FinishedUpload {
            session: session.to_owned(),
            repository_id: repository.id,
            user_id: grant.user_id().to_owned(),
            digest: expected.clone(),
        };
        let upload = match self.upload(grant, name, session).await {
            Err(ServiceError::UploadAbsent) => return finished.repeat(self, body).await,
            found => found?,
        };
        let registry = self.clone();
        // On the heap: it would make the future of every request as large.
        detached(Box::pin(async move {
            let mut receiving = match Receiving::begin(&registry, upload, range, WRITER_PATIENCE).await {
                Err(ServiceError::UploadAbsent) => return finished.repeat(&registry, body).await,
                begun => begun?,
            };
            receiving.counts_in_part = range.is_some();
            if let Err(error) = receiving.receive(&registry, range, body).await {
                if let ServiceError::NamespaceFull(_) = error {
                    registry.discard(&receiving.upload).await?;
                } else {
                    receiving.pause(&registry).await?;
                }
                return Err(error);
            }
            receiving.commit(&registry, expected).await
        }))
        .await
    }

    /// The session, when it belongs to this repository and to this user (H6).
    async fn upload(&self, grant: &Grant, name: &RepositoryName, session: &str) -> Result<Upload, ServiceError> {
        let repository = self.catalog().find_repository(name).await?.ok_or(ServiceError::UploadAbsent)?;
        let upload = self.catalog().find_upload(session).await?.ok_or(ServiceError::UploadAbsent)?;
        if upload.repository_id == repository.id && upload.user_id == grant.user_id() {
            Ok(upload)
        } else {
            Err(ServiceError::UploadAbsent)
        }
    }

    /// The session's row first, then its bytes: a crash between the two leaves a tombstone, never a dangling row.
    pub(crate) async fn discard(&self, upload: &Upload) -> Result<(), ServiceError> {
        if self.catalog().abandon_upload(&upload.id).await? {
            self.sweep_location(&upload.location).await;
        }
        Ok(())
    }
}

/// The end of a session that a repeated closing PUT says it had.
struct FinishedUpload {
    session: String,
    repository_id: i64,
    user_id: String,
    digest: Digest,
}

impl FinishedUpload {
    /// Answers as the first PUT did, when it did.
    async fn repeat(&self, registry: &Registry, mut body: Body) -> Result<(), ServiceError> {
        let Self { session, repository_id, user_id, digest } = self;
        if !registry.catalog().has_finished_upload(session, *repository_id, user_id, digest).await? {
            return Err(ServiceError::UploadAbsent);
        }
        // The client sends its body again and may read no answer before it is through.
        while let Ok(Some(Ok(_))) = tokio::time::timeout(BODY_IDLE, body.next()).await {}
        Ok(())
    }
}

/// One writer at work on one session, under its lease.
struct Receiving {
    upload: Upload,
    lease: String,
    hasher: Hasher,
    writer: Box<dyn BlobWriter>,
    /// Up to here the bytes are durable and the row says so.
    durable_bytes: u64,
    /// Up to here the bytes are durable, whatever the row says.
    synced_bytes: u64,
    last_checkpoint: Instant,
    /// Whether bytes stay when the body that brings them ends early.
    counts_in_part: bool,
}

impl Receiving {
    async fn begin(
        registry: &Registry,
        upload: Upload,
        range: Option<ContentRange>,
        patience: Duration,
    ) -> Result<Self, ServiceError> {
        let lease = uuid::Uuid::new_v4().simple().to_string();
        let upload = Self::take_writer(registry, &upload.id, &lease, patience).await?;
        let begun = Self::open(registry, &upload, range).await;
        match begun {
            Ok((hasher, writer)) => Ok(Self {
                durable_bytes: upload.offset_bytes,
                synced_bytes: upload.offset_bytes,
                upload,
                lease,
                hasher,
                writer,
                last_checkpoint: Instant::now(),
                counts_in_part: true,
            }),
            Err(error) => {
                registry.catalog().release_writer(&upload.id, &lease).await?;
                Err(error)
            }
        }
    }

    /// Becomes the session's writer, once the one before has let go.
    async fn take_writer(
        registry: &Registry,
        session: &str,
        lease: &str,
        patience: Duration,
    ) -> Result<Upload, ServiceError> {
        let begun = Instant::now();
        loop {
            if let Some(upload) = registry.catalog().take_writer(session, lease, WRITER_LEASE_MS).await? {
                return Ok(upload);
            }
            if registry.catalog().find_upload(session).await?.is_none() {
                return Err(ServiceError::UploadAbsent);
            }
            if begun.elapsed() >= patience {
                return Err(ServiceError::UploadBusy);
            }
            tokio::time::sleep(WRITER_INTERVAL).await;
        }
    }

    async fn open(
        registry: &Registry,
        upload: &Upload,
        range: Option<ContentRange>,
    ) -> Result<(Hasher, Box<dyn BlobWriter>), ServiceError> {
        if range.is_some_and(|range| range.first() != upload.offset_bytes) {
            return Err(ServiceError::RangeInvalid { session: upload.id.clone(), offset_bytes: upload.offset_bytes });
        }
        let location = Location::from(upload.location.clone());
        if let (Some(hash_state), Some(store_state)) = (&upload.hash_state, &upload.store_state) {
            let hasher = Hasher::restore(hash_state)
                .map_err(|error| ServiceError::Internal(format!("upload {}: hash state: {error}", upload.id)))?;
            let checkpoint = Checkpoint { offset_bytes: upload.offset_bytes, state: store_state.clone() };
            return Ok((hasher, registry.store().resume(&location, &checkpoint).await?));
        }
        // Nothing is durable yet. A writer that died before its first checkpoint may have left a file behind, and a
        // location is written once, so such bytes go first.
        registry.store().delete(&location).await?;
        Ok((Hasher::new(upload.algorithm), registry.store().create(&location).await?))
    }

    async fn receive(
        &mut self,
        registry: &Registry,
        range: Option<ContentRange>,
        mut body: Body,
    ) -> Result<(), ServiceError> {
        let mut received = 0_u64;
        let mut last_frame = Instant::now();
        loop {
            let frame = match tokio::time::timeout(CHECKPOINT_INTERVAL, body.next()).await {
                Err(_) if last_frame.elapsed() >= BODY_IDLE => {
                    return Err(ServiceError::BodyBroken(format!("nothing came for {} s", BODY_IDLE.as_secs())));
                }
                // A slow client keeps its session: what came is made durable, and the lease renewed.
                Err(_) => {
                    self.checkpoint(registry).await?;
                    continue;
                }
                Ok(None) => break,
                Ok(Some(Err(reason))) => return Err(ServiceError::BodyBroken(reason)),
                Ok(Some(Ok(frame))) => frame,
            };
            last_frame = Instant::now();
            received += frame.len() as u64;
            if let Some(range) = range.filter(|range| received > range.size_bytes()) {
                return Err(chunk_differs(range, received));
            }
            self.hasher.update(&frame);
            self.writer.write(frame).await?;
            let ahead = self.writer.offset_bytes() - self.synced_bytes;
            if ahead >= CHECKPOINT_BYTES || (ahead > 0 && self.last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL) {
                self.checkpoint(registry).await?;
                // Where the length was not told, this is how an upload ends that never fits.
                registry.catalog().require_room_in(self.upload.repository_id, self.synced_bytes).await?;
            }
        }
        match range {
            Some(range) if received != range.size_bytes() => Err(chunk_differs(range, received)),
            _ => Ok(()),
        }
    }

    async fn checkpoint(&mut self, registry: &Registry) -> Result<(), ServiceError> {
        let checkpoint = self.writer.checkpoint().await?;
        self.last_checkpoint = Instant::now();
        self.synced_bytes = checkpoint.offset_bytes;
        if !self.counts_in_part {
            let kept = registry.catalog().renew_writer(&self.upload.id, &self.lease, WRITER_LEASE_MS).await?;
            return if kept { Ok(()) } else { Err(ServiceError::UploadBusy) };
        }
        let kept = registry
            .catalog()
            .save_checkpoint(
                &self.upload.id,
                &self.lease,
                checkpoint.offset_bytes,
                &self.hasher.save(),
                &checkpoint.state,
                WRITER_LEASE_MS,
            )
            .await?;
        if !kept {
            return Err(ServiceError::UploadBusy);
        }
        self.durable_bytes = checkpoint.offset_bytes;
        Ok(())
    }

    /// Makes durable what has come, and lets the next writer in.
    async fn pause(&mut self, registry: &Registry) -> Result<(), ServiceError> {
        let is_behind = self.writer.offset_bytes() > self.durable_bytes || self.upload.store_state.is_none();
        let saved = if self.counts_in_part && is_behind { self.checkpoint(registry).await } else { Ok(()) };
        registry.catalog().release_writer(&self.upload.id, &self.lease).await?;
        saved
    }

    /// Ends the session with a blob. After a failure that left the session, the next writer may come at once.
    async fn commit(self, registry: &Registry, expected: Digest) -> Result<(), ServiceError> {
        let (session, lease) = (self.upload.id.clone(), self.lease.clone());
        let committed = self.link(registry, expected).await;
        if committed.is_err() {
            registry.catalog().release_writer(&session, &lease).await?;
        }
        committed
    }

    async fn link(self, registry: &Registry, expected: Digest) -> Result<(), ServiceError> {
        let location = Location::from(self.upload.location.clone());
        let size_bytes = self.writer.finish().await?;
        let actual = if expected.algorithm() == self.hasher.algorithm() {
            self.hasher.finish()
        } else {
            // The session did not say which algorithm would come, so the bytes are read once more.
            hash_stored(registry, &location, expected.algorithm()).await?
        };
        if actual != expected {
            registry.discard(&self.upload).await?;
            return Err(ServiceError::DigestMismatch { expected, actual });
        }
        let finished = registry.catalog().finish_upload(&self.upload.id, &self.lease, &expected, size_bytes).await;
        if let Err(CatalogError::QuotaExceeded(_)) = &finished {
            registry.discard(&self.upload).await?;
        }
        let finished = finished.map_err(|error| match error {
            // Another writer took the session over while this one was silent.
            CatalogError::NotFound { .. } => ServiceError::UploadAbsent,
            other => other.into(),
        })?;
        if let Some(unused) = finished.unused_location {
            registry.sweep_location(&unused).await;
        }
        Ok(())
    }
}

async fn hash_stored(
    registry: &Registry,
    location: &Location,
    algorithm: DigestAlgorithm,
) -> Result<Digest, ServiceError> {
    let mut hasher = Hasher::new(algorithm);
    let mut stream = registry.store().read(location, None).await?;
    while let Some(piece) = stream.next().await {
        hasher.update(&piece?);
    }
    Ok(hasher.finish())
}

fn chunk_differs(range: ContentRange, received: u64) -> ServiceError {
    ServiceError::SizeDiffers { what: "the chunk".to_owned(), expected: range.size_bytes(), actual: received }
}

#[cfg(test)]
mod tests;
