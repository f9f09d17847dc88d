//! Referrers of a manifest, for clients that know the referrers API and for those that know only the referrers tag.
//!
//! Older clients keep an index of all referrers under a tag derived from the subject's digest, and read it there. The
//! referrers name their subject either way, so the API does not need that tag. In the other direction, an index that is
//! read at such a tag is brought up to date: it has every current referrer and none that is gone (ADR 24).

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use transship_catalog::{Referrers, TagCondition};
use transship_oci::{
    Descriptor, Digest, DigestAlgorithm, MAX_MANIFEST_BYTES, ManifestKind, ManifestView, Reference, Tag, media,
    referrers_tag_subject,
};

use crate::access::asks::Asks;
use crate::access::proof::{Authorized, Pull};
use crate::content::large_pages::Room;
use crate::content::large_pages::{PAGE_BYTES, PATIENCE};
use crate::content::service::Content;
use crate::error::ServiceError;

/// Referrers on one page: with annotations of ordinary size far below the 4 MiB that clients accept.
const PAGE: usize = 100;

/// One page of a subject's referrers.
#[derive(Debug, Default)]
pub struct ReferrersPage {
    /// The entries, by digest.
    pub entries: Vec<Descriptor>,
    /// The digest after which the next page begins; `None` on the last page.
    pub next: Option<Digest>,
    /// The room that the page takes while it is sent.
    pub room: Room,
}

/// The manifest that is read at a tag, with its room.
#[derive(Debug)]
pub(crate) struct ManifestAtTag {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) raw: Bytes,
    pub(crate) room: Room,
}

/// Digest, media type and bytes of an index that was made.
type Made = (Digest, String, Vec<u8>);

