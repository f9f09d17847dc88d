//! Pushing, pulling, listing and deleting manifests with the registry protocol.
//!
//! Owns: which digest a manifest gets, and what a push must name. Never re-serialises a manifest (rule 9).

use std::sync::Arc;

use bytes::Bytes;
use transship_catalog::{Pulled, PulledManifest, PutManifest, PutManifestError, Repository, TagCondition};
use transship_oci::{
    Digest, DigestAlgorithm, ManifestView, NamespaceName, Reference, RepositoryName, Tag, referrers_tag_subject,
};

use crate::access::policy::Principal;
use crate::access::proof::{Authorized, Delete, Pull, Push};
use crate::content::large_pages::{PATIENCE, SMALL_BYTES};
use crate::content::sending::LargeManifest;
use crate::content::service::Content;
use crate::content::stored_manifest::StoredManifest;
use crate::detached::detached;
use crate::error::ServiceError;

/// A manifest that was asked for.
#[derive(Clone, Debug)]
pub struct FoundManifest {
    /// The manifest, without the bytes of a large one.
    pub stored: Arc<StoredManifest>,
    /// A large index that was made for this request.
    made: Option<Arc<LargeManifest>>,
}

impl std::ops::Deref for FoundManifest {
    type Target = StoredManifest;

    fn deref(&self) -> &StoredManifest {
        &self.stored
    }
}

/// When a push by tag may move the tag (If-Match, If-None-Match).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushCondition {
    /// Always.
    Always,
    /// Only if the tag does not exist, or already points at this manifest.
    IfAbsent,
    /// Only if the tag points at this digest.
    IfDigest(Digest),
}

/// A manifest to push.
#[derive(Clone, Debug)]
pub struct ManifestPush {
    /// The target: a tag, or the manifest's own digest.
    pub reference: Reference,
    /// Additional tags for it (`?tag=`).
    pub tags: Vec<Tag>,
    /// The request's media type.
    pub content_type: Option<String>,
    /// The raw bytes.
    pub raw: Bytes,
    /// When the tags may move.
    pub condition: PushCondition,
}

/// The result of a push.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The subject it refers to.
    pub subject: Option<Digest>,
    /// The tags that now point at it.
    pub tags: Vec<Tag>,
}

impl Content {
    /// The repository of that name.
    pub(crate) async fn repository(&self, name: &RepositoryName) -> Result<Repository, ServiceError> {
        let found = self.catalog().find_repository(name).await?;
        found.ok_or_else(|| ServiceError::RepositoryAbsent(name.to_string()))
    }

    /// The repository of that name, created if absent: a push creates it, private (contract 7.6).
    pub(crate) async fn repository_to_push(&self, push: Authorized<'_, Push>) -> Result<Repository, ServiceError> {
        let name = push.name();
        if let Some(found) = self.catalog().find_repository(name).await? {
            push.require(found.namespace_id)?;
            return Ok(found);
        }
        let Some(principal) = push.principal() else {
            return Err(ServiceError::Denied("an anonymous caller may not create repositories".to_owned()));
        };
        let attributes = crate::content::repositories::RepositoryAttributes::default;
        match self.ensure_granted_repository(principal, push, attributes()).await {
            // In an open region nobody creates the organization beforehand.
            Err(ServiceError::NamespaceAbsent { .. }) if push.grant().may_do_everything() => {
                match self.create_namespace(principal, name.namespace()).await {
                    // Another push created it meanwhile.
                    Ok(()) | Err(ServiceError::NamespaceTaken(_)) => {}
                    Err(error) => return Err(error),
                }
                self.ensure_granted_repository(principal, push, attributes()).await
            }
            made => made,
        }
    }

    /// Finds a manifest by tag or digest.
    pub async fn find_manifest(
        &self,
        pull: Authorized<'_, Pull>,
        reference: &Reference,
    ) -> Result<FoundManifest, ServiceError> {
        let key = format!("{} {reference}", pull.name());
        let mut made = None;
        let ask = async || {
            let (found, large) = self.asked_manifest(pull, reference).await?;
            made = large;
            Ok(found)
        };
        let pulled = self.manifest_cache().get(self.catalog(), &key, ask).await?;
        pull.require(pulled.namespace_id)?;
        Ok(FoundManifest { stored: Arc::clone(&pulled.content), made })
    }

