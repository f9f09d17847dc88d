//! What refers to a manifest, for clients that know the referrers API and for those that know only its tag.
//!
//! Older clients keep an index of all referrers under a tag made of the subject's digest, and read it there. The
//! referrers themselves name their subject either way, so the API needs nothing from that tag. The other way round, what
//! is read at such a tag is brought up to date: what refers to the subject now is in it, what is gone is not (ADR 24).

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Value, json};
use transship_catalog::{Referrers, TagCondition};
use transship_oci::{
    Descriptor, Digest, DigestAlgorithm, MAX_MANIFEST_BYTES, ManifestKind, ManifestView, Reference, Tag, media,
    referrers_tag_subject,
};

use crate::access::policy::Principal;
use crate::access::token_grant::GrantedName;
use crate::content::large_pages::Room;
use crate::content::large_pages::{PAGE_BYTES, PATIENCE};
use crate::content::service::Content;
use crate::content::stored_manifest::StoredManifest;
use crate::error::ServiceError;

/// Referrers on one page: with annotations of ordinary size far below the 4 MiB that clients accept.
const PAGE: usize = 100;

/// One page of what refers to a subject.
#[derive(Debug, Default)]
pub struct ReferrersPage {
    /// The entries, by digest.
    pub entries: Vec<Descriptor>,
    /// Where the next page begins, when there is one: after this.
    pub next: Option<Digest>,
    /// What the page takes up while it is sent.
    pub room: Room,
}

impl Content {
    /// One page of the manifests that refer to `subject`, all or those of one artifact type. A repository that does not
    /// exist has none (OCI distribution, "Listing Referrers"). `principal` is who waits for room for the page.
    pub async fn referrers(
        &self,
        principal: Option<&Principal>,
        name: impl Into<GrantedName<'_>>,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
    ) -> Result<ReferrersPage, ServiceError> {
        let repository = match self.granted_repository(name.into()).await {
            Err(ServiceError::RepositoryAbsent(_)) => return Ok(ReferrersPage::default()),
            found => found?,
        };
        let found = self.catalog().referrers(repository.id, subject, artifact_type, after, PAGE).await?;
        let account = principal.map_or("", |principal| &principal.account_id);
        let room = self.rooms().take(account, found.bytes, PATIENCE).await?;
        let entries = self.descriptors(repository.id, &found).await?;
        Ok(ReferrersPage { entries, next: found.next, room })
    }

    async fn descriptors(&self, repository_id: i64, found: &Referrers) -> Result<Vec<Descriptor>, ServiceError> {
        let manifests = self.catalog().manifests(repository_id, &found.digests).await?;
        let entry = |stored: &transship_catalog::StoredManifest| {
            let view = ManifestView::parse(Some(&stored.media_type), &stored.raw).ok()?;
            let mut entry = Descriptor::new(&stored.media_type, stored.digest.clone(), stored.raw.len() as u64);
            entry.artifact_type = view.artifact_type;
            entry.annotations = view.annotations;
            Some(entry)
        };
        Ok(manifests.iter().filter_map(entry).collect())
    }

    /// What is read at a tag: for a referrers tag the index with all that refers to its subject now.
    pub(crate) async fn manifest_at_tag(
        &self,
        repository_id: i64,
        tag: &Tag,
    ) -> Result<Option<StoredManifest>, ServiceError> {
        let stored = self.catalog().find_manifest(repository_id, &Reference::Tag(tag.clone())).await?;
        let stored = stored.map(StoredManifest::from);
        let Some(start) = referrers_tag_subject(tag) else { return Ok(stored) };
        let subject = self.catalog().subject_like(repository_id, &start).await?;
        let referrers = match &subject {
            Some(subject) => self.all_referrers(repository_id, subject).await?,
            None => Vec::new(),
        };
        match stored {
            None if referrers.is_empty() => Ok(None),
            None => Ok(Some(self.made_index(repository_id, tag, &empty_index(), &referrers).await)),
            Some(stored) => self.brought_up_to_date(repository_id, tag, stored, referrers).await.map(Some),
        }
    }

