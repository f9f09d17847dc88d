//! Replication: contract 3, 4.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use transship_oci::{NamespaceName, Tag};

use crate::error::{ApiError, ErrorCode};
use crate::fields::Fields;
use crate::record::{Shape, record};
use crate::route::parse_tag;

record! {
    /// The request of `CreateManualImageSyncRepo`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CreateManualImageSyncRepoRequestBody {
        /// The tags to copy.
        pub image_tag: Vec<Tag> = "imageTag",
        /// The id of the target region.
        pub remote_region_id: String = "remoteRegionId",
        /// The target organization.
        pub remote_namespace: NamespaceName = "remoteNamespace",
        /// Whether a different image of the same name in the target is replaced.
        pub override_existing: bool = "override" [default],
    }
}

impl CreateManualImageSyncRepoRequestBody {
    /// Reads a body in the order of the table of contract 3.5: what is missing first, the grammar of names last.
    ///
    /// # Errors
    /// The contract's code for what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let fields = Fields::parse(body)?;
        let tags = fields.texts("imageTag")?;
        let remote_region_id = fields.text("remoteRegionId")?.to_owned();
        let namespace = fields.text("remoteNamespace")?;
        let override_existing = fields.optional_bool("override")?.unwrap_or(false);
        let image_tag: Vec<Tag> = tags.into_iter().map(parse_tag).collect::<Result<_, _>>()?;
        let remote_namespace: NamespaceName = namespace.parse().map_err(|error: transship_oci::GrammarError| {
            ApiError::new(ErrorCode::BadParameter, format!("remoteNamespace: {error}"))
        })?;
        Ok(Self { image_tag, remote_region_id, remote_namespace, override_existing })
    }
}

/// The state of a job (contract 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Queued.
    Waiting,
    /// Being copied.
    Running,
    /// The target's tag has the digest of the source.
    Success,
    /// Given up after the retries.
    Failed,
    /// It took longer than one job may.
    Timeout,
    /// Cancelled, for example because its tag was deleted.
    Cancel,
    /// The digest was in the target already; nothing was sent.
    Existed,
}

impl Shape for JobStatus {
    fn shape() -> Value {
        json!({ "type": "string", "enum": ["waiting", "running", "success", "failed", "timeout", "cancel", "existed"] })
    }
}

record! {
    /// A job: one tag and one target. What follows `updated_at` is ours: why a job failed, and how far the copy has got.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct SyncJob {
        /// Its number, below 2^31.
        pub id: i64 = "id",
        /// The id of the account.
        pub domain_id: String = "domainID",
        /// The name of the account.
        pub domain_name: String = "domainName",
        /// The source organization.
        pub namespace: String = "namespace",
        /// The repository, in both regions.
        pub repo_name: String = "repoName",
        /// The tag.
        pub tag: String = "tag",
        /// The id of the target region.
        pub remote_region_id: String = "remoteRegionId",
        /// The target organization.
        pub remote_namespace: String = "remoteNamespace",
        /// Whether a different image of the same name in the target is replaced.
        pub override_existing: bool = "override",
        /// Its state.
        pub status: JobStatus = "status",
        /// The id of the user who asked for it.
        pub sync_operator_id: String = "syncOperatorId",
        /// The name of that user.
        pub sync_operator_name: String = "syncOperatorName",
        /// When it was created, in UTC.
        pub created_at: String = "createdAt",
        /// When it last changed, in UTC.
        pub updated_at: String = "updatedAt",
        /// Why it failed, or has not succeeded yet.
        pub reason: Option<String> = "reason" [default, skip_serializing_if = "Option::is_none"],
        /// The digest that it copies, once it is known.
        pub digest: Option<String> = "digest" [default, skip_serializing_if = "Option::is_none"],
        /// Bytes that were sent so far.
        pub bytes_done: u64 = "bytesDone" [default],
        /// Bytes that have to be sent.
        pub bytes_total: u64 = "bytesTotal" [default],
        /// Blobs of the image that are in the target.
        pub blobs_done: u64 = "blobsDone" [default],
        /// Blobs of the image.
        pub blobs_total: u64 = "blobsTotal" [default],
    }
}

record! {
    /// A region to which images can be copied.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RegionInfo {
        /// Its id.
        pub region_id: String = "regionID",
        /// The address of its registry.
        pub registry_url: String = "registryURL" [default],
    }
}

#[cfg(test)]
mod tests;
