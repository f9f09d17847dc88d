//! What one region does, with no HTTP in sight: logins and access, push and pull, namespaces and repositories,
//! replication and its jobs.
//!
//! Owns: the rules (who may do what, in which order a push becomes visible, when a job is done) and the joining of
//! facts (catalog) and bytes (store). Never: HTTP, configuration files, SQL.
//!
//! Each folder is a room whose `mod.rs` says what is in it. Inside the crate a name is imported from the file that has it; what this file
//! names is for the server.

mod access;
mod content;
mod error;
mod identity;
mod registry;
mod replication;
mod settings;
#[cfg(test)]
mod testing;
mod upkeep;

pub use access::grants::{GrantList, GrantSpec};
pub use access::name_patterns::NamePatterns;
pub use access::policy::{EffectiveAccess, Principal};
pub use content::blobs::{BlobContent, Mount};
pub use content::large_pages::Room;
pub use content::manifests::{ManifestPush, PushCondition, Pushed, StoredManifest};
pub use content::namespaces::{NamespaceSummary, Overview};
pub use content::referrers::ReferrersPage;
pub use content::repositories::{
    ListRepositories, Overflow, RepositoryAttributes, RepositoryList, RepositoryPage, RepositorySummary,
};
pub use content::tags::{ListTags, Manifests, TagList, TagPage, TagView};
pub use content::uploads::{Body, UploadStatus};
pub use error::ServiceError;
pub use identity::address::counted_address;
pub use identity::keys::{KeyError, Keys, NewKey, Replaced};
pub use identity::logins::{Bootstrap, LoginBasis, RegistryLogin};
pub use identity::throttle::{Attempt, LoginLimits};
pub use identity::tokens::{Grant, GrantedName, IssuedToken, RegionTokenError, TokenError};
pub use registry::{Project, Registry, peer_answers};
pub use replication::calls::{SyncImages, SyncOutcome, TagOutcome};
pub use replication::copy::wire;
pub use replication::peers::key_fingerprint;
pub use settings::{AccessSettings, Collection, Peer, Settings};
pub use upkeep::fsck::{Finding, FsckOptions, FsckReport, Problem};
pub use upkeep::scrub::ScrubSettings;

/// The catalog types that appear in this crate's interface.
pub use transship_catalog::{
    AccessKey, ImmutableTags, Job, JobState, Level, Namespace, RepoOrder, Repository, TagOrder, User,
};
