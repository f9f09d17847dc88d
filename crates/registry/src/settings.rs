//! The operator's settings, as plain values. The server's configuration parses them and has the defaults.

use std::time::Duration;

use transship_catalog::Quotas;
use transship_oci::RegionId;

use crate::name_patterns::NamePatterns;

/// Everything the service needs to know about its region and its limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The id of this region.
    pub region: RegionId,
    /// The URL at which clients reach this region, without a trailing slash.
    pub public_url: String,
    /// Host and port of `public_url`: the first part of every pull path.
    pub registry_host: String,
    /// The `service` of the Bearer challenge and the audience of registry tokens.
    pub service: String,
    /// Maximum number of organizations of an account in this region (contract 2.2).
    pub namespaces_per_account: i64,
    /// Quotas of an organization that has none of its own.
    pub quotas: Quotas,
    /// Settings for the checks of stored blobs.
    pub scrub: ScrubSettings,
    /// Lifetime of a registry token.
    pub registry_token_seconds: u64,
    /// Maximum lifetime of a refresh token.
    pub refresh_token_seconds: u64,
    /// Lifetime of an IAM token.
    pub iam_token_seconds: u64,
    /// Lifetime of a temporary login (`CreateSecret`) unless the caller gives one.
    pub login_seconds: u64,
    /// Maximum number of temporary logins that one user has at once.
    pub logins_per_user: i64,
    /// How long `sync_images` waits for its jobs.
    pub sync_wait: Duration,
    /// Maximum number of distinct tags in one `sync_images` call.
    pub sync_max_tags: usize,
    /// Maximum number of open jobs of one account.
    pub max_open_jobs_per_account: i64,
    /// Maximum time of one job: while it runs, and in the pauses after its tries.
    pub job_timeout: Duration,
    /// Maximum number of failures before a job is given up; a target that is unreachable or too busy is none.
    pub max_attempts: i64,
    /// Maximum number of jobs that run at once for each target region.
    pub slots_per_region: usize,
    /// Maximum number of blobs that one job sends at once.
    pub blobs_in_parallel: usize,
    /// How long an upload session lives after its last byte.
    pub upload_expiry: Duration,
    /// Maximum number of open upload sessions of one user.
    pub upload_sessions_per_user: i64,
    /// Limits for failed logins.
    pub logins: LoginLimits,
    /// Whether a copy of an image includes its referrers, such as signatures.
    pub copy_referrers: bool,
    /// Time for which finished jobs are kept.
    pub job_retention: Duration,
    /// What callers may do without a login.
    pub access: AccessSettings,
    /// Whether a manifest may name blobs and manifests that its repository lacks.
    pub sparse_indexes: bool,
    /// Settings for garbage collection.
    pub collection: Collection,
    /// The other regions.
    pub peers: Vec<Peer>,
}

/// What a caller without a login may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// Whether public repositories may be pulled from.
    pub anonymous_pull: bool,
    /// Whether everybody may do everything at the registry; meant for a laptop or a CI job.
    pub open: bool,
}

/// Settings for garbage collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The pause between two rounds.
    pub interval: Duration,
    /// Time for which a repository keeps a blob that none of its manifests names.
    pub unlink_grace: Duration,
    /// Time for which the bytes of a blob stay after no row names them any more.
    pub sweep_grace: Duration,
    /// The pause after each page of a walk.
    pub pause: Duration,
}

/// `[scrub]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// Bytes read per second; 0 disables the rounds.
    pub bytes_per_second: u64,
    /// Interval between the starts of two rounds.
    pub interval: Duration,
    /// Wait before peers are asked again for a blob that none had.
    pub repair_interval: Duration,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self {
            bytes_per_second: 10 << 20,
            interval: Duration::from_hours(7 * 24),
            repair_interval: Duration::from_mins(5),
        }
    }
}

/// How many failed logins have no consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginLimits {
    /// Free failures for one name from one address.
    pub failures: usize,
    /// Free failures for one address, over all names.
    pub failures_per_address: usize,
}

/// Another region that runs Transship.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its id, the key that `remoteRegionId` looks up.
    pub id: RegionId,
    /// The URL at which this region reaches it, without a trailing slash.
    pub url: String,
    /// Its pinned public keys, each the base64 of the 32 raw bytes of Ed25519; more than one while its key is replaced.
    pub public_keys: Vec<String>,
    /// A certificate authority to trust besides the built-in ones, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether this region asks it for bytes lost here, and gives it bytes lost there.
    pub repair: bool,
    /// Whether it may write to this region.
    pub accept: bool,
    /// The accounts for which it may act here.
    pub accounts: NamePatterns,
    /// The organizations to which it may write here.
    pub namespaces: NamePatterns,
    /// Whether it may act for administrators.
    pub administrators: bool,
}
