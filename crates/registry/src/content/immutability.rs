//! Sets which tags of a repository are immutable. The catalog enforces it as part of each change.

use transship_catalog::ImmutableTags;
use transship_oci::{Digest, RepositoryName, Tag};

use crate::content::service::Content;
use crate::error::ServiceError;

impl Content {
    /// The patterns of a repository. For an operator, who has proved nothing but access to the catalog.
    pub async fn immutable_tags(&self, name: &RepositoryName) -> Result<ImmutableTags, ServiceError> {
        let repository = self.repository(name).await?;
        Ok(self.catalog().immutable_tags(repository.id).await?)
    }

    /// Replaces the patterns of a repository. Tags that match them now stay where they are.
    pub async fn set_immutable_tags(
        &self,
        name: &RepositoryName,
        patterns: &ImmutableTags,
    ) -> Result<(), ServiceError> {
        let repository = self.repository(name).await?;
        Ok(self.catalog().set_immutable_tags(repository.id, patterns).await?)
    }

    /// Refuses early to move an immutable tag, so that no bytes are sent in vain.
    pub(crate) async fn refuse_moving_immutable(
        &self,
        repository_id: i64,
        tag: &Tag,
        current: Option<&Digest>,
        new: &Digest,
    ) -> Result<(), ServiceError> {
        if current.is_none_or(|current| current == new) {
            return Ok(());
        }
        if self.catalog().immutable_tags(repository_id).await?.holds(tag.as_str()) {
            return Err(ServiceError::TagImmutable(tag.to_string()));
        }
        Ok(())
    }
}
