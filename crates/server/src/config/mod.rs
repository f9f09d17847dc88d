//! What the operator decides: one TOML file, checked as a whole before anything starts.
//!
//! Owns: the file, its defaults, its secrets and every sentence about what is wrong with it. Never: the environment of
//! anything but a secret that says `{ env = "…" }`, and no default that is not in [`reference::KEYS`].

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
    /// Where it came from; nothing when there was no file.
    pub file: Option<PathBuf>,
    /// The id of this region.
    pub region: RegionId,
    /// Plain HTTP.
    pub listen: SocketAddr,
    /// The same routes over TLS.
    pub listen_tls: Option<SocketAddr>,
    /// Where clients reach the region, without a slash at the end; `http://` and `listen` when not given.
    pub public_url: Option<String>,
    /// Keys, and by default catalog and blobs.
    pub data_dir: PathBuf,
    /// Whether others may look into `data_dir`.
    pub allow_shared_data_dir: bool,
    /// Certificate and key for `listen_tls`.
    pub tls: Option<TlsFiles>,
    /// The catalog, when it is not SQLite in `data_dir`.
    pub catalog_url: Option<Secret>,
    /// How replication behaves.
    pub replication: Replication,
    /// What the registry protocol takes.
    pub registry: RegistryConfig,
    /// What is allowed without a login.
    pub access: AccessSettings,
    /// What one caller may use.
    pub limits: Limits,
    /// How garbage goes away.
    pub collection: Collection,
    /// How blobs are checked.
    pub scrub: ScrubSettings,
    /// How long tokens and logins live.
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
    /// What the array in its answer lists.
    pub sync_images_response: SyncImagesResponse,
    /// Most distinct tags in one call.
    pub sync_max_tags: usize,
    /// Most failures of one job before it is given up.
    pub max_attempts: i64,
    /// Longest time from a job's creation to its end.
    pub job_timeout: Duration,
    /// Jobs running at once for each target region.
    pub slots_per_region: usize,
    /// Blobs in flight at once in one job.
    pub blobs_in_parallel: usize,
    /// Most open jobs of one account.
    pub max_open_jobs_per_account: i64,
    /// Whether signatures and whatever else refers to an image go with it.
    pub copy_referrers: bool,
    /// How long finished jobs are kept.
    pub job_retention: Duration,
}

/// The two readings of the array that `sync_images` answers with (contract 3.1). Every management request carries the
/// configured one in its extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncImagesResponse {
    /// Reading A: the tags that did not get to the target.
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
    /// Organizations of one account in this region (contract 2.2).
    pub namespaces_per_account: i64,
    /// What an organization may use.
    pub quotas: Quotas,
    /// Connections at once, over all listeners.
    pub connections: usize,
    /// Connections at once of one address.
    pub connections_per_address: usize,
    /// Life of an upload session after its last byte.
    pub upload_expiry: Duration,
    /// Open upload sessions of one user.
    pub upload_sessions_per_user: i64,
    /// When failed logins are held back.
    pub logins: LoginLimits,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: TrustedProxies,
}

/// `[tokens]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Life of a registry token.
    pub registry_seconds: u64,
    /// Longest life of a refresh token.
    pub refresh_seconds: u64,
    /// Life of an IAM token.
    pub iam_seconds: u64,
    /// Life of a temporary login unless the caller names one.
    pub login_seconds: u64,
    /// Temporary logins that one user has at once.
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
    /// The key that `remoteRegionId` looks up.
    pub id: RegionId,
    /// Where this region reaches it, without a slash at the end.
    pub url: String,
    /// Its region keys, pinned.
    pub public_keys: Vec<String>,
    /// A certificate authority to trust beside the built-in ones, as PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether bytes that were lost on one side may come from the other.
    pub repair: bool,
    /// Whether it may write here.
    pub accept: bool,
    /// The accounts that it may act for.
    pub accounts: NamePatterns,
    /// The organizations that it may write.
    pub namespaces: NamePatterns,
    /// Whether it may act for administrators.
    pub administrators: bool,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter such as `info` or `info,transship_registry=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
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
        // A path may hold what means something in a URL.
        let path = self.data_dir.join("catalog.db").display().to_string();
        format!("sqlite://{}?mode=rwc", path.replace('%', "%25").replace('?', "%3F").replace('#', "%23"))
    }

    /// Whether the catalog is a file that only one serving process may own.
    pub fn catalog_is_embedded(&self) -> bool {
        self.catalog_url.is_none()
    }

    /// What clients call the region when it listens on `listen`.
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
