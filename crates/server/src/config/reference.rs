//! Every key of the configuration file: the one table behind parsing, defaults and `docs/configuration.md`.
//!
//! Owns: names, defaults and meanings. Never: how a value is checked.

use std::fmt::Write as _;

/// What holds when a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// The key must be there (in a section that is optional: when the section is).
    Required,
    /// This value, as TOML.
    Value(&'static str),
    /// Nothing, or something that follows from other keys; in words.
    Words(&'static str),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The section.
    pub section: &'static str,
    /// The key in its section.
    pub name: &'static str,
    /// What kind of value it takes, in words.
    pub kind: &'static str,
    /// What holds when it is left out.
    pub default: Default,
    /// What it does.
    pub meaning: &'static str,
}

/// A section and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name in TOML.
    pub name: &'static str,
    /// Whether it may be there many times: `[[name]]`.
    pub repeated: bool,
    /// What it is for.
    pub meaning: &'static str,
}

/// Every section, in the order of the document.
pub const SECTIONS: &[Section] = &[
    Section { name: "region", repeated: false, meaning: "Who this region is and where it is reached. Mandatory." },
    Section {
        name: "tls",
        repeated: false,
        meaning: "Needed by `region.listen_tls`; without it TLS is left to a proxy.",
    },
    Section { name: "catalog", repeated: false, meaning: "Where the facts are kept." },
    Section { name: "replication", repeated: false, meaning: "How images get to other regions." },
    Section { name: "registry", repeated: false, meaning: "What the registry protocol takes." },
    Section { name: "access", repeated: false, meaning: "What is allowed without a login." },
    Section { name: "limits", repeated: false, meaning: "What one account, or the whole process, may use." },
    Section {
        name: "collection",
        repeated: false,
        meaning: "How what nothing needs any more goes away, while pushes and pulls run. It cannot be switched off. docs/operations.md explains it.",
    },
    Section {
        name: "scrub",
        repeated: false,
        meaning: "Reading every blob again, so that bytes that rot are found, taken out of service and replaced.",
    },
    Section { name: "tokens", repeated: false, meaning: "How long tokens and temporary logins live." },
    Section {
        name: "bootstrap",
        repeated: false,
        meaning: "The first account. Applied once, while the catalog has no account; later changes here do nothing: use `transship admin`.",
    },
    Section {
        name: "peer",
        repeated: true,
        meaning: "Another region, one `[[peer]]` for each. A region that is not here cannot be a target, and cannot push.",
    },
    Section { name: "log", repeated: false, meaning: "The log, on standard error." },
];

const fn key(
    section: &'static str,
    name: &'static str,
    kind: &'static str,
    default: Default,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, default, meaning }
}

use self::Default::{Required, Value, Words};

