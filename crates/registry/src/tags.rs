//! Tags as the management API sees them: contract 5.5.

use transship_catalog::{Level, ListTagDetails, TagCondition, TagDetail, TagOrder};
use transship_oci::{Digest, Reference, RepositoryName, Tag};

use crate::{Principal, Registry, ServiceError};

/// A tag with what it points at.
#[derive(Clone, Debug)]
pub struct TagView {
    /// Its number.
    pub id: i64,
    /// The number of its repository.
    pub repository_id: i64,
    /// Its name.
    pub tag: String,
    /// Hex part of the config's digest; empty for an index.
    pub image_id: String,
    /// Digest of the manifest.
    pub digest: String,
    /// Whether it is an index of several manifests.
    pub is_index: bool,
    /// Sum of the layers.
    pub size_bytes: u64,
    /// The raw manifest.
    pub manifest: String,
    /// `{registry}/{namespace}/{repository}:{tag}`.
    pub path: String,
    /// When the tag was made, milliseconds since 1970.
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
}

/// Where a page of tags starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagPage {
    /// After so many records.
    Offset(i64),
    /// After this tag, in byte order.
    After(String),
}

impl Registry {
    /// One page of a repository's tags, and how many there are in all.
    pub async fn list_tags(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        list: ListTags,
    ) -> Result<(Vec<TagView>, i64), ServiceError> {
        let (repository, _) = self.repository_for(principal, name, Level::Read).await?;
        let (offset, after) = match list.page {
            TagPage::Offset(offset) => (offset, None),
            TagPage::After(tag) => (0, Some(tag)),
        };
        let (rows, total) = self
            .catalog()
            .tag_details(ListTagDetails {
                repository_id: repository.id,
                name: None,
                name_contains: list.name_contains,
                order: list.order.0,
                descending: list.order.1,
                limit: list.limit,
                offset,
                after,
            })
            .await?;
        Ok((rows.into_iter().map(|row| self.tag_view(name, repository.id, row)).collect(), total))
    }

    /// One tag.
    pub async fn show_tag(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<TagView, ServiceError> {
        let (repository, _) = self.repository_for(principal, name, Level::Read).await?;
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
        Ok(self.tag_view(name, repository.id, row))
    }

    /// Points `destination` at what `source` points at; write level on the organization, as for a push.
    pub async fn create_tag(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        source: &Tag,
        destination: &Tag,
        override_existing: bool,
    ) -> Result<(), ServiceError> {
        let (repository, _) = self.repository_for(principal, name, Level::Read).await?;
        self.require_push(principal, name).await?;
        let digest = self.catalog().resolve_tag(repository.id, source).await?;
        let digest = digest.ok_or_else(|| tag_absent(name, source))?;
        // Contract 5.5: a destination that is present is refused, whatever it points at.
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

    /// Deletes a tag; other tags of the same digest stay. Manage level.
    pub async fn delete_tag(
        &self,
        principal: &Principal,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<(), ServiceError> {
        let (repository, _) = self.repository_for(principal, name, Level::Manage).await?;
        if self.catalog().delete_tag(repository.id, tag).await? { Ok(()) } else { Err(tag_absent(name, tag)) }
    }

    /// What a tag points at now, for those who have asked for permission already.
    pub(crate) async fn resolve_tag(&self, repository_id: i64, tag: &Tag) -> Result<Option<Digest>, ServiceError> {
        Ok(self.catalog().resolve_tag(repository_id, tag).await?)
    }

    fn tag_view(&self, name: &RepositoryName, repository_id: i64, row: TagDetail) -> TagView {
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
            manifest: row.raw,
            created_at_ms: row.created_at_ms,
            updated_at_ms: row.updated_at_ms,
        }
    }
}

pub(crate) fn tag_absent(name: &RepositoryName, tag: &Tag) -> ServiceError {
    ServiceError::TagAbsent { repository: name.to_string(), tag: tag.to_string() }
}
