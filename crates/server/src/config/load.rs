//! From a file to a checked [`Config`].

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use toml::Value;
use transship_catalog::Quotas;
use transship_oci::RegionId;
use transship_registry::{AccessSettings, Collection, LoginLimits, ScrubSettings};

use super::problem::{ConfigError, Problem};
use super::reader::{Reader, Section};
use super::{
    BootstrapConfig, Config, Limits, Log, PeerConfig, RegistryConfig, Replication, Secret, TlsFiles, Tokens, parse,
};
use crate::http::address::TrustedProxies;
use crate::http::tls;

/// Maximum size of a configuration file. It is written by hand; a larger file is something else.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads and checks a configuration file, including its secrets and certificates.
///
/// # Errors
/// Everything that is wrong with the file, as far as it can be read at all.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    load_with(file, true)
}

/// Like [`load`], for a process that already serves. Does not check whether certificate and key can be used: the code
/// that replaces them does, so that a pair that is not valid yet does not hold up everything else.
///
/// # Errors
/// As [`load`].
pub fn load_again(file: &Path) -> Result<Config, ConfigError> {
    load_with(file, false)
}

fn load_with(file: &Path, check_tls: bool) -> Result<Config, ConfigError> {
    let text = read(file).map_err(|found| ConfigError::one(file, Problem::new("", found, "a TOML file")))?;
    let root: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let found = format!("line {line}: {}", error.message().replace('\n', " "));
        ConfigError::one(file, Problem::new("", found, "valid TOML"))
    })?;
    let base = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    check(root, base, Some(file), check_tls).map_err(|problems| ConfigError { file: file.to_owned(), problems })
}

/// The configuration of a process that was given no file: one region named `local`.
pub fn without_file() -> Config {
    let root = "region.id = \"local\"".parse().expect("this is TOML");
    check(root, Path::new("."), None, true).expect("defaults are good")
}

fn read(file: &Path) -> Result<String, String> {
    let size_bytes = std::fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size_bytes > MAX_FILE_BYTES {
        return Err(format!("has {size_bytes} bytes"));
    }
    std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))
}

fn check(root: toml::Table, base: &Path, file: Option<&Path>, check_tls: bool) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader::new(root, base);
    let config = read_all(&mut reader, file, check_tls);
    match config {
        Some(config) if reader.problems.is_empty() => Ok(config),
        _ => Err(reader.problems),
    }
}

/// Returns `None` only if a problem was noted; reads every section in any case, so that all problems are found.
fn read_all(reader: &mut Reader, file: Option<&Path>, check_tls: bool) -> Option<Config> {
    let region = reader.section("region");
    reader.refuse_unknown(&region);
    let id = reader.read(&region, "id", parse::region_id);
    let listen = reader.read(&region, "listen", parse::address);
    let listen_tls = reader.read(&region, "listen_tls", parse::address);
    let public_url = reader.read(&region, "public_url", parse::url);
    let data_dir = reader.path(&region, "data_dir");
    let allow_shared_data_dir = reader.read(&region, "allow_shared_data_dir", parse::boolean);

    let tls = read_tls(reader, check_tls);
    if listen_tls.is_some() && tls.is_none() && reader.optional_section("tls").is_none() {
        reader.problem(Problem::new(
            "region.listen_tls",
            "is set without [tls]",
            "tls.certificate and tls.private_key",
        ));
    }
    let catalog_url = read_catalog_url(reader);
    let replication = read_replication(reader);
    let registry = read_registry(reader);
    let access = read_access(reader, &[("region.listen", listen), ("region.listen_tls", listen_tls)]);
    let limits = read_limits(reader);
    let collection = read_collection(reader, limits.as_ref());
    let scrub = read_scrub(reader);
    let tokens = read_tokens(reader);
    let bootstrap = read_bootstrap(reader);
    let peers = read_peers(reader, id.as_ref());
    let log = read_log(reader);

    Some(Config {
        file: file.map(Path::to_owned),
        region: id?,
        listen: listen?,
        listen_tls,
        public_url,
        data_dir: data_dir?,
        allow_shared_data_dir: allow_shared_data_dir?,
        tls,
        catalog_url,
        replication: replication?,
        registry: registry?,
        access: access?,
        limits: limits?,
        collection: collection?,
        scrub: scrub?,
        tokens: tokens?,
        bootstrap,
        peers,
        log: log?,
    })
}