    /// Reads a manifest from the catalog. At a referrers tag, the index is made from more than is stored there.
    async fn asked_manifest(
        &self,
        pull: Authorized<'_, Pull>,
        reference: &Reference,
    ) -> Result<(Pulled<Arc<StoredManifest>>, Option<Arc<LargeManifest>>), ServiceError> {
        let is_made = matches!(reference, Reference::Tag(tag) if referrers_tag_subject(tag).is_some());
        if !is_made && let Some(found) = self.catalog().pull_manifest(pull.name(), reference, SMALL_BYTES).await? {
            let PulledManifest { digest, media_type, size_bytes, raw } = found.content;
            let stored = StoredManifest { digest, media_type, size_bytes, raw: raw.map(Bytes::from) };
            return Ok((Pulled { namespace_id: found.namespace_id, content: Arc::new(stored) }, None));
        }
        // The cause may be that the repository is missing, or is a different one now.
        let repository = self.granted_repository(pull).await?;
        let found = match reference {
            Reference::Tag(tag) => self.manifest_at_tag(pull.asks(), repository.id, tag).await?,
            Reference::Digest(digest) => self.made_manifest(pull.asks(), repository.id, digest).await?,
        };
        let found = found.ok_or_else(|| ServiceError::ManifestAbsent(reference.to_string()))?;
        let size_bytes = found.raw.len() as u64;
        let (raw, made) = if size_bytes <= SMALL_BYTES {
            (Some(found.raw), None)
        } else {
            (None, Some(self.sending().begin(&found.digest, found.raw, found.room)))
        };
        let stored = StoredManifest { digest: found.digest, media_type: found.media_type, size_bytes, raw };
        Ok((Pulled { namespace_id: repository.namespace_id, content: Arc::new(stored) }, made))
    }

    /// The bytes of a large manifest that was found, for sending: in room of its own, or shared with other readers.
    ///
    /// # Errors
    /// [`ServiceError::TooManyLargeAnswers`] if there is no room in time.
    pub async fn send_manifest(
        &self,
        pull: Authorized<'_, Pull>,
        reference: &Reference,
        found: &FoundManifest,
    ) -> Result<Arc<LargeManifest>, ServiceError> {
        if let Some(made) = &found.made {
            return Ok(Arc::clone(made));
        }
        let join = || self.sending().join(&found.digest);
        let room = match self.rooms().take_unless(pull.asks(), found.size_bytes, PATIENCE, join).await? {
            Ok(room) => room,
            Err(shared) => return Ok(shared),
        };
        let by_digest = Reference::Digest(found.digest.clone());
        if let Some(stored) = self.catalog().pull_manifest(pull.name(), &by_digest, u64::MAX).await?
            && let Some(raw) = stored.content.raw
        {
            pull.require(stored.namespace_id)?;
            let begun = self.sending().begin(&found.digest, Bytes::from(raw), room);
            self.rooms().look_again();
            return Ok(begun);
        }
        // The index was made for an earlier request; make it again.
        drop(room);
        let (_, made) = self.asked_manifest(pull, reference).await?;
        made.ok_or_else(|| ServiceError::ManifestAbsent(reference.to_string()))
    }

