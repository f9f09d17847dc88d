//! The operator's settings: one TOML file, checked as a whole before anything starts.
//!
//! Owns: the file, its defaults, its secrets and every message about what is wrong with it. Never: the environment,
//! except for a secret that says `{ env = "…" }`; nor a default that is not in [`reference::KEYS`].

mod change;
mod load;
mod parse;
mod problem;
mod reader;
pub mod reference;
mod secret;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use transship_catalog::Quotas;
use transship_oci::RegionId;
use transship_registry::{
    AccessSettings, Bootstrap, Collection, LoginLimits, NamePatterns, Peer, ScrubSettings, Settings,
};

use crate::http::address::TrustedProxies;

pub use change::Change;
pub use load::{load, load_again, without_file};
pub use problem::{ConfigError, Problem};
pub use secret::Secret;

/// The `service` of the Bearer challenge and the audience of registry tokens (contract 7.6).
pub const TOKEN_SERVICE: &str = "dockyard";

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from; `None` if there was no file.
    pub file: Option<PathBuf>,
    /// The id of this region.
    pub region: RegionId,
    /// Address for plain HTTP.
    pub listen: SocketAddr,
    /// Address for TLS, with the same routes.
    pub listen_tls: Option<SocketAddr>,
    /// Where clients reach the region, without a slash at the end; `None` means `http://` and `listen`.
    pub public_url: Option<String>,
    /// Directory of the keys, and by default of catalog and blobs.
    pub data_dir: PathBuf,
    /// Whether other users may access `data_dir`.
    pub allow_shared_data_dir: bool,
    /// Certificate and key for `listen_tls`.
    pub tls: Option<TlsFiles>,
    /// URL of the catalog; `None` for SQLite in `data_dir`.
    pub catalog_url: Option<Secret>,
    /// Settings for replication.
    pub replication: Replication,
    /// Settings for the registry protocol.
    pub registry: RegistryConfig,
    /// What is allowed without a login.
    pub access: AccessSettings,
    /// Limits on what one caller may use.
    pub limits: Limits,
    /// Settings for garbage collection.
    pub collection: Collection,
    /// Settings for the check of blobs.
    pub scrub: ScrubSettings,
    /// Lifetimes of tokens and logins.
    pub tokens: Tokens,
    /// The first account.
    pub bootstrap: Option<BootstrapConfig>,
    /// The other regions.
    pub peers: Vec<PeerConfig>,
    /// The log.
    pub log: Log,
}

/// The files behind `listen_tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub private_key: PathBuf,
}

/// `[replication]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// How long `sync_images` waits for its jobs.
    pub sync_wait: Duration,
    /// The tags that the array in its answer lists.
    pub sync_images_response: SyncImagesResponse,
    /// Maximum number of distinct tags in one call.
    pub sync_max_tags: usize,
    /// Maximum number of failures before a job is given up.
    pub max_attempts: i64,
    /// Maximum time from a job's creation to its end.
    pub job_timeout: Duration,
    /// Maximum number of jobs running at once for each target region.
    pub slots_per_region: usize,
    /// Maximum number of blobs in flight at once in one job.
    pub blobs_in_parallel: usize,
    /// Maximum number of open jobs of one account.
    pub max_open_jobs_per_account: i64,
    /// Whether signatures and other referrers are copied with an image.
    pub copy_referrers: bool,
    /// How long finished jobs are kept.
    pub job_retention: Duration,
}

/// The two readings of the array in the answer of `sync_images` (contract 3.1). Every management request carries the
/// configured one in its extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncImagesResponse {
    /// Reading A: the tags that did not reach the target.
    #[default]
    Failed,
    /// Reading B: the tags that did.
    Succeeded,
}

/// `[registry]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Whether a manifest may name blobs and manifests that its repository lacks.
    pub sparse_indexes: bool,
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of organizations of one account in this region (contract 2.2).
    pub namespaces_per_account: i64,
    /// Default quotas of an organization.
    pub quotas: Quotas,
    /// Maximum number of connections at once, over all listeners.
    pub connections: usize,
    /// Maximum number of connections at once from one address.
    pub connections_per_address: usize,
    /// Lifetime of an upload session after its last byte.
    pub upload_expiry: Duration,
    /// Maximum number of open upload sessions of one user.
    pub upload_sessions_per_user: i64,
    /// When failed logins are throttled.
    pub logins: LoginLimits,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
}

