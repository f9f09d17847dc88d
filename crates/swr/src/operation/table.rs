//! The table of all operations, one entry each.
//!
//! An entry says what is particular to its operation; [`Operation::errors`] adds what follows from the rest of it.

use super::Body::{Array, Object, Strings};
use super::{Operation, flag, integer, text};
use crate::error::ErrorCode::{
    BadIsPublic, BadNamespace, BadNamespacePermission, BadParameter, BadPermission, BadRepository, BadTag, BadUser,
    Forbidden, ImageExists, NamespaceExists, NamespaceNotEmpty, NamespacePermissionAbsent, NamespacePermissionExists,
    NoSuchUrl, ParameterMissing, PermissionAbsent, PermissionExists, RetentionAbsent, ShareAbsent, SyncRuleAbsent,
    TagAbsent, TooManyNamespaces, TooManyRepositories, TooManyTags, TriggerAbsent,
};

macro_rules! operations {
    ($($(#[doc = $purpose:literal])+ $id:ident => $entry:expr,)+) => {
        /// The id of an operation, as the SDKs call it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum OperationId {
            $($(#[doc = $purpose])+ $id,)+
        }

        impl OperationId {
            /// Every operation of the published API, whether it is built or not.
            pub const ALL: &[Self] = &[$(Self::$id,)+];

            /// The id, for example `CreateNamespace`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$id => stringify!($id),)+
                }
            }

            /// What the operation does, as a sentence.
            pub const fn purpose(self) -> &'static str {
                match self {
                    $(Self::$id => concat!($($purpose),+).trim_ascii(),)+
                }
            }

            /// The entry of the table.
            pub const fn operation(self) -> &'static Operation {
                match self {
                    $(Self::$id => const { &($entry) },)+
                }
            }
        }
    };
}

