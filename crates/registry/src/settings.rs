//! What an operator decides, as plain values. Parsing and defaults live in the server's configuration.

use std::time::Duration;

use transship_catalog::Quotas;
use transship_oci::RegionId;

use crate::name_patterns::NamePatterns;

/// Everything the service needs to know about its region and its limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The id of this region.
    pub region: RegionId,
    /// Where clients reach this region, without a slash at the end.
    pub public_url: String,
    /// Host and port of `public_url`: the first part of every pull path.
    pub registry_host: String,
    /// The `service` of the Bearer challenge and the audience of registry tokens.
    pub service: String,
    /// Organizations an account may have in this region (contract 2.2).
    pub namespaces_per_account: i64,
    /// What an organization may use where nothing else is said about it.
    pub quotas: Quotas,
    /// How blobs are checked.
    pub scrub: ScrubSettings,
    /// Life of a registry token.
    pub registry_token_seconds: u64,
    /// Longest life of a refresh token.
    pub refresh_token_seconds: u64,
    /// Life of an IAM token.
    pub iam_token_seconds: u64,
    /// Life of a temporary login (`CreateSecret`) unless the caller names one.
    pub login_seconds: u64,
    /// Most temporary logins that one user has at once.
    pub logins_per_user: i64,
    /// How long `sync_images` waits for its jobs.
    pub sync_wait: Duration,
    /// Most distinct tags in one `sync_images` call.
    pub sync_max_tags: usize,
    /// Most open jobs of one account.
    pub max_open_jobs_per_account: i64,
    /// Longest time that a job may use up itself, running and in the pauses after its tries.
    pub job_timeout: Duration,
    /// Most failures of one job before it is given up; a target that is away is none.
    pub max_attempts: i64,
    /// Jobs running at once for each target region.
    pub slots_per_region: usize,
    /// Blobs in flight at once in one job.
    pub blobs_in_parallel: usize,
    /// How long an upload session lives after its last byte.
    pub upload_expiry: Duration,
    /// Most open upload sessions of one user.
    pub upload_sessions_per_user: i64,
    /// When failed logins are held back.
    pub logins: LoginLimits,
    /// Whether signatures and whatever else refers to an image go with it.
    pub copy_referrers: bool,
    /// How long finished jobs are kept.
    pub job_retention: Duration,
    /// Who may do what without a login.
    pub access: AccessSettings,
    /// Whether a manifest may name blobs and manifests that its repository lacks.
    pub sparse_indexes: bool,
    /// How garbage goes away.
    pub collection: Collection,
    /// The other regions.
    pub peers: Vec<Peer>,
}

/// What is allowed to somebody without a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// Whether public repositories may be pulled from.
    pub anonymous_pull: bool,
    /// Whether everybody may do everything at the registry; for a laptop or a CI job.
    pub open: bool,
}

/// How what nothing needs is found and taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The pause between two rounds.
    pub interval: Duration,
    /// How long a repository may use a blob that none of its manifests names.
    pub unlink_grace: Duration,
    /// How long the bytes of a blob stay after nobody can find it any more.
    pub sweep_grace: Duration,
    /// The pause behind each page of a walk.
    pub pause: Duration,
}

/// `[scrub]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// Bytes read a second; 0 switches the rounds off.
    pub bytes_per_second: u64,
    /// From the beginning of one round to that of the next.
    pub interval: Duration,
    /// How long to wait before a blob is asked for again that no peer had.
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

/// When logins are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginLimits {
    /// Failures of one name from one address that cost nothing.
    pub failures: usize,
    /// Failures of one address, whatever the name, that cost nothing.
    pub failures_per_address: usize,
}

/// Another region that runs Transship.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its id, the key that `remoteRegionId` looks up.
    pub id: RegionId,
    /// Where this region reaches it, without a slash at the end.
    pub url: String,
    /// Its pinned public keys, each the base64 of the 32 raw bytes of Ed25519; more than one while its key is replaced.
    pub public_keys: Vec<String>,
    /// A certificate authority to trust beside the built-in ones, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether it is asked for bytes that were lost here, and given bytes that were lost there.
    pub repair: bool,
    /// Whether it may write here.
    pub accept: bool,
    /// The accounts that it may act for here.
    pub accounts: NamePatterns,
    /// The organizations that it may write here.
    pub namespaces: NamePatterns,
    /// Whether it may act for administrators.
    pub administrators: bool,
}
