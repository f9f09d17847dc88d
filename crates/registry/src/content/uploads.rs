//! Upload sessions: how bytes arrive, and how a session continues after the client or this process has died.
//!
//! A row holds the session's state (offset, hash state, store state) and is renewed at each checkpoint. When a session
//! continues, bytes after the last checkpoint are thrown away. Owns: that order. Never: what a digest may be used for.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use transship_catalog::{Abandon, Blob, CatalogError, Closing, KnownBytes, NewUpload, Resume, Upload};
use transship_oci::{ContentRange, Digest, DigestAlgorithm, Hasher};
use transship_store::{BlobWriter, Checkpoint, Location, StoreError};

use crate::access::proof::{Authorized, Push};
use crate::content::inspection::Verdict;
use crate::content::service::Content;
use crate::content::upload_body::Body;
use crate::detached::detached;
use crate::error::ServiceError;

/// Bytes between two checkpoints: the most that a crash can cost.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Maximum time between two checkpoints, for slow links.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// A writer that has shown no sign of life for this long, six checkpoint intervals, loses its session to the next one.
const WRITER_LEASE_MS: i64 = 30_000;
/// Maximum time for which a request waits for an earlier writer of its session.
///
/// That writer may be at its last sync for a client that disconnected and has come back.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);
/// Interval at which a waiting request asks again.
const WRITER_INTERVAL: Duration = Duration::from_millis(50);
/// Maximum number of times that known content may move while it is checked; repairs and other pushes move it once.
const LOOKS: u32 = 8;
/// Maximum lifetime of a session: a century, so that no sum of it and a clock overflows.
const LONGEST_LIFE_MS: i64 = 100 * 366 * 86_400_000;
/// A client that sends nothing for this long counts as gone.
const BODY_IDLE: Duration = Duration::from_mins(1);

/// The state of an upload session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// The session's id: 128 random bits.
    pub session: String,
    /// Durable bytes; the next chunk starts here.
    pub offset_bytes: u64,
}

impl Content {
    /// Opens an upload session; creates the repository if it is absent.
    pub async fn start_upload(
        &self,
        push: Authorized<'_, Push>,
        algorithm: DigestAlgorithm,
    ) -> Result<UploadStatus, ServiceError> {
        let repository = self.repository_to_push(push).await?;
        let session = uuid::Uuid::new_v4().simple().to_string();
        let life_ms = i64::try_from(self.settings().upload_expiry.as_millis()).unwrap_or(LONGEST_LIFE_MS);
        let limit = self.settings().upload_sessions_per_user;
        let opened = self
            .catalog()
            .create_upload(&NewUpload {
                id: session.clone(),
                repository_id: repository.id,
                user_id: push.user_id().to_owned(),
                location: Location::fresh().to_string(),
                algorithm,
                life_ms: life_ms.min(LONGEST_LIFE_MS),
                most_of_user: limit,
            })
            .await?;
        if !opened {
            return Err(ServiceError::TooManyUploads { limit });
        }
        Ok(UploadStatus { session, offset_bytes: 0 })
    }

    /// The state of a session.
    pub async fn upload_status(&self, push: Authorized<'_, Push>, session: &str) -> Result<UploadStatus, ServiceError> {
        let upload = self.upload(push, session).await?;
        Ok(UploadStatus { session: upload.id, offset_bytes: upload.offset_bytes })
    }

    /// Cancels a session and frees its bytes.
    pub async fn cancel_upload(&self, push: Authorized<'_, Push>, session: &str) -> Result<(), ServiceError> {
        let upload = self.upload(push, session).await?;
        self.discard(&upload.id, Abandon::User).await
    }