impl Content {
    /// One page of the manifests that refer to `subject`, all or those of one artifact type.
    ///
    /// A repository that does not exist has none (OCI distribution, "Listing Referrers").
    pub async fn referrers(
        &self,
        pull: Authorized<'_, Pull>,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
    ) -> Result<ReferrersPage, ServiceError> {
        let repository = match self.granted_repository(pull).await {
            Err(ServiceError::RepositoryAbsent(_)) => return Ok(ReferrersPage::default()),
            found => found?,
        };
        let found = self.catalog().referrers(repository.id, subject, artifact_type, after, PAGE).await?;
        let room = self.rooms().take(pull.asks(), found.bytes, PATIENCE).await?;
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

    /// The manifest at a tag; at a referrers tag, the index of all current referrers of its subject.
    pub(crate) async fn manifest_at_tag(
        &self,
        asks: Asks<'_>,
        repository_id: i64,
        tag: &Tag,
    ) -> Result<Option<ManifestAtTag>, ServiceError> {
        let subject = match referrers_tag_subject(tag) {
            Some(start) => self.catalog().subject_like(repository_id, &start).await?,
            None => None,
        };
        let size_bytes = self.catalog().tagged_size(repository_id, tag).await?;
        let page = match &subject {
            Some(subject) => self.catalog().referrers(repository_id, subject, None, None, PAGE).await?,
            None => Referrers::default(),
        };
        if size_bytes.is_none() && page.digests.is_empty() {
            return Ok(None);
        }
        // One room for all pages, which are read one after another; the index itself is no larger than a page.
        let of_pages = if page.next.is_some() { PAGE_BYTES } else { page.bytes };
        let mut room = self.rooms().take(asks, size_bytes.unwrap_or(0) + of_pages, PATIENCE).await?;
        let stored = self.catalog().find_manifest(repository_id, &Reference::Tag(tag.clone())).await?;
        // The tag may point at another manifest by now.
        let raw_bytes = stored.as_ref().map_or(0, |stored| stored.raw.len() as u64);
        if !self.rooms().grow(&mut room, asks, raw_bytes + of_pages) {
            return Err(ServiceError::TooManyLargeAnswers);
        }
        let referrers = match &subject {
            Some(subject) => self.all_referrers(repository_id, subject, page).await?,
            None => Vec::new(),
        };
        let found = match stored {
            None if referrers.is_empty() => return Ok(None),
            None => self.made_index(repository_id, tag, EMPTY_INDEX, media::OCI_INDEX, |_| true, &referrers).await?,
            Some(stored) => {
                let (digest, media_type) = (stored.digest, stored.media_type);
                let changed = self.brought_up_to_date(repository_id, tag, &media_type, &stored.raw, referrers).await?;
                changed.unwrap_or((digest, media_type, stored.raw))
            }
        };
        let (digest, media_type, raw) = found;
        Ok(Some(ManifestAtTag { digest, media_type, raw: Bytes::from(raw), room }))
    }

    /// An index that was made at a referrers tag; `None` once it would be made differently.
    pub(crate) async fn made_manifest(
        &self,
        asks: Asks<'_>,
        repository_id: i64,
        digest: &Digest,
    ) -> Result<Option<ManifestAtTag>, ServiceError> {
        let Some(tag) = self.made_indexes().tag_of(repository_id, digest).await else { return Ok(None) };
        let now = self.manifest_at_tag(asks, repository_id, &tag).await?;
        Ok(now.filter(|manifest| manifest.digest == *digest))
    }

    /// The condition that a tag points at `seen`.
    ///
    /// At a referrers tag a client may have seen an index that was made. Then the stored manifest must be the one that
    /// the index was made from.
    pub(crate) async fn condition_on(
        &self,
        asks: Asks<'_>,
        repository_id: i64,
        reference: &Reference,
        seen: Digest,
    ) -> Result<TagCondition, ServiceError> {
        let Reference::Tag(tag) = reference else { return Ok(TagCondition::IfDigest(seen)) };
        if referrers_tag_subject(tag).is_none() {
            return Ok(TagCondition::IfDigest(seen));
        }
        // Read the stored digest first: if the tag moves in between, the condition fails.
        let stored = self.catalog().resolve_tag(repository_id, tag).await?;
        let now = self.manifest_at_tag(asks, repository_id, tag).await?;
        if now.is_none_or(|now| now.digest != seen) {
            return Ok(TagCondition::IfDigest(seen));
        }
        Ok(stored.map_or(TagCondition::IfAbsent, TagCondition::IfDigest))
    }

    /// All referrers from the first page on, at most as many as fit an index that clients accept.
    async fn all_referrers(
        &self,
        repository_id: i64,
        subject: &Digest,
        mut page: Referrers,
    ) -> Result<Vec<Descriptor>, ServiceError> {
        let (mut all, mut bytes) = (Vec::new(), 0);
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

    /// The index that a client has stored, without entries that are gone and with new ones; `None` if nothing changes.
    async fn brought_up_to_date(
        &self,
        repository_id: i64,
        tag: &Tag,
        media_type: &str,
        raw: &[u8],
        mut referrers: Vec<Descriptor>,
    ) -> Result<Option<Made>, ServiceError> {
        let listed: Vec<Digest> = match ManifestView::parse(Some(media_type), raw) {
            Ok(view) if view.kind == ManifestKind::Index => view.children.into_iter().map(|c| c.digest).collect(),
            _ => return Ok(None),
        };
        let there: HashSet<Digest> =
            self.catalog().manifest_exists(repository_id, &listed).await?.into_iter().collect();
        let known: HashSet<&Digest> = listed.iter().collect();
        referrers.retain(|entry| !known.contains(&entry.digest));
        if referrers.is_empty() && listed.iter().all(|digest| there.contains(digest)) {
            return Ok(None);
        }
        let stays = |digest: &Digest| !known.contains(digest) || there.contains(digest);
        self.made_index(repository_id, tag, raw, media_type, stays, &referrers).await.map(Some)
    }

    /// The index `base` without the entries that do not stay, and with others. Entries that stay keep their bytes.
    async fn made_index(
        &self,
        repository_id: i64,
        tag: &Tag,
        base: &[u8],
        media_type: &str,
        stays: impl Fn(&Digest) -> bool,
        others: &[Descriptor],
    ) -> Result<Made, ServiceError> {
        let raw = changed_index(base, stays, others)
            .map_err(|error| ServiceError::Internal(format!("an index that was checked cannot be read: {error}")))?;
        let digest = Digest::of(DigestAlgorithm::Sha256, &raw);
        self.made_indexes().remember(repository_id, &digest, tag).await;
        Ok((digest, media_type.to_owned(), raw))
    }
}

/// Parses only the entries, one by one: a full parse of a 4 MiB index would take many times its size.
fn changed_index(
    base: &[u8],
    stays: impl Fn(&Digest) -> bool,
    others: &[Descriptor],
) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Entry {
        digest: Digest,
    }
    let mut index: BTreeMap<String, &RawValue> = serde_json::from_slice(base)?;
    let listed: Vec<&RawValue> = match index.get("manifests") {
        Some(entries) => serde_json::from_str(entries.get())?,
        None => Vec::new(),
    };
    let is_there = |entry: &&RawValue| serde_json::from_str::<Entry>(entry.get()).map_or(true, |e| stays(&e.digest));
    let others = others.iter().map(to_raw_value).collect::<Result<Vec<_>, _>>()?;
    let entries: Vec<&RawValue> = listed.into_iter().filter(is_there).chain(others.iter().map(AsRef::as_ref)).collect();
    let entries = to_raw_value(&entries)?;
    index.insert("manifests".to_owned(), &entries);
    serde_json::to_vec(&index)
}

/// The base of an index where no client has stored one.
const EMPTY_INDEX: &[u8] =
    br#"{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#;

#[cfg(test)]
mod tests;
