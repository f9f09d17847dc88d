//! Sending an image to another region.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use transship_catalog::JobState;
use transship_client::peer::{PeerClient, PrepareRequest};
use transship_client::{BlobSource, Credentials, PutCondition, RegistryClient, SourceStream};
use transship_oci::{Digest, Reference};
use transship_store::{BlobStore, Location};

use super::plan::Plan;
use super::target::by_digest;
use super::{Copy, JobError, PeerTokens, tag_differs};
use crate::{Registry, ServiceError};

/// Manifests of one height in flight at once: small requests, so the round trip is what costs.
const MANIFESTS_IN_PARALLEL: usize = 8;
/// How often the tag is read back before the target is said not to hold what it acknowledged (F25).
const READ_BACKS: u32 = 5;
/// The pause between two of them.
const READ_BACK_PAUSE: Duration = Duration::from_millis(500);

impl Registry {
    /// Copies an image to a peer, the tag last.
    pub(super) async fn copy_to_peer(&self, copy: &Copy<'_>, plan: &Plan) -> Result<JobState, JobError> {
        let peer = self
            .peer_client(&copy.region)
            .ok_or_else(|| JobError::Terminal(format!("region {} is not configured here any more", copy.region)))?;
        let tokens = self.peer_tokens(&copy.principal, &copy.region, &copy.target).await;
        let asked_at = Instant::now();
        let reply = self.prepare(peer, &tokens, copy, plan).await?;
        if reply.tag_digest.as_ref() == Some(&plan.root) {
            return Ok(JobState::Existed);
        }
        if let Some(current) = reply.tag_digest.as_ref().filter(|_| !copy.job.override_existing) {
            return Err(tag_differs(copy, Some(current)));
        }
        let target = peer.registry(Credentials::Source(tokens));
        self.send_blobs(&target, copy, plan, &reply.missing_blobs, asked_at).await?;
        self.send_manifests(&target, copy, plan, &reply.missing_manifests).await?;
        self.send_attached_tags(&target, copy, plan).await?;
        let condition = if copy.job.override_existing { PutCondition::Always } else { PutCondition::IfAbsent };
        self.send_manifest(&target, copy, &plan.root, &Reference::Tag(copy.tag.clone()), condition)
            .await
            .map_err(|error| refused_tag(copy, error))?;
        read_back(&target, copy, &plan.root).await?;
        Ok(JobState::Success)
    }

    async fn prepare(
        &self,
        peer: &PeerClient,
        tokens: &PeerTokens,
        copy: &Copy<'_>,
        plan: &Plan,
    ) -> Result<transship_client::peer::PrepareReply, JobError> {
        let request = PrepareRequest {
            namespace: copy.target.namespace().clone(),
            repository: copy.target.repository().clone(),
            tag: copy.tag.clone(),
            digest: plan.root.clone(),
            category: copy.category.clone(),
            description: copy.description.clone(),
            blobs: plan.blobs.iter().map(|(digest, _)| digest.clone()).collect(),
            manifests: plan.manifests.iter().flatten().cloned().collect(),
        };
        let token = tokens.get(false).await?;
        match peer.prepare(&token, &request).await {
            // The target may have changed its keys, or its clock.
            Err(error) if error.status() == Some(401) => {
                let token = tokens.get(true).await?;
                Ok(peer.prepare(&token, &request).await?)
            }
            other => Ok(other?),
        }
    }