    /// Appends a body to a session. Returns once its bytes are durable.
    ///
    /// # Errors
    /// [`ServiceError::RangeInvalid`] if `range` does not start at the session's offset; then nothing is changed.
    pub async fn append_upload(
        &self,
        push: Authorized<'_, Push>,
        session: &str,
        range: Option<ContentRange>,
        body: Body,
    ) -> Result<UploadStatus, ServiceError> {
        let upload = self.upload(push, session).await?;
        let content = self.clone();
        detached(async move {
            // A body without a range has no offset, so it must not be appended after bytes that another request brings.
            let patience = if range.is_some() { WRITER_PATIENCE } else { Duration::ZERO };
            let mut receiving = Receiving::begin(&content, upload, range, patience).await?;
            let received = receiving.receive(&content, range, body).await;
            receiving.leave(&content, received).await
        })
        .await
    }

    /// Appends the rest of the bytes, compares the digest, and links the blob to the repository.
    ///
    /// A client whose answer was lost may repeat the call with the same digest: for a while, the user who finished the
    /// session gets the same answer again (I22: repeating a request has the same end state).
    ///
    /// A body without a range begins at the session's offset, and counts only if it arrives whole, so that it too can
    /// be repeated after it was cut short.
    ///
    /// # Errors
    /// [`ServiceError::DigestMismatch`] if the bytes have another digest; then the session is gone.
    pub async fn finish_upload(
        &self,
        push: Authorized<'_, Push>,
        session: &str,
        range: Option<ContentRange>,
        body: Body,
        expected: Digest,
    ) -> Result<(), ServiceError> {
        let repository = self.catalog().find_repository(push.name()).await?.ok_or(ServiceError::UploadAbsent)?;
        push.require(repository.namespace_id)?;
        let finished = FinishedUpload {
            session: session.to_owned(),
            repository_id: repository.id,
            user_id: push.user_id().to_owned(),
            digest: expected.clone(),
        };
        let upload = match self.upload(push, session).await {
            Err(ServiceError::UploadAbsent) => return finished.repeat(self, body).await,
            found => found?,
        };
        let content = self.clone();
        // Boxed, because it would otherwise make the future of every request as large.
        detached(Box::pin(async move {
            let mut receiving = match Receiving::begin(&content, upload, range, WRITER_PATIENCE).await {
                Err(ServiceError::UploadAbsent) => return finished.repeat(&content, body).await,
                begun => begun?,
            };
            receiving.counts_in_part = range.is_some();
            receiving.expected = Some(expected.clone());
            let received = receiving.receive(&content, range, body).await;
            if received.is_err() {
                return receiving.leave(&content, received).await.map(drop);
            }
            receiving.commit(&content, expected).await
        }))
        .await
    }

    /// Takes a whole blob.
    ///
    /// No client learns of the session that this needs, so none can continue it. It ends with the call, even if the
    /// caller goes away meanwhile.
    ///
    /// # Errors
    /// As [`Content::start_upload`] and [`Content::finish_upload`].
    pub async fn push_blob(
        &self,
        push: Authorized<'_, Push>,
        body: Body,
        expected: Digest,
    ) -> Result<(), ServiceError> {
        let (content, kept) = (self.clone(), push.keep());
        detached(Box::pin(async move {
            let session = content.start_upload(kept.get(), expected.algorithm()).await?.session;
            let finished = content.finish_upload(kept.get(), &session, None, body, expected).await;
            if finished.is_err()
                && let Err(error) = content.discard(&session, Abandon::User).await
            {
                tracing::warn!(
                    session,
                    reason = error.log_reason(),
                    "an upload session stays until it expires: {error}"
                );
            }
            finished
        }))
        .await
    }

    /// The session, if it belongs to this repository and user (H6), and the token to the repository's organization.
    pub(crate) async fn upload(&self, push: Authorized<'_, Push>, session: &str) -> Result<Upload, ServiceError> {
        let repository = self.catalog().find_repository(push.name()).await?.ok_or(ServiceError::UploadAbsent)?;
        push.require(repository.namespace_id)?;
        let upload = self.catalog().find_upload(session).await?.ok_or(ServiceError::UploadAbsent)?;
        if upload.repository_id == repository.id && upload.user_id == push.user_id() {
            Ok(upload)
        } else {
            Err(ServiceError::UploadAbsent)
        }
    }

