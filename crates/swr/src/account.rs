//! Logins, quotas, statistics, features, agency and versions: contract 5.9.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::record;

record! {
    /// The answer of `CreateSecret`: docker's configuration file with one login.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CreateSecretResponse {
        /// The login for each registry, by its host.
        pub auths: BTreeMap<String, AuthInfo> = "auths",
    }
}

record! {
    /// A login to a registry.
    #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct AuthInfo {
        /// `user:password` in base64.
        pub auth: String = "auth",
    }
}

impl std::fmt::Debug for AuthInfo {
    /// Shows nothing of the password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuthInfo").finish_non_exhaustive()
    }
}

record! {
    /// The answer of `ListQuotas`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ListQuotasResponse {
        /// The quotas.
        pub quotas: Vec<ShowQuota> = "quotas",
    }
}

record! {
    /// A quota of the account.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShowQuota {
        /// What is limited: `namespace`.
        pub quota_key: String = "quota_key",
        /// How many the account may have.
        pub quota_limit: i64 = "quota_limit",
        /// Always empty.
        pub unit: String = "unit",
        /// How many it has.
        pub used: i64 = "used",
    }
}

record! {
    /// The answer of `ShowShareFeatureGates`: true is what is built.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShowShareFeatureGatesResponse {
        /// Logins by `CreateAuthorizationToken`.
        pub enable_authorization_token: bool = "enable_authorization_token",
        /// Container instances.
        pub enable_cci_service: bool = "enable_cci_service",
        /// The image centre.
        pub enable_experience: bool = "enable_experience",
        /// Host security.
        pub enable_hss_service: bool = "enable_hss_service",
        /// Labels of images.
        pub enable_image_label: bool = "enable_image_label",
        /// Quotas of images.
        pub enable_image_quota: bool = "enable_image_quota",
        /// Scans of images.
        pub enable_image_scan: bool = "enable_image_scan",
        /// Replication between regions.
        pub enable_image_sync: bool = "enable_image_sync",
        /// The lists under `/v3/manage`.
        pub enable_list_v3: bool = "enable_list_v3",
        /// Pipelines.
        pub enable_pipeline: bool = "enable_pipeline",
        /// Resource management.
        pub enable_resource: bool = "enable_resource",
        /// Signatures by SM3.
        pub enable_sm3: bool = "enable_sm3",
    }
}

record! {
    /// The answer of `ShowDomainOverview`, with the reference's own spelling of one key; sizes are decimals.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct ShowDomainOverviewResponse {
        /// The id of the account.
        pub domain_id: String = "domain_id",
        /// Its name.
        pub domain_name: String = "domain_name",
        /// Always 0.
        pub downflow_size: f64 = "downflow_size",
        /// How many tags it has.
        pub image_num: i64 = "image_num",
        /// How many organizations it has.
        pub namespace_num: i64 = "namspace_num",
        /// How many repositories it has.
        pub repo_num: i64 = "repo_num",
        /// Bytes of the distinct blobs that its repositories link.
        pub store_space: f64 = "store_space",
    }
}

record! {
    /// The answer of `CheckAgency`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct CheckAgencyResponse {
        /// The id of the account.
        pub domain_id: String = "domain_id",
        /// Whether the account has delegated its container clusters to the registry.
        pub is_agency: bool = "is_agency",
    }
}

record! {
    /// The answer of `ListApiVersions`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ListApiVersionsResponse {
        /// The versions.
        pub versions: Vec<VersionDetail> = "versions",
    }
}

record! {
    /// The answer of `ShowApiVersion`.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ShowApiVersionResponse {
        /// The version.
        pub version: VersionDetail = "version",
    }
}

record! {
    /// A version of the API.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct VersionDetail {
        /// Its id, for example `v2`.
        pub id: String = "id",
        /// Where it is.
        pub links: Link = "links",
        /// The lowest microversion; empty if there is none.
        pub min_version: String = "min_version",
        /// `CURRENT`, `SUPPORTED` or `DEPRECATED`.
        pub status: String = "status",
        /// When it last changed, in UTC.
        pub updated: String = "updated",
        /// The highest microversion; empty if there is none.
        pub version: String = "version",
    }
}

record! {
    /// A link; an object, not an array, as in the reference.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Link {
        /// Its target.
        pub href: String = "href",
        /// What the target is: `self`.
        pub rel: String = "rel",
    }
}
