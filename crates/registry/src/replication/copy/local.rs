//! Copying an image to another organization of the same region: only links and rows are written, no bytes move.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use transship_catalog::{JobState, TagCondition};
use transship_oci::{Digest, ManifestView, Tag};

use super::plan::Plan;
use super::push::{Attached, Looks, attached_stays, attached_to_write, must_move};
use super::target::by_digest;
use super::{ImageCopy, JobError};
use crate::content::repositories::RepositoryAttributes;
use crate::error::ServiceError;
use crate::replication::service::Replication;

impl Replication {
    pub(super) async fn copy_within(&self, copy: &ImageCopy<'_>, plan: &Plan) -> Result<JobState, JobError> {
        let namespace_id = self.content.pushable_namespace(&copy.principal, &copy.target).await?;
        let attributes = RepositoryAttributes {
            is_public: false,
            category: copy.category.clone(),
            description: copy.description.clone(),
        };
        let target = self.content.ensure_repository(&copy.principal, namespace_id, &copy.target, attributes).await?.id;
        let mut looks = Looks::new(copy, plan);
        loop {
            let look = self.link_missing(copy, plan, target).await;
            if let Some(end) = looks.end(copy, look) {
                return end;
            }
        }
    }

    /// Links and stores what the target lacks. Returns `false` if it lacks nothing.
    async fn link_missing(&self, copy: &ImageCopy<'_>, plan: &Plan, target: i64) -> Result<bool, JobError> {
        let mut tags: Vec<Tag> = plan.attached_tags.iter().map(|(tag, _)| tag.clone()).collect();
        tags.push(copy.tag.clone());
        let there = self.catalog().resolve_tags(target, &tags).await.map_err(ServiceError::from)?;
        let current = there.iter().find(|(tag, _)| *tag == copy.tag).map(|(_, digest)| digest);
        let moves = must_move(copy, plan, current)?;
        let attached = attached_to_write(copy, plan, &there);
        let blobs = self.link_blobs(copy, plan, target).await?;
        let manifests = self.store_manifests(copy, plan, target, moves).await?;
        for Attached { tag, digest, current } in &attached {
            let (tags, condition) = (vec![(*tag).clone()], tag_condition(*current));
            match self.copy_manifest(copy.source_id, target, digest, tags, condition).await {
                // Somebody wrote the tag after the target was looked at. Without override it stays, as in another
                // region.
                Err(JobError::Conflict(_)) if !copy.job.override_existing => attached_stays(copy, tag),
                other => other?,
            }
        }
        if moves {
            let (replication, source, root) = (self.clone(), copy.source_id, plan.root.clone());
            let (tags, condition) = (vec![copy.tag.clone()], tag_condition(current));
            let write = async move { replication.copy_manifest(source, target, &root, tags, condition).await };
            self.write_tag(copy, current, Box::pin(write)).await?;
        }
        Ok(moves || blobs || manifests || !attached.is_empty())
    }

    async fn link_blobs(&self, copy: &ImageCopy<'_>, plan: &Plan, target: i64) -> Result<bool, JobError> {
        let wanted: Vec<Digest> = plan.blobs.iter().map(|(digest, _)| digest.clone()).collect();
        let linked = self.catalog().find_linked(target, &wanted).await.map_err(ServiceError::from)?;
        let linked: HashSet<Digest> = linked.into_iter().map(|(digest, _)| digest).collect();
        copy.progress.blobs_done.store(linked.len() as u64, Ordering::Relaxed);
        for digest in wanted.iter().filter(|digest| !linked.contains(*digest)) {
            let mounted = self.catalog().mount_blob(copy.source_id, target, digest).await;
            if mounted.map_err(ServiceError::from)?.is_none() {
                return Err(JobError::Retry(format!("blob {digest} cannot be read in the source repository any more")));
            }
            copy.progress.blobs_done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(linked.len() < wanted.len())
    }

    async fn store_manifests(
        &self,
        copy: &ImageCopy<'_>,
        plan: &Plan,
        target: i64,
        root_follows: bool,
    ) -> Result<bool, JobError> {
        let wanted: Vec<Digest> = plan.manifests.iter().flatten().cloned().collect();
        let there = self.catalog().manifest_exists(target, &wanted).await.map_err(ServiceError::from)?;
        let there: HashSet<Digest> = there.into_iter().collect();
        // The root is stored together with the tag; nothing needs it before.
        let later = Some(&plan.root).filter(|root| root_follows && plan.is_highest(root));
        for digest in wanted.iter().filter(|digest| !there.contains(*digest) && Some(*digest) != later) {
            self.copy_manifest(copy.source_id, target, digest, Vec::new(), TagCondition::Always).await?;
        }
        Ok(there.len() < wanted.len())
    }

    async fn copy_manifest(
        &self,
        source: i64,
        target: i64,
        digest: &Digest,
        tags: Vec<Tag>,
        condition: TagCondition,
    ) -> Result<(), JobError> {
        let stored = self.catalog().find_manifest(source, &by_digest(digest)).await;
        let stored = stored.map_err(ServiceError::from)?;
        let stored = stored
            .ok_or_else(|| JobError::Retry(format!("manifest {digest} is not in the source repository any more")))?;
        let view = ManifestView::parse(Some(&stored.media_type), &stored.raw).map_err(ServiceError::from)?;
        match self.content.store_manifest(target, digest.clone(), &view, &stored.raw, tags, condition).await {
            Ok(_) => Ok(()),
            Err(ServiceError::PreconditionFailed(current)) => {
                let at = current.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
                Err(JobError::Conflict(format!("it points at {at}")))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The condition that a tag has not changed since it was looked at.
fn tag_condition(current: Option<&Digest>) -> TagCondition {
    current.map_or(TagCondition::IfAbsent, |digest| TagCondition::IfDigest(digest.clone()))
}