    /// Deletes the session's row first, then its bytes: a crash in between leaves a tombstone, never a dangling row.
    pub(crate) async fn discard(&self, session: &str, by: Abandon<'_>) -> Result<(), ServiceError> {
        if let Some(location) = self.catalog().abandon_upload(session, by).await? {
            self.sweep_location(&location).await;
        }
        Ok(())
    }
}

/// The end of a session, as a repeated closing PUT claims it.
struct FinishedUpload {
    session: String,
    repository_id: i64,
    user_id: String,
    digest: Digest,
}

impl FinishedUpload {
    /// Gives the answer of the first PUT again, if that PUT succeeded.
    async fn repeat(&self, content: &Content, mut body: Body) -> Result<(), ServiceError> {
        let Self { session, repository_id, user_id, digest } = self;
        if !content.catalog().has_finished_upload(session, *repository_id, user_id, digest).await? {
            return Err(ServiceError::UploadAbsent);
        }
        // The client sends its body again, and may not read an answer before it has sent all of it.
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
    /// Up to this offset the bytes are durable and the row says so.
    durable_bytes: u64,
    /// Up to this offset the bytes are durable, whatever the row says.
    synced_bytes: u64,
    last_checkpoint: Instant,
    /// Whether bytes stay if the body that brings them ends early.
    counts_in_part: bool,
    /// The digest that the bytes should have, if it is known while they arrive.
    expected: Option<Digest>,
    /// Bytes that may exceed the quota: the size of content that the organization already has.
    beyond_quota_bytes: u64,
}

impl Receiving {
    async fn begin(
        content: &Content,
        upload: Upload,
        range: Option<ContentRange>,
        patience: Duration,
    ) -> Result<Self, ServiceError> {
        let lease = uuid::Uuid::new_v4().simple().to_string();
        let mut upload = Self::take_writer(content, &upload.id, &lease, patience).await?;
        let begun = Self::open(content, &mut upload, &lease, range).await;
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
                expected: None,
                beyond_quota_bytes: 0,
            }),
            Err(error) => {
                content.catalog().release_writer(&upload.id, &lease).await?;
                Err(error)
            }
        }
    }

    /// Becomes the session's writer, once the previous writer has released it.
    async fn take_writer(
        content: &Content,
        session: &str,
        lease: &str,
        patience: Duration,
    ) -> Result<Upload, ServiceError> {
        let begun = Instant::now();
        loop {
            let fresh = Location::fresh().to_string();
            if let Some(upload) = content.catalog().take_writer(session, lease, WRITER_LEASE_MS, &fresh).await? {
                return Ok(upload);
            }
            if content.catalog().find_upload(session).await?.is_none() {
                return Err(ServiceError::UploadAbsent);
            }
            if begun.elapsed() >= patience {
                return Err(ServiceError::UploadBusy);
            }
            tokio::time::sleep(WRITER_INTERVAL).await;
        }
    }

    async fn open(
        content: &Content,
        upload: &mut Upload,
        lease: &str,
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
            return Ok((hasher, content.store().resume(&location, &checkpoint).await?));
        }
        // Nothing is durable yet, and as far as the row knows nobody has written here. After a power cut the row may
        // know less than the disk. Whose bytes lie here does not matter: only the sweep of tombstones deletes any.
        let writer = match content.store().create(&location).await {
            Err(StoreError::Exists { .. }) => {
                let fresh = Location::fresh();
                if !content.catalog().move_upload(&upload.id, lease, fresh.as_ref()).await? {
                    return Err(ServiceError::UploadBusy);
                }
                upload.location = fresh.to_string();
                content.store().create(&fresh).await?
            }
            created => created?,
        };
        Ok((Hasher::new(upload.algorithm), writer))
    }

    async fn receive(
        &mut self,
        content: &Content,
        range: Option<ContentRange>,
        mut body: Body,
    ) -> Result<(), ServiceError> {
        if let Some(announced) = body.announced_bytes() {
            self.writer.expect(self.writer.offset_bytes().saturating_add(announced));
        }
        let mut received = 0_u64;
        let mut last_frame = Instant::now();
        loop {
            let frame = match tokio::time::timeout(CHECKPOINT_INTERVAL, body.next()).await {
                Err(_) if last_frame.elapsed() >= BODY_IDLE => {
                    return Err(ServiceError::BodyBroken(format!("nothing came for {} s", BODY_IDLE.as_secs())));
                }
                // A slow client keeps its session: the checkpoint makes its bytes durable and renews the lease.
                Err(_) => {
                    self.checkpoint(content).await?;
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
                // A body of unknown length that exceeds the quota ends here.
                self.checkpoint(content).await?;
            }
        }
        match range {
            Some(range) if received != range.size_bytes() => Err(chunk_differs(range, received)),
            _ => Ok(()),
        }
    }

    async fn checkpoint(&mut self, content: &Content) -> Result<(), ServiceError> {
        let checkpoint = self.writer.checkpoint().await?;
        self.last_checkpoint = Instant::now();
        self.synced_bytes = checkpoint.offset_bytes;
        match self.save(content, &checkpoint).await {
            Err(ServiceError::NamespaceFull(full)) => {
                if !self.is_known(content, checkpoint.offset_bytes).await? {
                    return Err(ServiceError::NamespaceFull(full));
                }
                self.save(content, &checkpoint).await?;
            }
            saved => saved?,
        }
        if self.counts_in_part {
            self.durable_bytes = checkpoint.offset_bytes;
        }
        Ok(())
    }

    async fn save(&self, content: &Content, checkpoint: &Checkpoint) -> Result<(), ServiceError> {
        let hash_state = self.hasher.save();
        let resume = Resume { hash_state: &hash_state, store_state: &checkpoint.state };
        let record = transship_catalog::Checkpoint {
            durable_bytes: checkpoint.offset_bytes,
            resume: self.counts_in_part.then_some(resume),
            beyond_quota: checkpoint.offset_bytes <= self.beyond_quota_bytes,
        };
        let kept = content.catalog().save_checkpoint(&self.upload.id, &self.lease, record, WRITER_LEASE_MS).await?;
        if kept { Ok(()) } else { Err(ServiceError::UploadBusy) }
    }

    /// Whether the organization already has the expected content, with at least `size_bytes`; that never needs room.
    async fn is_known(&mut self, content: &Content, size_bytes: u64) -> Result<bool, ServiceError> {
        if let Some(expected) = &self.expected {
            let size = content.catalog().size_in_namespace(self.upload.repository_id, expected).await?;
            self.beyond_quota_bytes = size.unwrap_or(0);
        }
        Ok(size_bytes <= self.beyond_quota_bytes)
    }

    /// Ends this writer's turn.
    ///
    /// Discards the session if its bytes exceed the quota, so none are kept for a next chunk. Otherwise makes the bytes
    /// that have come durable, and lets the next writer begin.
    async fn leave(
        mut self,
        content: &Content,
        received: Result<(), ServiceError>,
    ) -> Result<UploadStatus, ServiceError> {
        let is_behind = self.writer.offset_bytes() > self.durable_bytes || self.upload.store_state.is_none();
        let is_full = matches!(received, Err(ServiceError::NamespaceFull(_)));
        let saved = if self.counts_in_part && is_behind && !is_full { self.checkpoint(content).await } else { Ok(()) };
        let left = saved.and(received);
        if let Err(ServiceError::NamespaceFull(_)) = &left {
            content.discard(&self.upload.id, Abandon::Writer(&self.lease)).await?;
        } else {
            content.catalog().release_writer(&self.upload.id, &self.lease).await?;
        }
        left.map(|()| UploadStatus { session: self.upload.id, offset_bytes: self.durable_bytes })
    }

    /// Ends the session with a blob. If it fails and the session remains, the next writer may begin at once.
    async fn commit(self, content: &Content, expected: Digest) -> Result<(), ServiceError> {
        let (session, lease) = (self.upload.id.clone(), self.lease.clone());
        let committed = self.link(content, expected).await;
        if committed.is_err() {
            content.catalog().release_writer(&session, &lease).await?;
        }
        committed
    }

    async fn link(self, content: &Content, expected: Digest) -> Result<(), ServiceError> {
        let location = Location::from(self.upload.location.clone());
        let size_bytes = self.writer.finish().await?;
        let actual = if expected.algorithm() == self.hasher.algorithm() {
            self.hasher.finish()
        } else {
            // The session did not announce this algorithm, so the bytes are read once more.
            hash_stored(content, &location, expected.algorithm()).await?
        };
        let by = Abandon::Writer(&self.lease);
        if actual != expected {
            content.discard(&self.upload.id, by).await?;
            return Err(ServiceError::DigestMismatch { expected, actual });
        }
        let finished = content.close_session(&self.upload.id, &self.lease, &expected, size_bytes).await;
        if let Err(CatalogError::QuotaExceeded(_)) = &finished {
            content.discard(&self.upload.id, by).await?;
        }
        let unused = finished.map_err(|error| match error {
            // Another writer took the session over while this one was silent.
            CatalogError::NotFound { .. } => ServiceError::UploadAbsent,
            other => other.into(),
        })?;
        if let Some(unused) = unused {
            content.sweep_location(&unused).await;
        }
        Ok(())
    }
}