/// Every key, in the order of the document.
pub const KEYS: &[Key] = &[
    key(
        "region",
        "id",
        "region id",
        Required,
        "The id of this region: lower-case letters, digits and single hyphens, at most 64 characters. It is the project name of every login, and what other regions call it.",
    ),
    key(
        "region",
        "listen",
        "address",
        Value(r#""127.0.0.1:8080""#),
        "IP address and port for plain HTTP: registry, management and IAM.",
    ),
    key(
        "region",
        "listen_tls",
        "address",
        Words("no TLS"),
        "IP address and port for the same routes over TLS. Needs `[tls]`.",
    ),
    key(
        "region",
        "public_url",
        "URL",
        Words("`http://` and `region.listen`"),
        "Where clients reach this region: scheme, host and port, no path. It stands in pull paths, challenges and login commands, and is never taken from a request.",
    ),
    key(
        "region",
        "data_dir",
        "path",
        Value(r#""transship-data""#),
        "Keys of the region and, unless configured otherwise, catalog and blobs. Made with mode 0700 when absent; refused when other users of the machine can look into it.",
    ),
    key(
        "region",
        "allow_shared_data_dir",
        "true or false",
        Value("false"),
        "Take a `data_dir` that other users of the machine can look into, for example where a group owns it. The key files must be for their owner alone in any case.",
    ),
    key("tls", "certificate", "path", Required, "Certificate chain in PEM, the server's own first."),
    key("tls", "private_key", "path", Required, "Its private key in PEM."),
    key(
        "catalog",
        "url",
        "string or secret",
        Words("SQLite in `region.data_dir`"),
        "`postgres://user:password@host/database`. A URL with a password is better given as a secret.",
    ),
    key(
        "replication",
        "sync_wait_seconds",
        "0 to 110",
        Value("60"),
        "How long `sync_images` waits for its jobs before it answers; they go on behind it. 0 answers at once, with `[]`.",
    ),
    key(
        "replication",
        "sync_images_response",
        "`failed` or `succeeded`",
        Value(r#""failed""#),
        "Which tags the answer of `sync_images` lists: those that are not in the target when it answers, or those that are.",
    ),
    key(
        "replication",
        "sync_max_tags",
        "1 to 100000",
        Value("1000"),
        "Most distinct tags in one call of `sync_images`.",
    ),
    key(
        "replication",
        "max_attempts",
        "1 to 1000",
        Value("100"),
        "Most failures of one job before it is given up. A target that cannot be reached or is too busy is no failure.",
    ),
    key(
        "replication",
        "job_timeout_seconds",
        "1 to 604800",
        Value("21600"),
        "Longest time that one job may take itself: running, and in the pauses after its tries. Waiting while other jobs have the slots is not counted, unless the target was away at the last try.",
    ),
    key("replication", "slots_per_region", "1 to 256", Value("4"), "Jobs that run at once for each target region."),
    key(
        "replication",
        "blobs_in_parallel",
        "1 to 64",
        Value("3"),
        "Blobs that one job sends at once. Memory grows with it and with `slots_per_region`.",
    ),
    key(
        "replication",
        "max_open_jobs_per_account",
        "1 to 1000000",
        Value("10000"),
        "Most jobs of one account that wait or run; `sync_images` is answered with 429 above it.",
    ),
    key(
        "replication",
        "copy_referrers",
        "true or false",
        Value("true"),
        "Whether signatures, SBOMs and whatever else refers to an image go with it.",
    ),
    key("replication", "job_retention_days", "1 to 3650", Value("90"), "How long finished jobs stay in `sync_job`."),
    key(
        "registry",
        "sparse_indexes",
        "true or false",
        Value("false"),
        "Whether a manifest may name what its repository does not have: an index of which only some platforms are here, or an image whose layers come later or never. Pulls of what is not there end with 404, and replication of such an image fails.",
    ),
    key(
        "access",
        "anonymous",
        "`none` or `pull-public`",
        Value(r#""pull-public""#),
        "What somebody without a login may do: nothing, or pull from public repositories.",
    ),
    key(
        "access",
        "open",
        "true or false",
        Value("false"),
        "For a laptop or a CI job: everybody may push, pull and delete at the registry without a login, as the administrator of the first account, and pushing makes the organization too. Refused unless `listen` and `listen_tls` are loopback addresses; requests must come under a loopback name (`localhost`, `127.0.0.1`). The management API asks for credentials as always.",
    ),
    key(
        "limits",
        "namespaces_per_account",
        "1 to 1000000",
        Value("5"),
        "Organizations that one account may have in this region.",
    ),
    key(
        "limits",
        "namespace_bytes",
        "0 to 2^60",
        Value("0"),
        "Bytes that one organization may have, each content once: blobs, manifests and what open uploads have brought so far; 0 is no limit. `transship admin quota` says something else for one.",
    ),
    key(
        "limits",
        "namespace_repositories",
        "0 to 2^60",
        Value("0"),
        "Repositories that one organization may have; 0 is no limit.",
    ),
    key("limits", "namespace_tags", "0 to 2^60", Value("0"), "Tags that one organization may have; 0 is no limit."),
    key(
        "limits",
        "connections",
        "1 to 100000",
        Value("4096"),
        "Connections at once, over both listeners. A new one ends the one that is idle for longest; while all are at work it waits to be accepted. Lowered at start when the process may not open as many files.",
    ),
    key(
        "limits",
        "connections_per_address",
        "1 to 100000",
        Value("1024"),
        "Connections at once of one address (IPv6: of one /64). A new one ends the one that is idle for longest; while all are at work it is refused.",
    ),
    key(
        "limits",
        "upload_expiry_seconds",
        "60 to 2592000",
        Value("86400"),
        "Life of an upload session after its last byte.",
    ),
    key("collection", "interval_seconds", "1 to 86400", Value("3600"), "Pause between two rounds."),
    key(
        "collection",
        "unlink_grace_seconds",
        "0, or from `limits.upload_expiry_seconds` to 31536000",
        Words("`86400`, or `limits.upload_expiry_seconds` when that is longer"),
        "How long a repository keeps a blob that none of its manifests names: counted from its push, its mount, or the deletion of the last manifest that named it. A push that takes longer fails with `MANIFEST_BLOB_UNKNOWN` and must be repeated; with 0, which is for tests, any push may.",
    ),
    key(
        "collection",
        "sweep_grace_seconds",
        "0 to 31536000",
        Value("86400"),
        "How long bytes stay on the disk after nothing names them. A backup is whole when it takes no longer than this; a pull that goes on for longer is not cut.",
    ),
    key(
        "collection",
        "pause_milliseconds",
        "0 to 60000",
        Value("50"),
        "Pause after each 500 rows or files of a round. More makes rounds longer and lighter.",
    ),
    key(
        "limits",
        "upload_sessions_per_user",
        "1 to 1000000",
        Value("1000"),
        "Upload sessions that one user may have open; more are answered with 429.",
    ),
    key(
        "limits",
        "login_failures",
        "1 to 1000",
        Value("10"),
        "Failed logins of one name from one address before further ones are held back, for a time that doubles from 1 s to 15 minutes (429 with `Retry-After`). A good login sets it to zero.",
    ),
    key(
        "limits",
        "login_failures_per_address",
        "1 to 100000",
        Value("100"),
        "Failed logins of any name from one address before it is held back; one is forgiven every 6 seconds. Names that logged in from there before are let through.",
    ),
    key(
        "limits",
        "trusted_proxies",
        "list of addresses",
        Value("[]"),
        "Proxies in front, such as `[\"10.0.0.0/8\"]`: their `X-Forwarded-For` names the client, for the log and for logins, and their connections are not limited by address. Nobody else is believed.",
    ),
    key(
        "scrub",
        "bytes_per_second",
        "0 to 2^40",
        Value("10485760"),
        "How fast blobs are read again; 0 is never. A round of 1 TB takes a little more than a day at the default.",
    ),
    key(
        "scrub",
        "interval_seconds",
        "1 to 31536000",
        Value("604800"),
        "From the beginning of one round to that of the next; a round that takes longer is followed at once.",
    ),
    key(
        "scrub",
        "repair_interval_seconds",
        "1 to 604800",
        Value("300"),
        "How long to wait before peers are asked again for a blob that none could give.",
    ),
    key(
        "tokens",
        "registry_seconds",
        "60 to 3600",
        Value("300"),
        "Life of a registry token. It cannot be withdrawn, so keep it short.",
    ),
    key(
        "tokens",
        "refresh_seconds",
        "60 to 31536000",
        Value("31536000"),
        "Longest life of a refresh token, which clients such as docker keep instead of a password. It is withdrawn when its user is disabled or changes its password, and when the access key that it was given for is disabled or gets another secret key.",
    ),
    key(
        "tokens",
        "iam_seconds",
        "60 to 604800",
        Value("86400"),
        "Life of an IAM token. It is withdrawn when its user is disabled or changes its password.",
    ),
    key(
        "tokens",
        "login_seconds",
        "60 to 2592000",
        Value("86400"),
        "Life of a temporary login (CreateSecret) unless the caller names one. It ends earlier when its user is disabled or changes its password, and when the access key it was made with is disabled or gets another secret key.",
    ),
    key(
        "tokens",
        "logins_per_user",
        "1 to 100000",
        Value("1000"),
        "Temporary logins that one user has at once; a further one ends the oldest.",
    ),
    key("bootstrap", "account", "name", Required, "Name of the account."),
    key("bootstrap", "user", "name", Required, "Name of its administrator."),
    key("bootstrap", "password", "secret", Required, "The administrator's password."),
    key(
        "bootstrap",
        "access_key",
        "string",
        Words("no access key"),
        "An access key for the administrator; needs `secret_key`.",
    ),
    key("bootstrap", "secret_key", "secret", Words("no access key"), "The secret key that belongs to `access_key`."),
    key("peer", "id", "region id", Required, "The id of the other region: what callers give as `remoteRegionId`."),
    key("peer", "kind", "`transship`", Value(r#""transship""#), "What runs there."),
    key("peer", "url", "URL", Required, "Where this region reaches it: scheme, host and port, no path."),
    key(
        "peer",
        "public_key",
        "base64 of 32 bytes, or a list of such",
        Required,
        "What `transship region-key` prints there. The other region is trusted by this key alone; a list has its old and its new key while they change.",
    ),
    key(
        "peer",
        "accept",
        "true or false",
        Value("true"),
        "Whether this peer may write here. With `false` this region sends images there and takes none from there.",
    ),
    key(
        "peer",
        "accounts",
        "list of patterns",
        Value(r#"["*"]"#),
        "The accounts that this peer may write for here and get lost blobs of: patterns such as `[\"team-*\"]` (`*`, `?`, `[a-z]`, `{a,b}`).",
    ),
    key(
        "peer",
        "namespaces",
        "list of patterns",
        Value(r#"["*"]"#),
        "The organizations here that this peer may write into and get lost blobs of. With fewer than all, layers are not linked out of the others either.",
    ),
    key(
        "peer",
        "administrators",
        "true or false",
        Value("false"),
        "Whether this peer may act for administrators here. An administrator may write every organization of the account, so leave it `false` where ordinary users replicate.",
    ),
    key(
        "peer",
        "repair",
        "true or false",
        Value("true"),
        "Whether this peer is asked for blobs that were lost here, and given those that were lost there, as far as accounts of the same name link them on both sides.",
    ),
    key(
        "peer",
        "ca",
        "path",
        Words("only the built-in authorities"),
        "A certificate authority in PEM, trusted for this peer beside the built-in ones.",
    ),
    key(
        "log",
        "level",
        "filter",
        Value(r#""info""#),
        "`error`, `warn`, `info`, `debug` or `trace`; by module as in `info,transship_registry=debug`.",
    ),
    key("log", "format", "`json` or `text`", Value(r#""json""#), "One JSON object a line, or lines for people."),
];

/// Looks a key up.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The names of a section's keys.
pub fn names(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(move |key| key.section == section).map(|key| key.name)
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Made by `transship config-reference` from crates/server/src/config/reference.rs; a test compares the two. -->

`transship serve --config FILE` reads one TOML file. Unknown keys, bad values and secrets that cannot be read are all
named, with what was expected, and the process ends with exit code 2; `transship check-config --config FILE` does only
that. SIGHUP makes a running process read the file again; docs/operations.md says what it takes over. Without a file one
region named `local` runs on 127.0.0.1:8080 with `./transship-data`, and the credentials of its first user are written
once to `transship-data/initial-credentials`.

A secret is never written into the file itself: `{ file = \"path\" }` reads a file, `{ env = \"NAME\" }` an environment
variable; a newline at the end does not count. Relative paths start at the directory of the configuration file.

```toml
[region]
id = \"cn-north-4\"
listen = \"127.0.0.1:8080\"
public_url = \"http://127.0.0.1:8080\"
data_dir = \"/var/lib/transship\"

[bootstrap]
account = \"demo\"
user = \"admin\"
password = { file = \"/run/secrets/admin-password\" }

[[peer]]
id = \"cn-north-208\"
url = \"http://127.0.0.1:8081\"
public_key = \"what `transship region-key` prints there\"
```
";

/// The whole of `docs/configuration.md`.
pub fn document() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in SECTIONS {
        let heading = if section.repeated { format!("[[{}]]", section.name) } else { format!("[{}]", section.name) };
        let _ = write!(text, "\n## `{heading}`\n\n{}\n\n", section.meaning);
        text.push_str("| key | value | when left out | meaning |\n| --- | --- | --- | --- |\n");
        for key in KEYS.iter().filter(|key| key.section == section.name) {
            let default = match key.default {
                Required => "mandatory".to_owned(),
                Value(value) => format!("`{value}`"),
                Words(words) => words.to_owned(),
            };
            let _ = writeln!(text, "| `{}` | {} | {default} | {} |", key.name, key.kind, key.meaning);
        }
    }
    text
}