    /// Stores a manifest and moves its tags, all or nothing.
    pub async fn push_manifest(
        &self,
        allowed: Authorized<'_, Push>,
        push: ManifestPush,
    ) -> Result<Pushed, ServiceError> {
        let view = ManifestView::parse(push.content_type.as_deref(), &push.raw)?;
        let (digest, mut tags) = match &push.reference {
            Reference::Digest(expected) => {
                let actual = Digest::of(expected.algorithm(), &push.raw);
                if actual != *expected {
                    return Err(ServiceError::DigestMismatch { expected: expected.clone(), actual });
                }
                (actual, Vec::new())
            }
            Reference::Tag(tag) => (Digest::of(DigestAlgorithm::Sha256, &push.raw), vec![tag.clone()]),
        };
        for tag in push.tags {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let repository = self.repository_to_push(allowed).await?;
        let condition = match push.condition {
            PushCondition::Always => TagCondition::Always,
            PushCondition::IfAbsent => TagCondition::IfAbsent,
            PushCondition::IfDigest(digest) => {
                self.condition_on(allowed.asks(), repository.id, &push.reference, digest).await?
            }
        };
        let content = self.clone();
        detached(async move { content.store_manifest(repository.id, digest, &view, &push.raw, tags, condition).await })
            .await
    }

    /// Touches every blob and child, stores the raw bytes and moves the tags, in one transaction.
    pub(crate) async fn store_manifest(
        &self,
        repository_id: i64,
        digest: Digest,
        view: &ManifestView,
        raw: &[u8],
        tags: Vec<Tag>,
        condition: TagCondition,
    ) -> Result<Pushed, ServiceError> {
        let mut blobs: Vec<(Digest, u64)> = view.blobs().map(|d| (d.digest.clone(), d.size_bytes)).collect();
        blobs.sort();
        blobs.dedup();
        let mut children: Vec<(Digest, u64)> = view.children.iter().map(|d| (d.digest.clone(), d.size_bytes)).collect();
        children.sort();
        children.dedup();
        let subject = view.subject.as_ref().map(|d| d.digest.clone());
        let put = PutManifest {
            repository_id,
            digest: digest.clone(),
            media_type: view.media_type.clone(),
            artifact_type: view.artifact_type.clone(),
            subject_digest: subject.clone(),
            config_digest: view.config.as_ref().map(|d| d.digest.clone()),
            layers_size_bytes: view.layers.iter().map(|d| d.size_bytes).fold(0, u64::saturating_add),
            raw,
            blobs: &blobs,
            children: &children,
            tags: &tags,
            condition,
            sparse: self.settings().sparse_indexes,
        };
        match self.catalog().put_manifest(put).await {
            Ok(_) => Ok(Pushed { digest, subject, tags }),
            Err(PutManifestError::BlobUnknown(digest)) => Err(ServiceError::BlobUnknown(digest)),
            Err(PutManifestError::ChildUnknown(digest)) => Err(ServiceError::ChildUnknown(digest)),
            Err(PutManifestError::SizeDiffers { digest, expected, actual }) => {
                let kind = if children.iter().any(|(child, _)| *child == digest) { "manifest" } else { "blob" };
                Err(ServiceError::SizeDiffers { what: format!("{kind} {digest}"), expected, actual })
            }
            Err(PutManifestError::ConditionFailed { current, .. }) => Err(ServiceError::PreconditionFailed(current)),
            Err(PutManifestError::Catalog(error)) => Err(error.into()),
        }
    }

    /// Deletes a tag, or a manifest with every tag that points at it.
    pub async fn delete_manifest(
        &self,
        delete: Authorized<'_, Delete>,
        reference: &Reference,
    ) -> Result<(), ServiceError> {
        let repository = self.granted_repository(delete).await?;
        let deleted = match reference {
            Reference::Tag(tag) => self.catalog().delete_tag(repository.id, tag).await?,
            Reference::Digest(digest) => self.catalog().delete_manifest(repository.id, digest).await?,
        };
        if deleted { Ok(()) } else { Err(ServiceError::ManifestAbsent(reference.to_string())) }
    }

    /// One page of a repository's tags in byte order, after `after`.
    pub async fn tag_names(
        &self,
        pull: Authorized<'_, Pull>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Tag>, ServiceError> {
        let repository = self.granted_repository(pull).await?;
        Ok(self.catalog().list_tags(repository.id, after, limit).await?)
    }

    /// One page of the names of the repositories that a caller may pull from.
    pub async fn repository_names(
        &self,
        principal: Option<&Principal>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, ServiceError> {
        let (account, user, admin) =
            principal.map_or(("", "", false), |p| (p.account_id.as_str(), p.user_id.as_str(), p.is_admin));
        Ok(self.catalog().repository_names(account, user, admin, after, limit).await?)
    }

    /// Whether the namespace exists, so that a push to it could ever succeed; for error texts.
    pub async fn namespace_exists(&self, name: &NamespaceName) -> Result<bool, ServiceError> {
        Ok(self.catalog().find_namespace(name).await?.is_some())
    }
}
