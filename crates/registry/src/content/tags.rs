//! Tags as the management API sees them: contract 5.5.

use std::collections::HashMap;
use std::sync::Arc;

use transship_catalog::{Level, ListTagDetails, TagCondition, TagDetail, TagOrder};
use transship_oci::{Digest, Reference, RepositoryName, Tag};

use crate::access::asks::Asks;
use crate::access::policy::Principal;
use crate::content::large_pages::Room;
use crate::content::large_pages::{LITTLE_PATIENCE, PAGE_BYTES, PATIENCE, ROW_BYTES};
use crate::content::service::Content;
use crate::error::ServiceError;

/// A tag with the manifest that it points at.
#[derive(Clone, Debug)]
pub struct TagView {
    /// Its id.
    pub id: i64,
    /// The id of its repository.
    pub repository_id: i64,
    /// Its name.
    pub tag: String,
    /// Hex part of the config's digest; empty for an index.
    pub image_id: String,
    /// Digest of the manifest.
    pub digest: String,
    /// Whether it is an index of several manifests.
    pub is_index: bool,
    /// Sum of the sizes of the layers.
    pub size_bytes: u64,
    /// The raw manifest; `None` if it was not requested, or the page has no room for it.
    pub manifest: Option<Arc<str>>,
    /// `{registry}/{namespace}/{repository}:{tag}`.
    pub path: String,
    /// When the tag was created, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it was last moved, milliseconds since 1970.
    pub updated_at_ms: i64,
}

/// Which tags to list.
#[derive(Clone, Debug)]
pub struct ListTags {
    /// Only names that contain this.
    pub name_contains: Option<String>,
    /// The order, and whether it is descending.
    pub order: (TagOrder, bool),
    /// Page size.
    pub limit: i64,
    /// Where the page starts.
    pub page: TagPage,
    /// What to do with the manifests.
    pub manifests: Manifests,
}

/// What to do with the manifests of a page of tags. They share one budget; the first is always included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manifests {
    /// Includes none.
    No,
    /// Leaves out those beyond the budget, or all if other large pages take the room. The page has all its tags.
    AsFarAsTheyFit,
    /// Includes the manifest of every tag; the page ends where the budget does.
    EndThePage,
}

/// One page of tags.
#[derive(Debug)]
pub struct TagList {
    /// The tags.
    pub tags: Vec<TagView>,
    /// Number of tags on all pages.
    pub total: i64,
    /// Whether the page ended before its limit although tags follow.
    pub ended_early: bool,
    /// The room that the page takes while it is sent.
    pub room: Room,
}

/// Where a page of tags starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagPage {
    /// After this many records.
    Offset(i64),
    /// After this tag, in byte order.
    After(String),
}

impl Content {
    /// One page of a repository's tags.
    pub async fn list_tags(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        list: ListTags,
    ) -> Result<TagList, ServiceError> {
        let (repository, _) = self.access.repository_for(principal, name, Level::Read).await?;
        let (offset, after) = match list.page {
            TagPage::Offset(offset) => (offset, None),
            TagPage::After(tag) => (0, Some(tag)),
        };
        let asked = ListTagDetails {
            repository_id: repository.id,
            name: None,
            name_contains: list.name_contains,
            order: list.order.0,
            descending: list.order.1,
            limit: list.limit,
            offset,
            after,
        };
        let asks = Asks::Account(&principal.account_id);
        let read = || async { Ok(self.catalog().tag_details(asked.clone()).await?) };
        let of_rows = |(rows, _): &(Vec<TagDetail>, i64)| rows.len() as u64 * ROW_BYTES;
        let of_all = |page: &(Vec<TagDetail>, i64)| of_rows(page) + fitting(&page.0).1;
        let with_manifests = match list.manifests {
            Manifests::No => None,
            Manifests::AsFarAsTheyFit => match self.rooms().read(asks, LITTLE_PATIENCE, &read, of_all).await {
                Err(ServiceError::TooManyLargeAnswers) => None,
                taken => Some(taken?),
            },
            Manifests::EndThePage => Some(self.rooms().read(asks, PATIENCE, &read, of_all).await?),
        };
        let shows_manifests = with_manifests.is_some();
        let ((mut rows, total), room) = match with_manifests {
            Some(taken) => taken,
            None => self.rooms().read(asks, PATIENCE, &read, of_rows).await?,
        };
        let (fitting, _) = fitting(&rows);
        let ended_early = list.manifests == Manifests::EndThePage && fitting < rows.len();
        if ended_early {
            rows.truncate(fitting);
        }
        let manifests =
            if shows_manifests { self.raw_manifests(repository.id, &rows[..fitting]).await? } else { HashMap::new() };
        let view = |(place, row): (usize, TagDetail)| {
            let manifest = manifests.get(&row.digest).filter(|_| place < fitting).cloned();
            self.tag_view(name, repository.id, &row, manifest)
        };
        let tags = rows.into_iter().enumerate().map(view).collect();
        Ok(TagList { tags, total, ended_early, room })
    }