fn read_tls(reader: &mut Reader, check: bool) -> Option<TlsFiles> {
    let section = reader.optional_section("tls")?;
    reader.refuse_unknown(&section);
    let certificate = reader.path(&section, "certificate");
    let private_key = reader.path(&section, "private_key");
    let files = TlsFiles { certificate: certificate?, private_key: private_key? };
    if check && let Err(error) = tls::server_config(&files) {
        reader.problem(Problem::new(format!("tls.{}", error.key()), error.to_string(), error.expected()));
        return None;
    }
    Some(files)
}

fn read_catalog_url(reader: &mut Reader) -> Option<Secret> {
    let section = reader.section("catalog");
    reader.refuse_unknown(&section);
    let (label, value) = reader.value(&section, "url")?;
    // A plain string may hold a password too, so no message repeats it.
    let url = if let Value::String(text) = value { Secret::new(text) } else { reader.secret(&section, "url")? };
    if url.expose().starts_with("postgres://") || url.expose().starts_with("postgresql://") {
        return Some(url);
    }
    reader.problem(Problem::new(label, "is not a URL of PostgreSQL", "postgres://user:password@host/database"));
    None
}

fn read_replication(reader: &mut Reader) -> Option<Replication> {
    let section = reader.section("replication");
    reader.refuse_unknown(&section);
    let sync_wait = seconds(reader, &section, "sync_wait_seconds", 0, 110);
    let sync_images_response = reader.read(&section, "sync_images_response", parse::sync_images_response);
    let sync_max_tags = count(reader, &section, "sync_max_tags", 100_000);
    let max_attempts = reader.read(&section, "max_attempts", parse::whole_number(1..=1000));
    let job_timeout = seconds(reader, &section, "job_timeout_seconds", 1, 604_800);
    let slots_per_region = count(reader, &section, "slots_per_region", 256);
    let blobs_in_parallel = count(reader, &section, "blobs_in_parallel", 64);
    let max_open = reader.read(&section, "max_open_jobs_per_account", parse::whole_number(1..=1_000_000));
    let copy_referrers = reader.read(&section, "copy_referrers", parse::boolean);
    let job_retention_days = reader.read(&section, "job_retention_days", parse::whole_number(1..=3650));
    Some(Replication {
        sync_wait: sync_wait?,
        sync_images_response: sync_images_response?,
        sync_max_tags: sync_max_tags?,
        max_attempts: max_attempts?,
        job_timeout: job_timeout?,
        slots_per_region: slots_per_region?,
        blobs_in_parallel: blobs_in_parallel?,
        max_open_jobs_per_account: max_open?,
        copy_referrers: copy_referrers?,
        job_retention: Duration::from_secs(job_retention_days?.unsigned_abs() * 86_400),
    })
}

fn read_registry(reader: &mut Reader) -> Option<RegistryConfig> {
    let section = reader.section("registry");
    reader.refuse_unknown(&section);
    Some(RegistryConfig { sparse_indexes: reader.read(&section, "sparse_indexes", parse::boolean)? })
}

/// An open region takes everything from everybody who reaches it, so it may be reached from this machine only.
fn read_access(reader: &mut Reader, listeners: &[(&str, Option<SocketAddr>)]) -> Option<AccessSettings> {
    let section = reader.section("access");
    reader.refuse_unknown(&section);
    let anonymous_pull = reader.read(&section, "anonymous", parse::anonymous);
    let open = reader.read(&section, "open", parse::boolean)?;
    for (key, address) in listeners {
        if let Some(address) = address.filter(|address| open && !address.ip().to_canonical().is_loopback()) {
            let found = format!("is true while {key} is {address}, which other machines reach");
            let expected = "false, or only loopback addresses such as 127.0.0.1 to listen on";
            reader.problem(Problem::new("access.open", found, expected));
        }
    }
    Some(AccessSettings { anonymous_pull: anonymous_pull?, open })
}

