//! Repositories: contract 5.3.

use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::fields::Fields;
use crate::record::record;

record! {
    /// The request of `CreateRepo`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CreateRepoRequestBody {
        /// The name of the new repository; `$` may stand for `/`.
        pub repository: String = "repository",
        /// Whether anyone may pull without a login.
        pub is_public: bool = "is_public",
        /// Its category.
        pub category: Option<String> = "category" [default, skip_serializing_if = "Option::is_none"],
        /// Free text.
        pub description: Option<String> = "description" [default, skip_serializing_if = "Option::is_none"],
    }
}

impl CreateRepoRequestBody {
    /// Reads a body.
    ///
    /// # Errors
    /// The contract's code for what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let fields = Fields::parse(body)?;
        Ok(Self {
            repository: fields.text("repository")?.to_owned(),
            is_public: fields.is_public()?,
            category: category(&fields)?,
            description: fields.optional_text("description")?.map(str::to_owned),
        })
    }
}

record! {
    /// The request of `UpdateRepo`. What is left out stays as it is.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct UpdateRepoRequestBody {
        /// Whether anyone may pull without a login; mandatory even when it does not change.
        pub is_public: bool = "is_public",
        /// Its category.
        pub category: Option<String> = "category" [default, skip_serializing_if = "Option::is_none"],
        /// Free text.
        pub description: Option<String> = "description" [default, skip_serializing_if = "Option::is_none"],
    }
}

impl UpdateRepoRequestBody {
    /// Reads a body.
    ///
    /// # Errors
    /// The contract's code for what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let fields = Fields::parse(body)?;
        Ok(Self {
            is_public: fields.is_public()?,
            category: category(&fields)?,
            description: fields.optional_text("description")?.map(str::to_owned),
        })
    }
}

/// An empty category counts as left out.
fn category(fields: &Fields) -> Result<Option<String>, ApiError> {
    Ok(fields.optional_text("category")?.filter(|text| !text.is_empty()).map(str::to_owned))
}

record! {
    /// The answer of `ShowRepository`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShowRepositoryResponse {
        /// Its category.
        pub category: String = "category",
        /// When it was created, in UTC.
        pub created: String = "created",
        /// The id of the user who created it; empty for callers of another account.
        pub creator_id: String = "creator_id",
        /// The name of that user; empty for callers of another account.
        pub creator_name: String = "creator_name",
        /// Free text.
        pub description: String = "description",
        /// The id of the account that it belongs to.
        pub domain_id: String = "domain_id",
        /// Its number.
        pub id: i64 = "id",
        /// The same as `path`.
        pub internal_path: String = "internal_path",
        /// Whether anyone may pull without a login.
        pub is_public: bool = "is_public",
        /// Its name, without the organization.
        pub name: String = "name",
        /// The number of its organization.
        pub ns_id: i64 = "ns_id",
        /// Always 0.
        pub num_download: i64 = "num_download",
        /// How many tags it has.
        pub num_images: i64 = "num_images",
        /// What to pull from: registry, organization and repository.
        pub path: String = "path",
        /// Always 0.
        pub priority: i64 = "priority",
        /// Its size in bytes.
        pub size: u64 = "size",
        /// When it last changed, in UTC.
        pub updated: String = "updated",
        /// Always empty.
        pub url: String = "url",
    }
}

record! {
    /// A repository in the lists of v2.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShowReposResp {
        /// Its name, without the organization.
        pub name: String = "name",
        /// Its category.
        pub category: String = "category",
        /// Free text; empty when the page has no room for it.
        pub description: String = "description",
        /// Its size in bytes.
        pub size: u64 = "size",
        /// Whether anyone may pull without a login.
        pub is_public: bool = "is_public",
        /// How many tags it has.
        pub num_images: i64 = "num_images",
        /// Always 0.
        pub num_download: i64 = "num_download",
        /// When it was created, in UTC.
        pub created_at: String = "created_at",
        /// When it last changed, in UTC.
        pub updated_at: String = "updated_at",
        /// Always empty.
        pub logo: String = "logo",
        /// Always empty.
        pub url: String = "url",
        /// What to pull from: registry, organization and repository.
        pub path: String = "path",
        /// The same as `path`.
        pub internal_path: String = "internal_path",
        /// The name of the account that it belongs to.
        pub domain_name: String = "domain_name",
        /// Its organization.
        pub namespace: String = "namespace",
        /// Its newest tags.
        pub tags: Vec<String> = "tags",
        /// Always false: nothing is shared between accounts.
        pub status: bool = "status",
        /// How many records the whole list has.
        pub total_range: i64 = "total_range",
    }
}

record! {
    /// A repository in the lists of v3: with a number, without tags and paths.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShowReposRespV3 {
        /// Its number.
        pub id: i64 = "id",
        /// Its organization.
        pub namespace_name: String = "namespace_name",
        /// Its name, without the organization.
        pub name: String = "name",
        /// Its category.
        pub category: String = "category",
        /// Free text.
        pub description: String = "description",
        /// Its size in bytes.
        pub size: u64 = "size",
        /// Whether anyone may pull without a login.
        pub is_public: bool = "is_public",
        /// How many tags it has.
        pub num_images: i64 = "num_images",
        /// Always 0.
        pub num_download: i64 = "num_download",
        /// When it was created, in UTC.
        pub created_at: String = "created_at",
        /// When it last changed, in UTC.
        pub updated_at: String = "updated_at",
        /// The name of the account that it belongs to.
        pub domain_name: String = "domain_name",
        /// Always false: nothing is shared between accounts.
        pub status: bool = "status" [default],
    }
}

record! {
    /// The answer of `ListRepoDetails`: one page.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ListRepoDetailsResponse {
        /// The repositories.
        pub repos: Vec<ShowReposRespV3> = "repos",
        /// The `marker` of the next page; left out on the last one.
        pub next_marker: Option<i64> = "nextMarker" [default, skip_serializing_if = "Option::is_none"],
    }
}