    /// The manifests of some tags, each once.
    async fn raw_manifests(
        &self,
        repository_id: i64,
        rows: &[TagDetail],
    ) -> Result<HashMap<Digest, Arc<str>>, ServiceError> {
        let mut digests: Vec<Digest> = rows.iter().map(|row| row.digest.clone()).collect();
        digests.sort_unstable();
        digests.dedup();
        let stored = self.catalog().manifests(repository_id, &digests).await?;
        let raw = |stored: transship_catalog::StoredManifest| {
            let text =
                String::from_utf8(stored.raw).map_err(|_| ServiceError::Internal("a manifest is no text".into()))?;
            Ok((stored.digest, Arc::from(text)))
        };
        stored.into_iter().map(raw).collect()
    }

    /// One tag with its manifest, and the room that they take while they are sent.
    pub async fn show_tag(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<(TagView, Room), ServiceError> {
        let (repository, _) = self.access.repository_for(principal, name, Level::Read).await?;
        let (rows, _) = self
            .catalog()
            .tag_details(ListTagDetails {
                repository_id: repository.id,
                name: Some(tag.to_string()),
                name_contains: None,
                order: TagOrder::Name,
                descending: false,
                limit: 1,
                offset: 0,
                after: None,
            })
            .await?;
        let row = rows.into_iter().next().ok_or_else(|| tag_absent(name, tag))?;
        let room = self.rooms().take(Asks::Account(&principal.account_id), row.manifest_bytes, PATIENCE).await?;
        let manifest = self.raw_manifests(repository.id, std::slice::from_ref(&row)).await?.remove(&row.digest);
        Ok((self.tag_view(name, repository.id, &row, manifest), room))
    }

    /// Points `destination` at the manifest of `source`; needs write level on the organization, as a push does.
    pub async fn create_tag(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        source: &Tag,
        destination: &Tag,
        override_existing: bool,
    ) -> Result<(), ServiceError> {
        let (repository, _) = self.access.repository_for(principal, name, Level::Read).await?;
        self.require_push(principal, name).await?;
        let digest = self.catalog().resolve_tag(repository.id, source).await?;
        let digest = digest.ok_or_else(|| tag_absent(name, source))?;
        // Contract 5.5: an existing destination is refused, even if it points at the same manifest.
        if !override_existing && self.catalog().resolve_tag(repository.id, destination).await?.is_some() {
            return Err(ServiceError::TagExists(destination.to_string()));
        }
        let condition = if override_existing { TagCondition::Always } else { TagCondition::IfAbsent };
        match self.catalog().put_tag(repository.id, destination, &digest, condition).await {
            Ok(_) => Ok(()),
            Err(transship_catalog::PutManifestError::ConditionFailed { .. }) => {
                Err(ServiceError::TagExists(destination.to_string()))
            }
            Err(transship_catalog::PutManifestError::Catalog(error)) => Err(error.into()),
            Err(_) => Err(tag_absent(name, source)),
        }
    }

    /// Deletes a tag; other tags of the same digest stay. Needs manage level.
    pub async fn delete_tag(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), ServiceError> {
        let (repository, _) = self.access.repository_for(principal, name, Level::Manage).await?;
        if self.catalog().delete_tag(repository.id, tag).await? { Ok(()) } else { Err(tag_absent(name, tag)) }
    }

    /// The digest that a tag points at now, without a permission check: the caller has made it.
    pub(crate) async fn resolve_tag(&self, repository_id: i64, tag: &Tag) -> Result<Option<Digest>, ServiceError> {
        Ok(self.catalog().resolve_tag(repository_id, tag).await?)
    }

    fn tag_view(
        &self,
        name: &RepositoryName,
        repository_id: i64,
        row: &TagDetail,
        manifest: Option<Arc<str>>,
    ) -> TagView {
        let reference = Reference::Tag(row.name.clone());
        TagView {
            id: row.id,
            repository_id,
            path: format!("{}/{name}:{reference}", self.settings().registry_host),
            tag: row.name.to_string(),
            image_id: row.config_digest.as_ref().map_or_else(String::new, |digest| digest.hex().to_owned()),
            digest: row.digest.to_string(),
            is_index: row.config_digest.is_none(),
            size_bytes: row.layers_size_bytes,
            manifest,
            created_at_ms: row.created_at_ms,
            updated_at_ms: row.updated_at_ms,
        }
    }
}

/// How many tags of a page include their manifests within the budget, and the total bytes of these.
fn fitting(rows: &[TagDetail]) -> (usize, u64) {
    let mut bytes = 0;
    for (place, row) in rows.iter().enumerate() {
        if place > 0 && bytes + row.manifest_bytes > PAGE_BYTES {
            return (place, bytes);
        }
        bytes += row.manifest_bytes;
    }
    (rows.len(), bytes)
}

pub(crate) fn tag_absent(name: &RepositoryName, tag: &Tag) -> ServiceError {
    ServiceError::TagAbsent { repository: name.to_string(), tag: tag.to_string() }
}