fn read_limits(reader: &mut Reader) -> Option<Limits> {
    let section = reader.section("limits");
    reader.refuse_unknown(&section);
    let namespaces = reader.read(&section, "namespaces_per_account", parse::whole_number(1..=1_000_000));
    let mut quota = |name| {
        let number = reader.read(&section, name, parse::whole_number(0..=1 << 60));
        // 0 means no limit.
        number.map(|number| Some(number).filter(|number| *number > 0))
    };
    let (bytes, repositories, tags) =
        (quota("namespace_bytes"), quota("namespace_repositories"), quota("namespace_tags"));
    let connections = count(reader, &section, "connections", 100_000);
    let connections_per_address = count(reader, &section, "connections_per_address", 100_000);
    let upload_expiry = seconds(reader, &section, "upload_expiry_seconds", 60, 2_592_000);
    let sessions = reader.read(&section, "upload_sessions_per_user", parse::whole_number(1..=1_000_000));
    let failures = count(reader, &section, "login_failures", 1000);
    let failures_per_address = count(reader, &section, "login_failures_per_address", 100_000);
    let trusted_proxies = reader.read(&section, "trusted_proxies", parse::address_ranges);
    Some(Limits {
        namespaces_per_account: namespaces?,
        quotas: Quotas { bytes: bytes?, repositories: repositories?, tags: tags? },
        connections: connections?,
        connections_per_address: connections_per_address?,
        upload_expiry: upload_expiry?,
        upload_sessions_per_user: sessions?,
        logins: LoginLimits { failures: failures?, failures_per_address: failures_per_address? },
        trusted_proxies: TrustedProxies::new(trusted_proxies?),
    })
}

/// A day: a backup may take a night, and a push that was told that a blob is there may take as long as an upload session.
const COLLECTION_GRACE: Duration = Duration::from_hours(24);

fn read_collection(reader: &mut Reader, limits: Option<&Limits>) -> Option<Collection> {
    let section = reader.section("collection");
    reader.refuse_unknown(&section);
    let interval = seconds(reader, &section, "interval_seconds", 1, 86_400);
    let unlink_grace = match reader.value(&section, "unlink_grace_seconds") {
        None => Some(COLLECTION_GRACE.max(limits?.upload_expiry)),
        Some((label, value)) => {
            let given = seconds(reader, &section, "unlink_grace_seconds", 0, 31_536_000);
            let least = limits.map_or(Duration::ZERO, |limits| limits.upload_expiry);
            if given.is_some_and(|given| given > Duration::ZERO && given < least) {
                let expected = format!("0, or at least limits.upload_expiry_seconds, which is {}", least.as_secs());
                reader.problem(Problem::bad(label, &value, expected));
            }
            given
        }
    };
    let sweep_grace = seconds(reader, &section, "sweep_grace_seconds", 0, 31_536_000);
    let pause = reader.read(&section, "pause_milliseconds", parse::whole_number(0..=60_000));
    Some(Collection {
        interval: interval?,
        unlink_grace: unlink_grace?,
        sweep_grace: sweep_grace?,
        pause: Duration::from_millis(pause?.unsigned_abs()),
    })
}

fn read_scrub(reader: &mut Reader) -> Option<ScrubSettings> {
    let section = reader.section("scrub");
    reader.refuse_unknown(&section);
    let bytes_per_second = reader.read(&section, "bytes_per_second", parse::whole_number(0..=1 << 40));
    let interval = seconds(reader, &section, "interval_seconds", 1, 31_536_000);
    let repair_interval = seconds(reader, &section, "repair_interval_seconds", 1, 604_800);
    Some(ScrubSettings {
        bytes_per_second: bytes_per_second?.unsigned_abs(),
        interval: interval?,
        repair_interval: repair_interval?,
    })
}

fn read_tokens(reader: &mut Reader) -> Option<Tokens> {
    let section = reader.section("tokens");
    reader.refuse_unknown(&section);
    let registry = seconds(reader, &section, "registry_seconds", 60, 3600);
    let refresh = seconds(reader, &section, "refresh_seconds", 60, 31_536_000);
    let iam = seconds(reader, &section, "iam_seconds", 60, 604_800);
    let login = seconds(reader, &section, "login_seconds", 60, 2_592_000);
    let logins = reader.read(&section, "logins_per_user", parse::whole_number(1..=100_000));
    Some(Tokens {
        registry_seconds: registry?.as_secs(),
        refresh_seconds: refresh?.as_secs(),
        iam_seconds: iam?.as_secs(),
        login_seconds: login?.as_secs(),
        logins_per_user: logins?,
    })
}