/// `[tokens]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Lifetime of a registry token.
    pub registry_seconds: u64,
    /// Maximum lifetime of a refresh token.
    pub refresh_seconds: u64,
    /// Lifetime of an IAM token.
    pub iam_seconds: u64,
    /// Lifetime of a temporary login if the caller names none.
    pub login_seconds: u64,
    /// Maximum number of temporary logins of one user at once.
    pub logins_per_user: i64,
}

/// `[bootstrap]`.
#[derive(Clone, Debug)]
pub struct BootstrapConfig {
    /// Name of the account.
    pub account: String,
    /// Name of its administrator.
    pub user: String,
    /// The administrator's password.
    pub password: Secret,
    /// An access key and its secret key.
    pub access_key: Option<(String, Secret)>,
}

/// One `[[peer]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its region id, which callers name in `remoteRegionId`.
    pub id: RegionId,
    /// URL at which this region reaches it, without a slash at the end.
    pub url: String,
    /// Its pinned region keys.
    pub public_keys: Vec<String>,
    /// A certificate authority to trust beside the built-in ones, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether either region may restore lost bytes from the other.
    pub repair: bool,
    /// Whether it may write here.
    pub accept: bool,
    /// The accounts that it may act for.
    pub accounts: NamePatterns,
    /// The organizations that it may write to.
    pub namespaces: NamePatterns,
    /// Whether it may act for administrators.
    pub administrators: bool,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter such as `info` or `info,transship_registry=debug`.
    pub level: String,
    /// The format of a line.
    pub format: LogFormat,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    #[default]
    Json,
    /// For people.
    Text,
}

impl Config {
    /// The URL of the catalog.
    pub fn catalog_url(&self) -> String {
        if let Some(url) = &self.catalog_url {
            return url.expose().to_owned();
        }
        // A path may hold characters that have a meaning in a URL.
        let path = self.data_dir.join("catalog.db").display().to_string();
        format!("sqlite://{}?mode=rwc", path.replace('%', "%25").replace('?', "%3F").replace('#', "%23"))
    }

    /// Whether the catalog is a file, which only one serving process may own.
    pub fn catalog_is_embedded(&self) -> bool {
        self.catalog_url.is_none()
    }

    /// The URL of the region for clients, if it listens on `listen`.
    pub fn public_url(&self, listen: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{listen}"))
    }

    /// The values that the registry crate works with.
    pub fn settings(&self, listen: SocketAddr) -> Settings {
        let public_url = self.public_url(listen);
        let registry_host = public_url.split_once("://").map_or(public_url.as_str(), |(_, host)| host).to_owned();
        Settings {
            region: self.region.clone(),
            public_url,
            registry_host,
            service: TOKEN_SERVICE.to_owned(),
            namespaces_per_account: self.limits.namespaces_per_account,
            quotas: self.limits.quotas,
            scrub: self.scrub,
            registry_token_seconds: self.tokens.registry_seconds,
            refresh_token_seconds: self.tokens.refresh_seconds,
            iam_token_seconds: self.tokens.iam_seconds,
            login_seconds: self.tokens.login_seconds,
            logins_per_user: self.tokens.logins_per_user,
            sync_wait: self.replication.sync_wait,
            sync_max_tags: self.replication.sync_max_tags,
            max_open_jobs_per_account: self.replication.max_open_jobs_per_account,
            job_timeout: self.replication.job_timeout,
            max_attempts: self.replication.max_attempts,
            slots_per_region: self.replication.slots_per_region,
            blobs_in_parallel: self.replication.blobs_in_parallel,
            upload_expiry: self.limits.upload_expiry,
            upload_sessions_per_user: self.limits.upload_sessions_per_user,
            logins: self.limits.logins,
            copy_referrers: self.replication.copy_referrers,
            job_retention: self.replication.job_retention,
            access: self.access,
            sparse_indexes: self.registry.sparse_indexes,
            collection: self.collection.clone(),
            peers: self.peers.iter().map(PeerConfig::to_peer).collect(),
        }
    }
}

impl PeerConfig {
    fn to_peer(&self) -> Peer {
        Peer {
            id: self.id.clone(),
            url: self.url.clone(),
            public_keys: self.public_keys.clone(),
            ca_pem: self.ca_pem.clone(),
            repair: self.repair,
            accept: self.accept,
            accounts: self.accounts.clone(),
            namespaces: self.namespaces.clone(),
            administrators: self.administrators,
        }
    }
}

impl BootstrapConfig {
    /// The values that the registry crate works with.
    pub fn to_bootstrap(&self) -> Bootstrap {
        Bootstrap {
            account: self.account.clone(),
            user: self.user.clone(),
            password: self.password.expose().to_owned(),
            access_key: self.access_key.as_ref().map(|(key, secret)| (key.clone(), secret.expose().to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
