//! Reading, mounting and deleting blobs.

use std::ops::Range;
use std::sync::Arc;

use transship_catalog::{Blob, Pulled};
use transship_oci::{Action, Digest, RepositoryName};
use transship_store::{Blame, ByteStream, Location, StoreError};

use crate::access::token_grant::{Grant, GrantedName};
use crate::content::blob_content::BlobContent;
use crate::content::inspection::Verdict;
use crate::content::service::Content;
use crate::error::ServiceError;

/// What became of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// The blob is linked.
    Done,
    /// There is nothing to mount, for whatever reason: the caller then uploads, and learns nothing (H1).
    Nothing,
    /// The token does not speak of the source at all, and its user may pull there: a token with both scopes would do.
    AskForMore,
}

impl Content {
    /// Finds a blob of a repository; knowing a digest alone gives nothing (H2).
    pub async fn find_blob(
        &self,
        name: impl Into<GrantedName<'_>>,
        digest: &Digest,
    ) -> Result<Arc<BlobContent>, ServiceError> {
        let granted = name.into();
        let key = format!("{} {digest}", granted.name);
        let ask = async || self.asked_blob(granted, digest).await;
        let pulled = self.blob_cache().get(self.catalog(), &key, ask).await?;
        granted.require(pulled.namespace_id)?;
        Ok(Arc::clone(&pulled.content))
    }

    async fn asked_blob(
        &self,
        granted: GrantedName<'_>,
        digest: &Digest,
    ) -> Result<Pulled<Arc<BlobContent>>, ServiceError> {
        let name = granted.name;
        let Some(Pulled { namespace_id, content: blob }) = self.catalog().pull_blob(name, digest).await? else {
            // The repository may be what is missing, or what is another one now.
            let absent = || ServiceError::BlobAbsent(digest.clone());
            return Err(self.granted_repository(granted).await.err().unwrap_or_else(absent));
        };
        let content = BlobContent {
            digest: blob.digest,
            size_bytes: blob.size_bytes,
            repository: name.clone(),
            location: Location::from(blob.location),
        };
        Ok(Pulled { namespace_id, content: Arc::new(content) })
    }

    /// Streams a blob, or a range of it, which lies within its size. One whose bytes turn out to be missing or too few goes
    /// out of service at once.
    pub async fn read_blob(&self, blob: &BlobContent, range: Option<Range<u64>>) -> Result<ByteStream, ServiceError> {
        match self.store().read(&blob.location, range.clone()).await {
            Ok(stream) => Ok(stream),
            // Boxed, so that the usual case does not carry room for it.
            Err(error) => Box::pin(self.read_again(blob, range, error)).await,
        }
    }

    async fn read_again(
        &self,
        blob: &BlobContent,
        range: Option<Range<u64>>,
        error: StoreError,
    ) -> Result<ByteStream, ServiceError> {
        if let StoreError::NotFound { .. } = error {
            // Since it was found it may have been deleted and collected, and even pushed again to another location.
            let now = self.catalog().pull_blob(&blob.repository, &blob.digest).await?;
            let location = now.map(|pulled| Location::from(pulled.content.location));
            let location = location.ok_or_else(|| ServiceError::BlobAbsent(blob.digest.clone()))?;
            if location != blob.location {
                return Ok(self.store().read(&location, range).await?);
            }
        }
        Err(self.unreadable(blob, error).await)
    }

    /// Why a blob cannot be read; what is missing, or too short, goes out of service.
    async fn unreadable(&self, blob: &BlobContent, error: StoreError) -> ServiceError {
        let reason = match self.damage(&error).await {
            // What a medium does not give back is read twice before it is called damaged; the scrubber does that.
            Ok(Verdict::Damaged(reason)) if error.blames() == Blame::Bytes => reason,
            Ok(_) => return error.into(),
            Err(other) => return other,
        };
        let row =
            Blob { digest: blob.digest.clone(), size_bytes: blob.size_bytes, location: blob.location.to_string() };
        // When the row has changed meanwhile the blob was deleted, or has other bytes for the next read.
        match self.quarantine(&row, &reason).await {
            Ok(_) => ServiceError::BlobAbsent(blob.digest.clone()),
            Err(other) => other,
        }
    }

    /// Mounts a blob of another repository that the same token may pull from (H1).
    pub async fn mount_blob(
        &self,
        grant: &Grant,
        name: &RepositoryName,
        digest: &Digest,
        from: &RepositoryName,
    ) -> Result<Mount, ServiceError> {
        if !grant.allows(from, Action::Pull) {
            // A token that speaks of the source was asked for with the mount in mind; a region has no other token.
            if grant.principal.is_none() || grant.via.is_some() || grant.speaks_of(from) {
                return Ok(Mount::Nothing);
            }
            let access = self.access.effective_access(from, grant.principal.as_ref()).await?;
            let would_do = access.repository.is_some() && access.allows(Action::Pull);
            return Ok(if would_do { Mount::AskForMore } else { Mount::Nothing });
        }
        let Some(source) = self.catalog().find_repository(from).await? else { return Ok(Mount::Nothing) };
        grant.on(from).require(source.namespace_id)?;
        let Some(blob) = self.catalog().find_blob(source.id, digest).await? else { return Ok(Mount::Nothing) };
        // What is not there, or cannot be looked at, is asked for: the bytes that come put it right.
        if !matches!(self.inspect_size(&blob).await, Ok(Verdict::Sound)) {
            return Ok(Mount::Nothing);
        }
        let target = self.repository_to_push(grant, name).await?;
        let mounted = self.catalog().mount_blob(source.id, target.id, digest).await?;
        Ok(if mounted.is_some() { Mount::Done } else { Mount::Nothing })
    }

    /// Takes a blob out of a repository; its bytes go once nobody links to them.
    pub async fn delete_blob(&self, name: impl Into<GrantedName<'_>>, digest: &Digest) -> Result<(), ServiceError> {
        use transship_catalog::Unlinked;
        let repository = self.granted_repository(name.into()).await?;
        match self.catalog().unlink_blob(repository.id, digest).await? {
            Unlinked::Done => Ok(()),
            Unlinked::Absent => Err(ServiceError::BlobAbsent(digest.clone())),
            Unlinked::InUse => Err(ServiceError::BlobInUse(digest.clone())),
        }
    }
}
