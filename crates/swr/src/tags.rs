//! Tags: contract 5.5.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use transship_oci::Tag;

use crate::error::ApiError;
use crate::fields::Fields;
use crate::record::{Shape, record};
use crate::route::parse_tag;

/// A manifest as JSON inside a string. Cloning it copies no text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest(pub Arc<str>);

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl Shape for Manifest {
    fn shape() -> Value {
        String::shape()
    }
}

record! {
    /// The request of `CreateRepoTag`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CreateRepoTagRequestBody {
        /// The tag that is there.
        pub source_tag: Tag = "source_tag",
        /// The tag to create.
        pub destination_tag: Tag = "destination_tag",
        /// Whether a tag of that name is replaced.
        pub override_existing: bool = "override" [default],
    }
}

impl CreateRepoTagRequestBody {
    /// Reads a body.
    ///
    /// # Errors
    /// The contract's code for what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let fields = Fields::parse(body)?;
        Ok(Self {
            source_tag: parse_tag(fields.text("source_tag")?)?,
            destination_tag: parse_tag(fields.text("destination_tag")?)?,
            override_existing: fields.optional_bool("override")?.unwrap_or(false),
        })
    }
}

record! {
    /// A tag in the lists of v2, where the key of its name is `Tag`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShowReposTagResp {
        /// Its number.
        pub id: i64 = "id",
        /// The number of its repository.
        pub repo_id: i64 = "repo_id",
        /// Its name.
        pub tag: String = "Tag",
        /// The digest of the image's configuration, in hex without prefix.
        pub image_id: String = "image_id",
        /// The manifest, as JSON inside a string; empty when the page has no room for it.
        pub manifest: Manifest = "manifest",
        /// The digest of the manifest.
        pub digest: String = "digest",
        /// The version of the manifest's schema: 2.
        pub schema: i32 = "schema",
        /// What to pull: registry, organization, repository and tag.
        pub path: String = "path",
        /// The same as `path`.
        pub internal_path: String = "internal_path",
        /// The size of the layers in bytes.
        pub size: u64 = "size",
        /// Always false.
        pub is_trusted: bool = "is_trusted",
        /// When it was created, in UTC.
        pub created: String = "created",
        /// When it last changed, in UTC.
        pub updated: String = "updated",
        /// Always null.
        pub deleted: () = "deleted",
        /// The id of the account that the repository belongs to.
        pub domain_id: String = "domain_id",
        /// Always false.
        pub scanned: bool = "scanned",
        /// 0 for one manifest, 1 for an index of several.
        pub tag_type: i32 = "tag_type",
    }
}

record! {
    /// A tag in the lists of v3, where the key of its name is `tag`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShowReposTagRespV3 {
        /// Its number.
        pub id: i64 = "id",
        /// The number of its repository.
        pub repo_id: i64 = "repo_id",
        /// Its name.
        pub tag: String = "tag",
        /// The digest of the image's configuration, in hex without prefix.
        pub image_id: String = "image_id",
        /// The manifest, as JSON inside a string; in lists empty unless it was asked for.
        pub manifest: Manifest = "manifest",
        /// The digest of the manifest.
        pub digest: String = "digest",
        /// The version of the manifest's schema: 2.
        pub schema: i32 = "schema",
        /// What to pull: registry, organization, repository and tag.
        pub path: String = "path",
        /// The same as `path`.
        pub internal_path: String = "internal_path",
        /// The size of the layers in bytes.
        pub size: u64 = "size",
        /// Always false.
        pub is_trusted: bool = "is_trusted",
        /// When it was created, in UTC.
        pub created: String = "created",
        /// When it last changed, in UTC.
        pub updated: String = "updated",
        /// Always null.
        pub deleted: () = "deleted" [default],
        /// The id of the account that the repository belongs to.
        pub domain_id: String = "domain_id",
        /// Always false.
        pub scanned: bool = "scanned" [default],
        /// 0 for one manifest, 1 for an index of several.
        pub tag_type: i32 = "tag_type",
    }
}

impl From<ShowReposTagRespV3> for ShowReposTagResp {
    /// The same tag in the form of v2.
    fn from(tag: ShowReposTagRespV3) -> Self {
        Self {
            id: tag.id,
            repo_id: tag.repo_id,
            tag: tag.tag,
            image_id: tag.image_id,
            manifest: tag.manifest,
            digest: tag.digest,
            schema: tag.schema,
            path: tag.path,
            internal_path: tag.internal_path,
            size: tag.size,
            is_trusted: tag.is_trusted,
            created: tag.created,
            updated: tag.updated,
            deleted: tag.deleted,
            domain_id: tag.domain_id,
            scanned: tag.scanned,
            tag_type: tag.tag_type,
        }
    }
}

record! {
    /// The answer of `ListRepositoryTag`: one page.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ListRepositoryTagResponse {
        /// The tags.
        pub tags: Vec<ShowReposTagRespV3> = "tags",
        /// Whether another page follows.
        pub has_more: bool = "has_more",
        /// The `marker` of the next page; left out on the last one.
        pub next_marker: Option<String> = "nextMarker" [default, skip_serializing_if = "Option::is_none"],
    }
}
