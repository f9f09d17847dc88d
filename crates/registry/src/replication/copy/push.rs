//! Sending an image to another region.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use transship_catalog::JobState;
use transship_client::peer::{PeerClient, PrepareReply, PrepareRequest};
use transship_client::{BlobSource, Credentials, PutCondition, RegistryClient, SourceStream};
use transship_oci::{Digest, Reference, Tag};
use transship_store::{BlobStore, Location};

use super::plan::Plan;
use super::target::by_digest;
use super::{ImageCopy, JobError, PeerTokens, tag_differs};
use crate::error::ServiceError;
use crate::replication::service::Replication;

/// Maximum number of manifests of one height in flight. The requests are small, so the round trip is what costs.
const MANIFESTS_IN_PARALLEL: usize = 8;
/// How often a run asks the target what it has: once, and again each time somebody else writes a tag first.
const LOOKS: u32 = 4;
/// How often the tag is read back before the run fails: a target may acknowledge a tag and still return the old one
/// (F25).
const READ_BACKS: u32 = 5;
/// The pause between two read-backs.
const READ_BACK_PAUSE: Duration = Duration::from_millis(500);

impl Replication {
    /// Copies to a peer what it lacks of an image. The tag is the last write (I9).
    pub(super) async fn copy_to_peer(&self, copy: &ImageCopy<'_>, plan: &Plan) -> Result<JobState, JobError> {
        let peer = self
            .trust
            .peer_client(&copy.region)
            .ok_or_else(|| JobError::Terminal(format!("region {} is not configured here any more", copy.region)))?;
        let tokens = self.peer_tokens(&copy.principal, &copy.region, &copy.target).await;
        let target = peer.registry(Credentials::Source(Arc::clone(&tokens) as _));
        let mut looks = Looks::new(copy, plan);
        loop {
            let asked_at = Instant::now();
            let reply = self.prepare(peer, &tokens, copy, plan).await?;
            let look = self.send_missing(&target, copy, plan, &reply, asked_at).await;
            if let Some(end) = looks.end(copy, look) {
                return end;
            }
        }
    }

    /// Sends what the target reported as missing. Returns `false` if that is nothing.
    async fn send_missing(
        &self,
        target: &RegistryClient,
        copy: &ImageCopy<'_>,
        plan: &Plan,
        reply: &PrepareReply,
        asked_at: Instant,
    ) -> Result<bool, JobError> {
        let moves = must_move(copy, plan, reply.tag_digest.as_ref())?;
        let attached = attached_to_write(copy, plan, &reply.attached);
        if !moves && attached.is_empty() && reply.missing_blobs.is_empty() && reply.missing_manifests.is_empty() {
            return Ok(false);
        }
        self.send_blobs(target, copy, plan, &reply.missing_blobs, asked_at).await?;
        self.send_manifests(target, copy, plan, &reply.missing_manifests, moves).await?;
        self.send_attached_tags(target, copy, &attached).await?;
        if moves {
            let current = reply.tag_digest.as_ref();
            let (media_type, raw) = self.manifest_to_send(copy, &plan.root).await?;
            let (target, name, tag, root) = (target.clone(), copy.target.clone(), copy.tag.clone(), plan.root.clone());
            let condition = put_condition(current);
            let write = async move { Ok(target.put_tagged(&name, &tag, &root, &media_type, raw, condition).await?) };
            self.write_tag(copy, current, Box::pin(write)).await?;
        }
        read_back(target, copy, &plan.root).await?;
        Ok(true)
    }

