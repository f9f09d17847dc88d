//! What one region does, with no HTTP in sight: logins and access, push and pull, namespaces and repositories,
//! replication and its jobs.
//!
//! Owns: the rules (who may do what, in which order a push becomes visible, when a job is done) and the joining of
//! facts (catalog) and bytes (store). Never: HTTP, configuration files, SQL.

mod access;
mod address;
mod blobs;
mod error;
mod fsck;
mod gc;
mod grants;
mod immutability;
mod jobs;
mod keys;
mod logins;
mod manifests;
mod name_patterns;
mod namespaces;
mod operator;
mod passwords;
mod peers;
mod pull_cache;
mod quotas;
mod referrers;
mod refresh;
mod registry;
mod replicate;
mod repositories;
mod room;
mod scrub;
mod sending;
mod settings;
mod sync;
mod tags;
#[cfg(test)]
mod testing;
mod throttle;
mod tokens;
mod uploads;

pub use access::{EffectiveAccess, Principal};
pub use address::counted_address;
pub use blobs::{BlobContent, Mount};
pub use error::ServiceError;
pub use fsck::{Finding, FsckOptions, FsckReport, Problem};
pub use grants::{GrantList, GrantSpec};
pub use keys::{FoundKeys, KeyError, Keys, NewKey, Replaced};
pub use logins::{Bootstrap, LoginBasis, ProvedLogin, RegistryLogin};
pub use manifests::{FoundManifest, ManifestPush, PushCondition, Pushed, StoredManifest};
pub use name_patterns::NamePatterns;
pub use namespaces::{NamespaceSummary, Overview};
pub use peers::{check_peers, key_fingerprint};
pub use referrers::ReferrersPage;
pub use registry::{Project, Registry, peer_answers};
pub use replicate::wire;
pub use repositories::{
    ListRepositories, Overflow, RepositoryAttributes, RepositoryList, RepositoryPage, RepositorySummary,
};
pub use room::{Kept, Room};
pub use scrub::ScrubSettings;
pub use sending::LargeManifest;
pub use settings::{AccessSettings, Collection, Peer, Settings};
pub use sync::{SyncImages, SyncOutcome, TagOutcome};
pub use tags::{ListTags, Manifests, TagList, TagPage, TagView};
pub use throttle::{Attempt, LoginLimits};
pub use tokens::{Grant, GrantedName, IssuedToken, RegionTokenError, TokenError};
pub use uploads::{Body, UploadStatus};

/// The catalog types that appear in this crate's interface.
pub use transship_catalog::{
    AccessKey, ImmutableTags, Job, JobState, Level, Namespace, RepoOrder, Repository, TagOrder, User,
};