impl Content {
    /// Ends a session with a blob, and returns the location that is unused now, if there is one.
    ///
    /// Known content keeps its location if as many bytes as expected lie there. Otherwise, or if that cannot be
    /// checked, it gets the bytes that have arrived, which are correct.
    async fn close_session(
        &self,
        session: &str,
        lease: &str,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<Option<String>, CatalogError> {
        let mut known: Option<(Blob, Result<Verdict, ServiceError>)> = None;
        for _ in 0..LOOKS {
            let seen = match &known {
                None => KnownBytes::Unseen,
                Some((blob, Ok(Verdict::Sound))) => KnownBytes::There(&blob.location),
                Some((blob, _)) => KnownBytes::Missing(&blob.location),
            };
            match self.catalog().finish_upload(session, lease, digest, size_bytes, seen).await? {
                Closing::Done(finished) => {
                    if let Some((blob, verdict)) = known {
                        log_replaced(&blob, verdict);
                    }
                    return Ok(finished.unused_location);
                }
                Closing::Known(blob) => {
                    let verdict = self.inspect_size(&blob).await;
                    known = Some((blob, verdict));
                }
            }
        }
        Err(CatalogError::Busy)
    }
}

/// Logs why the bytes of a push have replaced those of known content, if they have.
fn log_replaced(blob: &Blob, verdict: Result<Verdict, ServiceError>) {
    let Blob { digest, location, .. } = blob;
    match verdict {
        Ok(Verdict::Sound) => {}
        Ok(Verdict::Damaged(reason)) => {
            tracing::error!(%digest, location, "the bytes of a push have taken the place of a blob's: {reason}");
        }
        Err(error) => {
            let reason = error.log_reason();
            tracing::warn!(%digest, location, reason, "the bytes of a push have taken the place of a blob's, which could not be looked at: {error}");
        }
    }
}

async fn hash_stored(
    content: &Content,
    location: &Location,
    algorithm: DigestAlgorithm,
) -> Result<Digest, ServiceError> {
    let mut hasher = Hasher::new(algorithm);
    let mut stream = content.store().read(location, None).await?;
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
