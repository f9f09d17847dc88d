//! The catalog: every fact that a region knows, in SQLite or PostgreSQL, and all the SQL there is.
//!
//! Owns the tables, their migrations, every transaction, and this rule: a transaction that relies on a row updates it,
//! so that nobody else can delete the row meanwhile. Foreign keys are the second safeguard.
//!
//! It never touches bytes: a location is only a text here. It never decides who may do what: it only returns who has
//! which level. It never compares a lease with the clock of the process, only with the database's.

mod access;
mod accounts;
mod blobs;
mod catalog;
mod collection;
mod dialect;
mod error;
mod fsck;
mod grants;
mod immutability;
mod jobs;
mod key_checks;
mod level;
mod limits;
mod logins;
mod manifests;
mod migrations;
mod names;
mod namespaces;
mod pull;
mod put_error;
mod quarantine;
mod queue;
mod quotas;
mod reach;
mod referrers;
mod region_tokens;
mod repositories;
mod reservations;
mod retry;
mod row;
mod startup;
mod stored;
mod tags;
mod tx;
mod uploads;
mod version;

pub use access::Access;
pub use accounts::{AccessKey, Account, NewBootstrap, NewUser, User};
pub use blobs::{Blob, Unlinked};
pub use catalog::Catalog;
pub use collection::{Condemned, LinkKey, Page, Remains, Tombstone};
pub use error::CatalogError;
pub use fsck::{Dangling, HeldManifest};
pub use grants::Grant;
pub use immutability::ImmutableTags;
pub use jobs::{EnqueueError, Heartbeat, Job, JobState, JobStatus, NewJob, Progress, TargetBefore};
pub use key_checks::{SECRETS_KEY, SealedAgain};
pub use level::{InvalidLevel, Level};
pub use limits::{QuotaExceeded, Quotas, Resource};
pub use logins::{FoundAccessKey, MadeWith};
pub use manifests::{ManifestPut, PutManifest, StoredManifest};
pub use namespaces::{CreateNamespaceError, Deleted, ListNamespaces, Namespace, NamespaceSummary};
pub use pull::{Pulled, PulledManifest};
pub use put_error::PutManifestError;
pub use quarantine::{ScrubTurn, StoredBlob};
pub use quotas::{Limit, NamespaceUsage, Usage, WrongCounter};
pub use referrers::Referrers;
pub use region_tokens::TokenUse;
pub use repositories::{
    ListRepositories, ListedRepository, NewRepository, RepoOrder, Repository, RepositorySummary, RepositoryTexts,
};
pub use reservations::{Checkpoint, Resume};
pub use stored::{AccountOverview, WrongStoredBytes};
pub use tags::{ListTagDetails, TagCondition, TagDetail, TagOrder};
pub use uploads::{Abandon, Closing, FinishedUpload, KnownBytes, NewUpload, Upload};
pub use version::Version;

#[cfg(test)]
mod tests;