    /// Blobs in parallel, the largest first, so that the last one to end is a small one.
    async fn send_blobs(
        &self,
        target: &RegistryClient,
        copy: &Copy<'_>,
        plan: &Plan,
        missing: &[Digest],
        asked_at: Instant,
    ) -> Result<(), JobError> {
        let missing: std::collections::HashSet<&Digest> = missing.iter().collect();
        let to_send: Vec<&(Digest, u64)> = plan.blobs.iter().filter(|(digest, _)| missing.contains(digest)).collect();
        let progress = copy.progress;
        progress.bytes_total.store(to_send.iter().map(|(_, size)| size).sum(), Ordering::Relaxed);
        progress.blobs_done.store((plan.blobs.len() - to_send.len()) as u64, Ordering::Relaxed);
        futures::stream::iter(to_send.into_iter().map(Ok::<_, JobError>))
            .try_for_each_concurrent(self.settings().blobs_in_parallel, |(digest, size_bytes)| async move {
                let departure = self.flights().depart(&copy.region, &copy.target, digest, asked_at).await;
                if let Some(departure) = departure {
                    self.send_blob(target, copy, digest, *size_bytes).await?;
                    departure.land();
                } else {
                    progress.bytes_done.fetch_add(*size_bytes, Ordering::Relaxed);
                }
                progress.blobs_done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .await
    }

    async fn send_blob(
        &self,
        target: &RegistryClient,
        copy: &Copy<'_>,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<(), JobError> {
        let blob = self.catalog().find_blob(copy.source_id, digest).await.map_err(ServiceError::from)?;
        let blob = blob.ok_or_else(|| {
            // Deleted since the plan was made; the next try resolves the tag anew.
            JobError::Retry(format!("blob {digest} is not in the source repository any more"))
        })?;
        let source =
            StoredBlob { store: Arc::clone(self.store()), location: Location::from(blob.location), size_bytes };
        let count = |delta: u64| {
            copy.progress.bytes_done.fetch_add(delta, Ordering::Relaxed);
        };
        target.push_blob(&copy.target, digest, size_bytes, &source, &count).await?;
        Ok(())
    }

    async fn send_manifests(
        &self,
        target: &RegistryClient,
        copy: &Copy<'_>,
        plan: &Plan,
        missing: &[Digest],
    ) -> Result<(), JobError> {
        let missing: std::collections::HashSet<&Digest> = missing.iter().collect();
        for height in &plan.manifests {
            futures::stream::iter(height.iter().filter(|digest| missing.contains(digest)).map(Ok::<_, JobError>))
                .try_for_each_concurrent(MANIFESTS_IN_PARALLEL, |digest| async move {
                    self.send_manifest(target, copy, digest, &by_digest(digest), PutCondition::Always).await
                })
                .await?;
        }
        Ok(())
    }

    /// Tags of signatures and the like follow the rule of the call: without override, one that differs stays.
    async fn send_attached_tags(&self, target: &RegistryClient, copy: &Copy<'_>, plan: &Plan) -> Result<(), JobError> {
        for (tag, digest) in &plan.attached_tags {
            let condition = if copy.job.override_existing { PutCondition::Always } else { PutCondition::IfAbsent };
            match self.send_manifest(target, copy, digest, &Reference::Tag(tag.clone()), condition).await {
                Err(JobError::Conflict(_)) => {
                    tracing::info!(job = copy.job.id, %tag, "an attached tag differs in the target and stays");
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn send_manifest(
        &self,
        target: &RegistryClient,
        copy: &Copy<'_>,
        digest: &Digest,
        reference: &Reference,
        condition: PutCondition,
    ) -> Result<(), JobError> {
        let stored = self
            .catalog()
            .find_manifest(copy.source_id, &by_digest(digest))
            .await
            .map_err(ServiceError::from)?
            .ok_or_else(|| JobError::Retry(format!("manifest {digest} is not in the source repository any more")))?;
        let raw = Bytes::from(stored.raw);
        target.put_manifest(&copy.target, reference, &stored.media_type, raw, condition).await?;
        Ok(())
    }
}

/// A tag that another writer made or moved since the target was asked.
fn refused_tag(copy: &Copy<'_>, error: JobError) -> JobError {
    match error {
        JobError::Conflict(_) => tag_differs(copy, None),
        other => other,
    }
}

/// Nothing is a success before the target itself says so.
async fn read_back(target: &RegistryClient, copy: &Copy<'_>, root: &Digest) -> Result<(), JobError> {
    let reference = Reference::Tag(copy.tag.clone());
    let mut seen = None;
    for _ in 0..READ_BACKS {
        seen = target.head_manifest(&copy.target, &reference).await?;
        if seen.as_ref() == Some(root) {
            return Ok(());
        }
        tokio::time::sleep(READ_BACK_PAUSE).await;
    }
    let seen = seen.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
    Err(JobError::Retry(format!("tag {} in region {} reads back as {seen}, not {root}", copy.tag, copy.region)))
}

/// A blob of our own store, which can be opened at any offset and so be sent again.
struct StoredBlob {
    store: Arc<dyn BlobStore>,
    location: Location,
    size_bytes: u64,
}

#[async_trait]
impl BlobSource for StoredBlob {
    async fn open(&self, offset_bytes: u64) -> Result<SourceStream, std::io::Error> {
        let stream = self.store.read(&self.location, Some(offset_bytes..self.size_bytes)).await;
        let stream = stream.map_err(std::io::Error::other)?;
        Ok(Box::pin(stream.map_err(std::io::Error::other)))
    }
}