    /// An index that was made at a referrers tag, as long as it would be made the same again.
    pub(crate) async fn made_manifest(
        &self,
        repository_id: i64,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>, ServiceError> {
        let Some(tag) = self.made_indexes().tag_of(repository_id, digest).await else { return Ok(None) };
        let now = self.manifest_at_tag(repository_id, &tag).await?;
        Ok(now.filter(|manifest| manifest.digest == *digest))
    }

    /// The condition that a tag points at `seen`. At a referrers tag a client may have seen an index that was made; then
    /// what is stored must be what it was made from.
    pub(crate) async fn condition_on(
        &self,
        repository_id: i64,
        reference: &Reference,
        seen: Digest,
    ) -> Result<TagCondition, ServiceError> {
        let Reference::Tag(tag) = reference else { return Ok(TagCondition::IfDigest(seen)) };
        if referrers_tag_subject(tag).is_none() {
            return Ok(TagCondition::IfDigest(seen));
        }
        // First what is stored: when it moves in between, the condition does not hold.
        let stored = self.catalog().resolve_tag(repository_id, tag).await?;
        let now = self.manifest_at_tag(repository_id, tag).await?;
        if now.is_none_or(|now| now.digest != seen) {
            return Ok(TagCondition::IfDigest(seen));
        }
        Ok(stored.map_or(TagCondition::IfAbsent, TagCondition::IfDigest))
    }

    /// As many as fit an index that clients accept.
    async fn all_referrers(&self, repository_id: i64, subject: &Digest) -> Result<Vec<Descriptor>, ServiceError> {
        let (mut all, mut bytes) = (Vec::new(), 0);
        let mut page = self.catalog().referrers(repository_id, subject, None, None, PAGE).await?;
        // One room for all pages, which come one after another; the index itself is as small as a page may be.
        let most = if page.next.is_some() { PAGE_BYTES } else { page.bytes };
        let _room = self.rooms().take("", most, PATIENCE).await?;
        loop {
            for entry in self.descriptors(repository_id, &page).await? {
                bytes += serde_json::to_vec(&entry).map_or(0, |text| text.len() + 1);
                if bytes > MAX_MANIFEST_BYTES / 2 {
                    return Ok(all);
                }
                all.push(entry);
            }
            let Some(next) = page.next else { return Ok(all) };
            page = self.catalog().referrers(repository_id, subject, None, Some(&next), PAGE).await?;
        }
    }

    /// The index that a client has put there, without what is gone since and with what came.
    async fn brought_up_to_date(
        &self,
        repository_id: i64,
        tag: &Tag,
        stored: StoredManifest,
        mut referrers: Vec<Descriptor>,
    ) -> Result<StoredManifest, ServiceError> {
        let Ok(view) = ManifestView::parse(Some(&stored.media_type), &stored.raw) else { return Ok(stored) };
        let Ok(mut index) = serde_json::from_slice::<Value>(&stored.raw) else { return Ok(stored) };
        if view.kind != ManifestKind::Index {
            return Ok(stored);
        }
        let listed: Vec<Digest> = view.children.iter().map(|child| child.digest.clone()).collect();
        let there: HashSet<Digest> =
            self.catalog().manifest_exists(repository_id, &listed).await?.into_iter().collect();
        let known: HashSet<&Digest> = listed.iter().collect();
        referrers.retain(|entry| !known.contains(&entry.digest));
        if referrers.is_empty() && listed.iter().all(|digest| there.contains(digest)) {
            return Ok(stored);
        }
        if let Some(entries) = index.get_mut("manifests").and_then(Value::as_array_mut) {
            let is_gone = |entry: &Value| {
                let digest = entry["digest"].as_str().and_then(|text| text.parse::<Digest>().ok());
                digest.is_some_and(|digest| known.contains(&digest) && !there.contains(&digest))
            };
            entries.retain(|entry| !is_gone(entry));
        }
        Ok(self.made_index(repository_id, tag, &index, &referrers).await)
    }

    async fn made_index(&self, repository_id: i64, tag: &Tag, base: &Value, entries: &[Descriptor]) -> StoredManifest {
        let mut index = base.clone();
        if let Some(manifests) = index.get_mut("manifests").and_then(Value::as_array_mut) {
            manifests.extend(entries.iter().map(|entry| json!(entry)));
        }
        let raw = index.to_string().into_bytes();
        let digest = Digest::of(DigestAlgorithm::Sha256, &raw);
        self.made_indexes().remember(repository_id, &digest, tag).await;
        let media_type = base["mediaType"].as_str().unwrap_or(media::OCI_INDEX).to_owned();
        StoredManifest { digest, media_type, raw: Bytes::from(raw) }
    }
}

fn empty_index() -> Value {
    json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [] })
}

#[cfg(test)]
mod tests;
