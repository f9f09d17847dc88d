//! What one region does, without HTTP: logins and access, push and pull, namespaces and repositories, replication and
//! its jobs.
//!
//! Owns: the rules (who may do what, in which order a push becomes visible, when a job is done) and the connection
//! between facts (catalog) and bytes (store). Never: HTTP, configuration files, SQL.
//!
//! Each folder is a room whose `mod.rs` says what is in it. Inside the crate, import a name from the file that defines
//! it. The names that this file exports are for the server.

mod access;
mod address;
mod content;
mod detached;
mod error;
mod identity;
mod job_signal;
mod name_patterns;
mod pull_cache;
mod registry;
mod replication;
mod settings;
mod shared;
#[cfg(test)]
mod testing;
mod upkeep;

pub use access::grants::{GrantList, GrantSpec};
pub use access::policy::{EffectiveAccess, Principal};
pub use access::proof::{Authorized, Delete, Pull, Push, Right};
pub use access::service::Access;
pub use access::token_grant::Grant;
pub use address::counted_address;
pub use content::blob_content::BlobContent;
pub use content::blobs::Mount;
pub use content::large_pages::{Kept, Room};
pub use content::manifests::{FoundManifest, ManifestPush, PushCondition, Pushed};
pub use content::namespaces::{NamespaceSummary, Overview};
pub use content::referrers::ReferrersPage;
pub use content::repositories::{
    ListRepositories, Overflow, RepositoryAttributes, RepositoryList, RepositoryPage, RepositorySummary,
};
pub use content::sending::LargeManifest;
pub use content::service::Content;
pub use content::stored_manifest::StoredManifest;
pub use content::tags::{ListTags, Manifests, TagList, TagPage, TagView};
pub use content::upload_body::Body;
pub use content::uploads::UploadStatus;
pub use error::ServiceError;
pub use identity::fingerprint::key_fingerprint;
pub use identity::keys::{FoundKeys, KeyError, Keys, NewKey, Replaced};
pub use identity::logins::{Bootstrap, LoginBasis, ProvedLogin, RegistryLogin};
pub use identity::project::Project;
pub use identity::service::Identity;
pub use identity::throttle::Attempt;
pub use identity::tokens::{IssuedToken, TokenError};
pub use name_patterns::NamePatterns;
pub use registry::{NotReady, Registry};
pub use replication::calls::{SyncImages, SyncOutcome, TagOutcome};
pub use replication::copy::wire;
pub use replication::peers::check_peers;
pub use replication::peers::peer_answers;
pub use replication::region_tokens::RegionTokenError;
pub use replication::service::Replication;
pub use settings::{AccessSettings, Collection, LoginLimits, Peer, ScrubSettings, Settings};
pub use upkeep::fsck::{Finding, FsckOptions, FsckReport, Problem};
pub use upkeep::service::Upkeep;

/// The catalog types that appear in this crate's interface.
pub use transship_catalog::{
    AccessKey, ImmutableTags, Job, JobState, Level, Namespace, RepoOrder, Repository, TagOrder, User,
};
