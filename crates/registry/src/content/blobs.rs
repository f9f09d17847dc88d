//! Reading, mounting and deleting blobs.

use std::ops::Range;
use std::sync::Arc;

use transship_catalog::{Blob, Pulled};
use transship_oci::{Action, Digest, RepositoryName};
use transship_store::{Blame, ByteStream, Location, StoreError};

use crate::access::proof::{Authorized, Delete, Pull, Push};
use crate::content::blob_content::BlobContent;
use crate::content::inspection::Verdict;
use crate::content::service::Content;
use crate::error::ServiceError;

/// The outcome of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// The blob is linked.
    Done,
    /// Nothing to mount, for any reason: the caller then uploads, and learns nothing (H1: a mount is no oracle).
    Nothing,
    /// The token does not name the source, but its user may pull there: a token with both scopes would do.
    AskForMore,
}

impl Content {
    /// Finds a blob of a repository; a digest alone gives no access (H2: a blob's link is per repository).
    pub async fn find_blob(
        &self,
        pull: Authorized<'_, Pull>,
        digest: &Digest,
    ) -> Result<Arc<BlobContent>, ServiceError> {
        let key = format!("{} {digest}", pull.name());
        let ask = async || self.asked_blob(pull, digest).await;
        let pulled = self.blob_cache().get(self.catalog(), &key, ask).await?;
        pull.require(pulled.namespace_id)?;
        Ok(Arc::clone(&pulled.content))
    }

    async fn asked_blob(
        &self,
        pull: Authorized<'_, Pull>,
        digest: &Digest,
    ) -> Result<Pulled<Arc<BlobContent>>, ServiceError> {
        let name = pull.name();
        let Some(Pulled { namespace_id, content: blob }) = self.catalog().pull_blob(name, digest).await? else {
            // The cause may be that the repository is missing, or is a different one now.
            let absent = || ServiceError::BlobAbsent(digest.clone());
            return Err(self.granted_repository(pull).await.err().unwrap_or_else(absent));
        };
        let content = BlobContent {
            digest: blob.digest,
            size_bytes: blob.size_bytes,
            repository: name.clone(),
            location: Location::from(blob.location),
        };
        Ok(Pulled { namespace_id, content: Arc::new(content) })
    }

    /// Streams a blob, or a range within its size.
    ///
    /// A blob whose bytes turn out to be missing or too few goes out of service at once.
    pub async fn read_blob(&self, blob: &BlobContent, range: Option<Range<u64>>) -> Result<ByteStream, ServiceError> {
        match self.store().read(&blob.location, range.clone()).await {
            Ok(stream) => Ok(stream),
            // Boxed, to keep the future of the usual case small.
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
            // Since it was found, the blob may have been deleted, collected and even pushed again to another location.
            let now = self.catalog().pull_blob(&blob.repository, &blob.digest).await?;
            let location = now.map(|pulled| Location::from(pulled.content.location));
            let location = location.ok_or_else(|| ServiceError::BlobAbsent(blob.digest.clone()))?;
            if location != blob.location {
                return Ok(self.store().read(&location, range).await?);
            }
        }
        Err(self.unreadable(blob, error).await)
    }

    /// Returns why a blob cannot be read; takes it out of service if bytes are missing.
    async fn unreadable(&self, blob: &BlobContent, error: StoreError) -> ServiceError {
        let reason = match self.damage(&error).await {
            // A failing medium must be read twice before its blob is called damaged; the scrubber does that.
            Ok(Verdict::Damaged(reason)) if error.blames() == Blame::Bytes => reason,
            Ok(_) => return error.into(),
            Err(other) => return other,
        };
        let row =
            Blob { digest: blob.digest.clone(), size_bytes: blob.size_bytes, location: blob.location.to_string() };
        // `false` means that the row has changed: the blob was deleted, or the next read finds other bytes.
        match self.quarantine(&row, &reason).await {
            Ok(_) => ServiceError::BlobAbsent(blob.digest.clone()),
            Err(other) => other,
        }
    }

    /// Mounts a blob of another repository that the same token may pull from (H1).
    pub async fn mount_blob(
        &self,
        push: Authorized<'_, Push>,
        digest: &Digest,
        from: &RepositoryName,
    ) -> Result<Mount, ServiceError> {
        let grant = push.grant();
        let Some(pull) = grant.authorize::<Pull>(from) else {
            // A client whose token names the source knew about the mount when it asked; a region gets no other token.
            if grant.principal.is_none() || grant.via.is_some() || grant.speaks_of(from) {
                return Ok(Mount::Nothing);
            }
            let access = self.access.effective_access(from, grant.principal.as_ref()).await?;
            let would_do = access.repository.is_some() && access.allows(Action::Pull);
            return Ok(if would_do { Mount::AskForMore } else { Mount::Nothing });
        };
        let Some(source) = self.catalog().find_repository(from).await? else { return Ok(Mount::Nothing) };
        pull.require(source.namespace_id)?;
        let Some(blob) = self.catalog().find_blob(source.id, digest).await? else { return Ok(Mount::Nothing) };
        // If the bytes are missing or cannot be checked, the client is asked to upload, which repairs the blob.
        if !matches!(self.inspect_size(&blob).await, Ok(Verdict::Sound)) {
            return Ok(Mount::Nothing);
        }
        let target = self.repository_to_push(push).await?;
        let mounted = self.catalog().mount_blob(source.id, target.id, digest).await?;
        Ok(if mounted.is_some() { Mount::Done } else { Mount::Nothing })
    }

    /// Removes a blob from a repository; its bytes go once no repository links it.
    pub async fn delete_blob(&self, delete: Authorized<'_, Delete>, digest: &Digest) -> Result<(), ServiceError> {
        use transship_catalog::Unlinked;
        let repository = self.granted_repository(delete).await?;
        match self.catalog().unlink_blob(repository.id, digest).await? {
            Unlinked::Done => Ok(()),
            Unlinked::Absent => Err(ServiceError::BlobAbsent(digest.clone())),
            Unlinked::InUse => Err(ServiceError::BlobInUse(digest.clone())),
        }
    }
}
