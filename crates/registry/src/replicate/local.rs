//! Copying an image to another organization of the own region: links and rows only, no byte moves.

use std::sync::atomic::Ordering;

use transship_catalog::{JobState, TagCondition};
use transship_oci::{Digest, ManifestView, Tag};

use super::plan::Plan;
use super::target::by_digest;
use super::{Copy, JobError, tag_differs};
use crate::{Registry, RepositoryAttributes, ServiceError};

impl Registry {
    pub(super) async fn copy_within(&self, copy: &Copy<'_>, plan: &Plan) -> Result<JobState, JobError> {
        self.require_push(&copy.principal, &copy.target).await?;
        let attributes = RepositoryAttributes {
            is_public: false,
            category: copy.category.clone(),
            description: copy.description.clone(),
        };
        let target = self.ensure_repository(&copy.principal, &copy.target, attributes).await?.id;
        let current = self.resolve_tag(target, &copy.tag).await?;
        if current.as_ref() == Some(&plan.root) {
            return Ok(JobState::Existed);
        }
        if current.is_some() && !copy.job.override_existing {
            return Err(tag_differs(copy, current.as_ref()));
        }
        for (digest, _) in &plan.blobs {
            let mounted =
                self.catalog().mount_blob(copy.source_id, target, digest).await.map_err(ServiceError::from)?;
            if mounted.is_none() {
                return Err(JobError::Retry(format!("blob {digest} is not in the source repository any more")));
            }
            copy.progress.blobs_done.fetch_add(1, Ordering::Relaxed);
        }
        for digest in plan.manifests.iter().flatten() {
            self.copy_manifest(copy, target, digest, Vec::new(), TagCondition::Always).await?;
        }
        let condition = || if copy.job.override_existing { TagCondition::Always } else { TagCondition::IfAbsent };
        for (tag, digest) in &plan.attached_tags {
            match self.copy_manifest(copy, target, digest, vec![tag.clone()], condition()).await {
                // One that differs stays, as in another region.
                Ok(()) | Err(ServiceError::PreconditionFailed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match self.copy_manifest(copy, target, &plan.root, vec![copy.tag.clone()], condition()).await {
            Ok(()) => Ok(JobState::Success),
            Err(ServiceError::PreconditionFailed(current)) => Err(tag_differs(copy, current.as_ref())),
            Err(error) => Err(error.into()),
        }
    }

    async fn copy_manifest(
        &self,
        copy: &Copy<'_>,
        target: i64,
        digest: &Digest,
        tags: Vec<Tag>,
        condition: TagCondition,
    ) -> Result<(), ServiceError> {
        let stored = self.catalog().find_manifest(copy.source_id, &by_digest(digest)).await?;
        let stored = stored.ok_or_else(|| ServiceError::BlobUnknown(digest.clone()))?;
        let view = ManifestView::parse(Some(&stored.media_type), &stored.raw)?;
        self.store_manifest(target, digest.clone(), &view, &stored.raw, tags, condition).await?;
        Ok(())
    }
}