fn read_bootstrap(reader: &mut Reader) -> Option<BootstrapConfig> {
    let section = reader.optional_section("bootstrap")?;
    reader.refuse_unknown(&section);
    let account = reader.read(&section, "account", parse::name);
    let user = reader.read(&section, "user", parse::name);
    let password = reader.secret(&section, "password");
    let has_key = reader.value(&section, "access_key").is_some();
    let has_secret = reader.value(&section, "secret_key").is_some();
    if has_key != has_secret {
        let (there, missing) = if has_key { ("access_key", "secret_key") } else { ("secret_key", "access_key") };
        let found = format!("is set without bootstrap.{missing}");
        reader.problem(Problem::new(format!("bootstrap.{there}"), found, "both or neither"));
    }
    let access_key = reader.read(&section, "access_key", parse::access_key);
    let secret_key = reader.secret(&section, "secret_key");
    Some(BootstrapConfig {
        account: account?,
        user: user?,
        password: password?,
        access_key: access_key.zip(secret_key),
    })
}

fn read_peers(reader: &mut Reader, own: Option<&RegionId>) -> Vec<PeerConfig> {
    let mut peers: Vec<PeerConfig> = Vec::new();
    for (index, section) in reader.sections("peer").into_iter().enumerate() {
        if reader.read(&section, "kind", parse::peer_kind).is_none() {
            // The other keys belong to an unknown kind.
            continue;
        }
        reader.refuse_unknown(&section);
        let Some(peer) = read_peer(reader, &section) else { continue };
        let label = format!("peer[{index}].id");
        if own == Some(&peer.id) {
            reader.problem(Problem::new(
                label,
                format!("is {:?}, the id of this region", peer.id.as_str()),
                "another region",
            ));
        } else if peers.iter().any(|known| known.id == peer.id) {
            let found = format!("is {:?}, which another peer has", peer.id.as_str());
            reader.problem(Problem::new(label, found, "one [[peer]] for each region"));
        } else {
            let has_key = |known: &&PeerConfig| peer.public_keys.iter().any(|key| known.public_keys.contains(key));
            if let Some(known) = peers.iter().find(has_key) {
                let found = format!("names a key that is pinned for {:?} too", known.id.as_str());
                let expected = "the key that `transship region-key` prints in that region; each region has its own";
                reader.problem(Problem::new(format!("peer[{index}].public_key"), found, expected));
            }
        }
        peers.push(peer);
    }
    peers
}

fn read_peer(reader: &mut Reader, section: &Section) -> Option<PeerConfig> {
    let id = reader.read(section, "id", parse::region_id);
    let url = reader.read(section, "url", parse::url);
    let public_keys = reader.read(section, "public_key", parse::public_keys);
    let repair = reader.read(section, "repair", parse::boolean);
    let accept = reader.read(section, "accept", parse::boolean);
    let accounts = reader.read(section, "accounts", parse::name_patterns);
    let namespaces = reader.read(section, "namespaces", parse::name_patterns);
    let administrators = reader.read(section, "administrators", parse::boolean);
    let ca = reader.value(section, "ca").map(|(label, _)| (label, reader.path(section, "ca")));
    let ca_pem = match ca {
        None => None,
        Some((label, path)) => read_ca(reader, label, &path?),
    };
    Some(PeerConfig {
        id: id?,
        url: url?,
        public_keys: public_keys?,
        ca_pem,
        repair: repair?,
        accept: accept?,
        accounts: accounts?,
        namespaces: namespaces?,
        administrators: administrators?,
    })
}

fn read_ca(reader: &mut Reader, label: String, path: &Path) -> Option<Vec<u8>> {
    match tls::certificate_authority(path) {
        Ok(pem) => Some(pem),
        Err(found) => {
            reader.problem(Problem::new(label, found, "a PEM file with at least one certificate"));
            None
        }
    }
}

fn read_log(reader: &mut Reader) -> Option<Log> {
    let section = reader.section("log");
    reader.refuse_unknown(&section);
    let level = reader.read(&section, "level", parse::log_level);
    let format = reader.read(&section, "format", parse::log_format);
    Some(Log { level: level?, format: format? })
}

fn seconds(reader: &mut Reader, section: &Section, name: &'static str, least: i64, most: i64) -> Option<Duration> {
    let number = reader.read(section, name, parse::whole_number(least..=most))?;
    Some(Duration::from_secs(u64::try_from(number).expect("the range begins at 0 or above")))
}

fn count(reader: &mut Reader, section: &Section, name: &'static str, most: i64) -> Option<usize> {
    let number = reader.read(section, name, parse::whole_number(1..=most))?;
    Some(usize::try_from(number).expect("the range begins at 1 and ends far below the largest usize"))
}