    async fn prepare(
        &self,
        peer: &PeerClient,
        tokens: &PeerTokens,
        copy: &ImageCopy<'_>,
        plan: &Plan,
    ) -> Result<PrepareReply, JobError> {
        let request = PrepareRequest {
            namespace: copy.target.namespace().clone(),
            repository: copy.target.repository().clone(),
            tag: copy.tag.clone(),
            digest: plan.root.clone(),
            category: copy.category.clone(),
            description: copy.description.clone(),
            blobs: plan.blobs.iter().map(|(digest, _)| digest.clone()).collect(),
            manifests: plan.manifests.iter().flatten().cloned().collect(),
            attached: plan.attached_tags.iter().map(|(tag, _)| tag.clone()).collect(),
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

    /// Sends blobs in parallel, the largest first, so that a small one ends last.
    async fn send_blobs(
        &self,
        target: &RegistryClient,
        copy: &ImageCopy<'_>,
        plan: &Plan,
        missing: &[Digest],
        asked_at: Instant,
    ) -> Result<(), JobError> {
        let missing: HashSet<&Digest> = missing.iter().collect();
        let to_send: Vec<&(Digest, u64)> = plan.blobs.iter().filter(|(digest, _)| missing.contains(digest)).collect();
        let progress = copy.progress;
        // Bytes that were sent before the target was asked again stay counted.
        let done_bytes = progress.bytes_done.load(Ordering::Relaxed);
        progress.bytes_total.store(to_send.iter().map(|(_, size)| size).sum::<u64>() + done_bytes, Ordering::Relaxed);
        progress.blobs_done.store((plan.blobs.len() - to_send.len()) as u64, Ordering::Relaxed);
        futures::stream::iter(to_send.into_iter().map(Ok::<_, JobError>))
            .try_for_each_concurrent(self.settings().blobs_in_parallel, |(digest, size_bytes)| async move {
                let lead = self.single_flight().lead(&copy.region, &copy.target, digest, asked_at).await;
                if let Some(lead) = lead {
                    self.send_blob(target, copy, digest, *size_bytes).await?;
                    lead.sent();
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
        copy: &ImageCopy<'_>,
        digest: &Digest,
        size_bytes: u64,
    ) -> Result<(), JobError> {
        let blob = self.catalog().find_blob(copy.source_id, digest).await.map_err(ServiceError::from)?;
        let blob = blob.ok_or_else(|| {
            // The blob was deleted after the plan was made. The next try resolves the tag again.
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
        copy: &ImageCopy<'_>,
        plan: &Plan,
        missing: &[Digest],
        root_follows: bool,
    ) -> Result<(), JobError> {
        let mut missing: HashSet<&Digest> = missing.iter().collect();
        if root_follows && plan.is_highest(&plan.root) {
            // The root is sent together with the tag; nothing needs it before.
            missing.remove(&plan.root);
        }
        let missing = &missing;
        for height in &plan.manifests {
            futures::stream::iter(height.iter().filter(|digest| missing.contains(digest)).map(Ok::<_, JobError>))
                .try_for_each_concurrent(MANIFESTS_IN_PARALLEL, |digest| async move {
                    let (media_type, raw) = self.manifest_to_send(copy, digest).await?;
                    let name = &copy.target;
                    target.put_manifest(name, &by_digest(digest), &media_type, raw, PutCondition::Always).await?;
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// Writes the tags of signatures and other attachments that differ in the target.
    async fn send_attached_tags(
        &self,
        target: &RegistryClient,
        copy: &ImageCopy<'_>,
        attached: &[Attached<'_>],
    ) -> Result<(), JobError> {
        for Attached { tag, digest, current } in attached {
            match self.send_tag(target, copy, digest, tag, put_condition(*current)).await {
                // Somebody wrote the tag after the target was asked. Without override it stays.
                Err(JobError::Conflict(_)) if !copy.job.override_existing => attached_stays(copy, tag),
                other => other?,
            }
        }
        Ok(())
    }

    async fn send_tag(
        &self,
        target: &RegistryClient,
        copy: &ImageCopy<'_>,
        digest: &Digest,
        tag: &Tag,
        condition: PutCondition,
    ) -> Result<(), JobError> {
        let (media_type, raw) = self.manifest_to_send(copy, digest).await?;
        Ok(target.put_tagged(&copy.target, tag, digest, &media_type, raw, condition).await?)
    }

    async fn manifest_to_send(&self, copy: &ImageCopy<'_>, digest: &Digest) -> Result<(String, Bytes), JobError> {
        let stored = self.catalog().find_manifest(copy.source_id, &by_digest(digest)).await;
        let stored = stored.map_err(ServiceError::from)?;
        let stored = stored
            .ok_or_else(|| JobError::Retry(format!("manifest {digest} is not in the source repository any more")))?;
        Ok((stored.media_type, Bytes::from(stored.raw)))
    }
}

/// An attached tag that is absent or different in the target and may be written.
pub(super) struct Attached<'a> {
    pub(super) tag: &'a Tag,
    pub(super) digest: &'a Digest,
    /// Its digest in the target; `None` if it is absent there.
    pub(super) current: Option<&'a Digest>,
}

/// Whether the tag must be written, given its digest in the target.
pub(super) fn must_move(copy: &ImageCopy<'_>, plan: &Plan, current: Option<&Digest>) -> Result<bool, JobError> {
    match current {
        Some(current) if *current == plan.root => Ok(false),
        Some(current) if !copy.job.override_existing => Err(tag_differs(copy, current)),
        _ => Ok(true),
    }
}

/// Returns the attached tags to write. They follow the rule of the call: without override, a tag that differs stays.
pub(super) fn attached_to_write<'a>(
    copy: &ImageCopy<'_>,
    plan: &'a Plan,
    current: &'a [(Tag, Digest)],
) -> Vec<Attached<'a>> {
    let current: HashMap<&Tag, &Digest> = current.iter().map(|(tag, digest)| (tag, digest)).collect();
    let attached =
        plan.attached_tags.iter().map(|(tag, digest)| Attached { tag, digest, current: current.get(tag).copied() });
    attached
        .filter(|Attached { tag, digest, current }| match current {
            None => true,
            Some(current) if current == digest => false,
            Some(_) if copy.job.override_existing => true,
            Some(_) => {
                attached_stays(copy, tag);
                false
            }
        })
        .collect()
}

pub(super) fn attached_stays(copy: &ImageCopy<'_>, tag: &Tag) {
    tracing::info!(job = copy.job.id, %tag, "an attached tag differs in the target and stays");
}

/// The condition that a tag still is what the target reported, so that no write in between is lost.
fn put_condition(current: Option<&Digest>) -> PutCondition {
    current.map_or(PutCondition::IfAbsent, |digest| PutCondition::IfDigest(digest.clone()))
}

/// Counts the looks at the target: a run looks again if somebody else wrote a tag in between, at most [`LOOKS`] times.
pub(super) struct Looks {
    left: u32,
    has_sent: bool,
}

impl Looks {
    pub(super) fn new(copy: &ImageCopy<'_>, plan: &Plan) -> Self {
        // An earlier run may have written this tag and lost the answer.
        let same = copy.job.digest.as_deref() == Some(plan.root.as_str());
        Self { left: LOOKS, has_sent: same && copy.job.target_before.is_some() }
    }

    /// Returns how the run ends after a look, which may have sent something; `None` if the target must be looked at
    /// again.
    pub(super) fn end(
        &mut self,
        copy: &ImageCopy<'_>,
        look: Result<bool, JobError>,
    ) -> Option<Result<JobState, JobError>> {
        self.left -= 1;
        match look {
            Ok(sent) if sent || self.has_sent => Some(Ok(JobState::Success)),
            Ok(_) => Some(Ok(JobState::Existed)),
            Err(JobError::Conflict(reason)) if self.left > 0 => {
                tracing::info!("a tag in the target was written meanwhile, looking again: {reason}");
                self.has_sent = true;
                None
            }
            Err(JobError::Conflict(_)) => Some(Err(JobError::Retry(format!(
                "tag {} of {} in region {}, or one that belongs to it, was written by others {LOOKS} times while it was copied",
                copy.tag, copy.target, copy.region
            )))),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Reads the tag back: a copy succeeds only if the target itself returns the new digest.
async fn read_back(target: &RegistryClient, copy: &ImageCopy<'_>, root: &Digest) -> Result<(), JobError> {
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

/// A blob of this region's store. It can be opened at any offset, and so be sent again.
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