operations! {
    /// List every API version the endpoint serves. No authentication.
    ListApiVersions => Operation::get("/", 200)
        .returns(Object("ListApiVersionsResponse"))
        .without_credentials(),
    /// Describe one API version, e.g. v2.
    ShowApiVersion => Operation::get("/{api_version}", 200)
        .returns(Object("ShowApiVersionResponse"))
        .refuses(&[NoSuchUrl])
        .without_credentials(),
    /// List the organizations the caller can see.
    ListNamespaces => Operation::get("/v2/manage/namespaces", 200)
        .query(const { &[text("namespace"), text("filter")] })
        .returns(Object("ListNamespacesResponse")),
    /// Create an organization.
    CreateNamespace => Operation::post("/v2/manage/namespaces", 201)
        .takes(Object("CreateNamespaceRequestBody"))
        .refuses(&[BadNamespace, TooManyNamespaces, NamespaceExists, Forbidden]),
    /// Delete one empty organization.
    DeleteNamespaces => Operation::delete("/v2/manage/namespaces/{namespace}", 204)
        .refuses(&[NamespaceNotEmpty]),
    /// Show one organization and the caller's level in it.
    ShowNamespace => Operation::get("/v2/manage/namespaces/{namespace}", 200)
        .returns(Object("ShowNamespace")),
    /// Revoke users' levels in an organization. Body is an array of user ids.
    DeleteNamespaceAuth => Operation::delete("/v2/manage/namespaces/{namespace}/access", 204)
        .takes(Strings)
        .refuses(&[BadUser, NamespacePermissionAbsent]),
    /// Show the caller's own and all other users' levels in an organization.
    ShowNamespaceAuth => Operation::get("/v2/manage/namespaces/{namespace}/access", 200)
        .returns(Object("UserAuths")),
    /// Change users' existing levels in an organization.
    UpdateNamespaceAuth => Operation::patch("/v2/manage/namespaces/{namespace}/access", 201)
        .takes(Array("UserAuth"))
        .refuses(&[BadNamespacePermission, BadUser, NamespacePermissionAbsent]),
    /// Grant users a level in an organization.
    CreateNamespaceAuth => Operation::post("/v2/manage/namespaces/{namespace}/access", 200)
        .takes(Array("UserAuth"))
        .refuses(&[BadNamespacePermission, BadUser, NamespacePermissionExists]),
    /// Create an empty repository in an organization.
    CreateRepo => Operation::post("/v2/manage/namespaces/{namespace}/repos", 200)
        .takes(Object("CreateRepoRequestBody"))
        .refuses(&[BadRepository, BadIsPublic, ImageExists, TooManyRepositories]),
    /// Delete a repository with every tag in it.
    DeleteRepo => Operation::delete("/v2/manage/namespaces/{namespace}/repos/{repository}", 204)
        .refuses(&[ImageExists]),
    /// Show the summary of one repository.
    ShowRepository => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}", 200)
        .returns(Object("ShowRepositoryResponse")),
    /// Change visibility, category and description of a repository.
    UpdateRepo => Operation::patch("/v2/manage/namespaces/{namespace}/repos/{repository}", 201)
        .takes(Object("UpdateRepoRequestBody"))
        .refuses(&[BadIsPublic]),
    /// List repositories the caller can see (offset paging).
    ListReposDetails => Operation::get("/v2/manage/repos", 200)
        .query(const { &[
            text("namespace"),
            text("name"),
            text("category"),
            text("limit"),
            text("offset"),
            text("order_column"),
            text("order_type"),
            text("filter"),
        ] })
        .returns(Array("ShowReposResp"))
        .with_headers(&["Content-Range"]),
    /// List repositories the caller can see (v3, marker paging).
    ListRepoDetails => Operation::get("/v3/manage/repos", 200)
        .query(const { &[
            text("namespace"),
            text("name"),
            text("category"),
            integer("limit"),
            integer("marker"),
            flag("is_public"),
        ] })
        .returns(Object("ListRepoDetailsResponse")),
    /// Revoke users' levels on one repository. Body is an array of user ids.
    DeleteUserRepositoryAuth => Operation::delete("/v2/manage/namespaces/{namespace}/repos/{repository}/access", 204)
        .takes(Strings)
        .refuses(&[BadUser, PermissionAbsent]),
    /// Show the caller's own and other users' levels on one repository.
    ShowUserRepositoryAuth => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/access", 200)
        .returns(Object("UserAuths")),
    /// Change users' existing levels on one repository.
    UpdateUserRepositoryAuth => Operation::patch("/v2/manage/namespaces/{namespace}/repos/{repository}/access", 201)
        .takes(Array("UserAuth"))
        .refuses(&[BadPermission, BadUser, PermissionAbsent]),
    /// Grant users a level on one repository.
    CreateUserRepositoryAuth => Operation::post("/v2/manage/namespaces/{namespace}/repos/{repository}/access", 201)
        .takes(Array("UserAuth"))
        .refuses(&[BadPermission, BadUser, PermissionExists]),
    /// List tags of a repository (offset paging).
    ListRepositoryTags => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/tags", 200)
        .query(const { &[
            text("limit"),
            text("offset"),
            text("order_column"),
            text("order_type"),
            text("tag"),
            text("filter"),
        ] })
        .returns(Array("ShowReposTagResp"))
        .with_headers(&["Content-Range"]),
    /// Give an existing tag a second name inside the same repository (retag).
    CreateRepoTag => Operation::post("/v2/manage/namespaces/{namespace}/repos/{repository}/tags", 201)
        .takes(Object("CreateRepoTagRequestBody"))
        .refuses(&[BadTag, TagAbsent, ImageExists, TooManyTags]),
    /// Delete one tag.
    DeleteRepoTag => Operation::delete("/v2/manage/namespaces/{namespace}/repos/{repository}/tags/{tag}", 204)
        .refuses(&[ImageExists]),
    /// Show one tag with its manifest.
    ShowRepoTag => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/tags/{tag}", 200)
        .returns(Object("ShowReposTagRespV3")),
    /// List tags of a repository (v3, marker paging).
    ListRepositoryTag => Operation::get("/v3/manage/namespaces/{namespace}/repos/{repository}/tags", 200)
        .query(const { &[
            integer("limit"),
            text("marker"),
            text("tag"),
            text("order_column"),
            text("order_type"),
            flag("with_manifest"),
        ] })
        .returns(Object("ListRepositoryTagResponse")),
    /// List artefacts attached to a tag (signatures).
    ListRepoAccessories => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/{tag}/accessories", 200)
        .query(const { &[integer("limit"), integer("offset")] })
        .returns(Object("ListRepoAccessoriesResponse"))
        .not_built(),
    /// For a signature tag, list the tags it signs (marker paging).
    ListReferences => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/{tag}/references", 200)
        .query(const { &[integer("limit"), text("marker")] })
        .returns(Object("ListReferencesResponse"))
        .not_built(),
    /// Replicate the named tags of one repository to an organization in another region.
    CreateManualImageSyncRepo =>
        Operation::post("/v2/manage/namespaces/{namespace}/repos/{repository}/sync_images", 200)
        .takes(Object("CreateManualImageSyncRepoRequestBody"))
        .returns(Strings)
        .with_headers(&["X-Transship-Open"])
        .refuses(&[BadTag]),
    /// List the per-tag replication jobs of one repository, newest or oldest first.
    ShowSyncJob => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/sync_job", 200)
        .query(const { &[text("filter").required()] })
        .returns(Array("SyncJob"))
        .with_headers(&["Content-Range"])
        .refuses(&[ParameterMissing]),
    /// Delete the automatic replication rule that targets the given region and organization.
    DeleteImageSyncRepo => Operation::delete("/v2/manage/namespaces/{namespace}/repos/{repository}/sync_repo", 200)
        .takes(Object("DeleteImageSyncRepoRequestBody"))
        .refuses(&[SyncRuleAbsent])
        .not_built(),
    /// List the automatic replication rules of one repository.
    ListImageAutoSyncReposDetails =>
        Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/sync_repo", 200)
        .returns(Array("SyncRepo"))
        .not_built(),
    /// Create an automatic replication rule: tags pushed from now on are copied to the target.
    CreateImageSyncRepo => Operation::post("/v2/manage/namespaces/{namespace}/repos/{repository}/sync_repo", 200)
        .takes(Object("CreateImageSyncRepoRequestBody"))
        .refuses(&[PermissionExists])
        .not_built(),
    /// Regions that replication may target.
    ListSyncRegions => Operation::get("/v2/manage/regions", 200)
        .returns(Array("RegionInfo")),
    /// List the accounts a private repository is shared with.
    ListRepoDomains => Operation::get("/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains", 200)
        .returns(Array("ShowRepoDomainsResponse"))
        .not_built(),
    /// Share a private repository with another account of the same region.
    CreateRepoDomains =>
        Operation::post("/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains", 201)
        .takes(Object("CreateRepoDomainsRequestBody"))
        .refuses(&[PermissionExists])
        .not_built(),
    /// Stop sharing with one account.
    DeleteRepoDomains =>
        Operation::delete(
            "/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains/{access_domain}",
            204,
        )
        .refuses(&[PermissionAbsent])
        .not_built(),
    /// Tell whether a share with the account exists, and show it.
    ShowAccessDomain =>
        Operation::get(
            "/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains/{access_domain}",
            200,
        )
        .returns(Object("ShowAccessDomainResponse"))
        .not_built(),
    /// Change the deadline or description of a share.
    UpdateRepoDomains =>
        Operation::patch(
            "/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains/{access_domain}",
            201,
        )
        .takes(Object("UpdateRepoDomainsRequestBody"))
        .refuses(&[ShareAbsent])
        .not_built(),
    /// List repositories shared by or with the account (offset paging).
    ListSharedReposDetails => Operation::get("/v2/manage/shared-repositories", 200)
        .query(const { &[
            text("namespace"),
            text("name"),
            text("center").required(),
            text("limit"),
            text("offset"),
            text("order_column"),
            text("order_type"),
            text("filter"),
        ] })
        .returns(Array("ShowReposResp"))
        .with_headers(&["Content-Range"])
        .not_built(),
    /// List shared repositories (v3, marker paging).
    ListSharedRepoDetails => Operation::get("/v3/manage/shared-repositories", 200)
        .query(const { &[
            text("namespace"),
            text("name"),
            text("shared_by").required(),
            integer("limit"),
            integer("marker"),
            flag("status"),
        ] })
        .returns(Object("ListRepoDetailsResponse"))
        .not_built(),
    /// List the deployment triggers of a repository.
    ListTriggersDetails => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/triggers", 200)
        .returns(Array("Trigger"))
        .not_built(),
    /// Create a deployment trigger.
    CreateTrigger => Operation::post("/v2/manage/namespaces/{namespace}/repos/{repository}/triggers", 201)
        .takes(Object("CreateTriggerRequestBody"))
        .not_built(),
    /// Delete a deployment trigger.
    DeleteTrigger => Operation::delete("/v2/manage/namespaces/{namespace}/repos/{repository}/triggers/{trigger}", 204)
        .refuses(&[TriggerAbsent])
        .not_built(),
    /// Show one deployment trigger with its history.
    ShowTrigger => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/triggers/{trigger}", 200)
        .returns(Object("Trigger"))
        .refuses(&[TriggerAbsent])
        .not_built(),
    /// Enable or disable a trigger.
    UpdateTrigger => Operation::patch("/v2/manage/namespaces/{namespace}/repos/{repository}/triggers/{trigger}", 201)
        .takes(Object("UpdateTriggerRequestBody"))
        .refuses(&[TriggerAbsent])
        .not_built(),
    /// List the retention (ageing) rules of a repository; at most one exists.
    ListRetentions => Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/retentions", 200)
        .returns(Array("Retention"))
        .not_built(),
    /// Create the retention rule of a repository; it is applied at once.
    CreateRetention => Operation::post("/v2/manage/namespaces/{namespace}/repos/{repository}/retentions", 201)
        .takes(Object("CreateRetentionRequestBody"))
        .returns(Object("CreateRetentionResponse"))
        .not_built(),
    /// List the tags that retention removed.
    ListRetentionHistories =>
        Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/retentions/histories", 200)
        .query(const { &[text("limit"), text("offset"), text("filter")] })
        .returns(Object("ListRetentionHistoriesResponse"))
        .with_headers(&["Content-Range"])
        .not_built(),
    /// Delete a retention rule.
    DeleteRetention =>
        Operation::delete("/v2/manage/namespaces/{namespace}/repos/{repository}/retentions/{retention_id}", 200)
        .refuses(&[RetentionAbsent])
        .not_built(),
    /// Show one retention rule.
    ShowRetention =>
        Operation::get("/v2/manage/namespaces/{namespace}/repos/{repository}/retentions/{retention_id}", 200)
        .returns(Object("Retention"))
        .refuses(&[RetentionAbsent])
        .not_built(),
    /// Replace the parameters of a retention rule.
    UpdateRetention =>
        Operation::patch("/v2/manage/namespaces/{namespace}/repos/{repository}/retentions/{retention_id}", 201)
        .takes(Object("UpdateRetentionRequestBody"))
        .refuses(&[RetentionAbsent])
        .not_built(),
    /// Issue an enhanced temporary registry login.
    CreateAuthorizationToken => Operation::post("/v2/manage/utils/authorizationtoken", 200)
        .returns(Object("CreateSecretResponse"))
        .with_headers(&["X-Swr-Dockerlogin", "X-Swr-Expireat"])
        .refuses(&[Forbidden])
        .not_built(),
    /// Issue a temporary registry login.
    CreateSecret => Operation::post("/v2/manage/utils/secret", 200)
        .query(const { &[text("projectname"), integer("duration_seconds")] })
        .returns(Object("CreateSecretResponse"))
        .with_headers(&["X-Swr-Dockerlogin", "X-Swr-Expireat"]),
    /// Limits and use per quota kind.
    ListQuotas => Operation::get("/v2/manage/projects/{project_id}/quotas", 200)
        .returns(Object("ListQuotasResponse"))
        .refuses(&[Forbidden]),
    /// Feature switches of the installation; consoles use it to hide pages.
    ShowShareFeatureGates => Operation::get("/v2/manage/projects/{project_id}/feature-gates", 200)
        .returns(Object("ShowShareFeatureGatesResponse"))
        .refuses(&[Forbidden]),
    /// Totals for the account: organizations, repositories, tags, bytes stored and downloaded.
    ShowDomainOverview => Operation::get("/v2/manage/overview", 200)
        .returns(Object("ShowDomainOverviewResponse")),
    /// Time series of one resource kind.
    ShowDomainResourceReports => Operation::get("/v2/manage/reports/{resource_type}/{frequency}", 200)
        .returns(Array("ReportData"))
        .refuses(&[BadParameter])
        .not_built(),
    /// Tell whether the account has delegated its container clusters to the registry service (needed by triggers).
    CheckAgency => Operation::get("/v2/manage/agency", 200)
        .returns(Object("CheckAgencyResponse")),
    /// Create that delegation; consoles call it, users rarely do.
    CreateAgency => Operation::post("/v2/manage/agency", 204)
        .refuses(&[Forbidden])
        .not_built(),
}
