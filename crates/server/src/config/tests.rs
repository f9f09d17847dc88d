use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Config, ConfigError, LogFormat, SyncImagesResponse, load, reference, without_file};

/// A directory with a configuration file in it.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new(config: &str) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.write("transship.toml", config);
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(&self) -> Result<Config, ConfigError> {
        load(&self.path("transship.toml"))
    }
}

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn a_full_file_is_taken_as_it_is_written() {
    let files = Files::new(&format!(
        r#"
        [region]
        id = "cn-north-4"
        listen = "127.0.0.1:18080"
        public_url = "https://registry.example:443/"
        data_dir = "data"
        [catalog]
        url = {{ file = "catalog-url" }}
        [replication]
        sync_wait_seconds = 0
        sync_images_response = "succeeded"
        sync_max_tags = 7
        copy_referrers = false
        [limits]
        upload_expiry_seconds = 90000
        [collection]
        interval_seconds = 1
        sweep_grace_seconds = 0
        pause_milliseconds = 7
        [bootstrap]
        account = "demo"
        user = "admin"
        password = {{ file = "password" }}
        access_key = "EXAMPLEACCESSKEY0001"
        secret_key = {{ file = "secret" }}
        [[peer]]
        id = "cn-north-208"
        kind = "transship"
        url = "http://127.0.0.1:8081"
        public_key = "{KEY}"
        [log]
        level = "info,transship_registry=debug"
        format = "text"
        "#
    ));
    files.write("catalog-url", "postgres://u:p@localhost/db\n");
    files.write("password", "two words \r\n");
    files.write("secret", "s3cret\n\n");
    let config = files.load().unwrap();
    assert_eq!(config.region.as_str(), "cn-north-4");
    assert_eq!(config.public_url.as_deref(), Some("https://registry.example:443"));
    assert_eq!(config.data_dir, files.path("data"));
    assert_eq!(config.catalog_url(), "postgres://u:p@localhost/db");
    assert!(!config.catalog_is_embedded());
    assert_eq!(config.replication.sync_wait.as_secs(), 0);
    assert_eq!(config.replication.sync_images_response, SyncImagesResponse::Succeeded);
    assert_eq!(config.replication.sync_max_tags, 7);
    assert!(!config.replication.copy_referrers);
    let collection = &config.settings(config.listen).collection;
    assert_eq!((collection.interval.as_secs(), collection.sweep_grace.as_secs()), (1, 0));
    assert_eq!(collection.pause.as_millis(), 7);
    assert_eq!(collection.unlink_grace.as_secs(), 90_000, "as long as an upload session may live");
    let bootstrap = config.bootstrap.as_ref().unwrap();
    // One newline at the end is removed, nothing else.
    assert_eq!(bootstrap.password.expose(), "two words ");
    assert_eq!(bootstrap.access_key.as_ref().unwrap().1.expose(), "s3cret\n");
    assert_eq!(config.peers.len(), 1);
    assert_eq!(config.log.format, LogFormat::Text);
    let settings = config.settings(config.listen);
    assert_eq!(settings.registry_host, "registry.example:443");
    let peer = &settings.peers[0];
    assert_eq!((peer.id.as_str(), peer.public_keys.as_slice()), ("cn-north-208", &[KEY.to_owned()][..]));
    assert!(peer.accept && peer.repair && !peer.administrators);
    assert!(peer.accounts.is_everything() && peer.namespaces.is_everything());
    assert!(!format!("{config:?}").contains("two words"));
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let files = Files::new("region.id = \"a\"");
    for config in [files.load().unwrap(), without_file()] {
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.public_url(config.listen), "http://127.0.0.1:8080");
        assert!(config.catalog_is_embedded() && config.listen_tls.is_none() && config.bootstrap.is_none());
        assert_eq!(config.replication.sync_wait.as_secs(), 60);
        assert_eq!(config.replication.sync_images_response, SyncImagesResponse::Failed);
        assert_eq!(config.replication.sync_max_tags, 1000);
        assert_eq!(config.limits.namespaces_per_account, 5);
        assert_eq!(config.tokens.registry_seconds, 300);
        assert_eq!(config.collection.unlink_grace.as_secs(), 86_400);
        assert_eq!(config.collection.sweep_grace.as_secs(), 86_400);
        assert_eq!(config.log.format, LogFormat::Json);
    }
    assert_eq!(without_file().region.as_str(), "local");
    assert_eq!(without_file().data_dir, Path::new("./transship-data"));
}

#[test]
fn the_url_of_an_embedded_catalog_survives_odd_directories() {
    let mut config = without_file();
    config.data_dir = PathBuf::from("/tmp/100% sure?");
    assert_eq!(config.catalog_url(), "sqlite:///tmp/100%25 sure%3F/catalog.db?mode=rwc");
}

/// Each bad file with what the one line about it must contain.
#[test]
fn each_kind_of_mistake_is_named_with_key_value_and_expectation() {
    let region = "[region]\nid = \"a\"\n";
    let peer = |rest: &str| format!("{region}[[peer]]\nid = \"b\"\nurl = \"http://b\"\npublic_key = \"{KEY}\"\n{rest}");
    let bootstrap = |rest: &str| format!("{region}[bootstrap]\naccount = \"a\"\nuser = \"u\"\n{rest}");
    let replication = |rest: &str| format!("{region}[replication]\n{rest}");
    let cases: &[(String, &[&str])] = &[
        ("[region]\nlisten = \"127.0.0.1:1\"".to_owned(), &["region.id is missing", "region id"]),
        ("[region]\nid = \"Aa\"".to_owned(), &["region.id is \"Aa\"", "a-z, 0-9"]),
        ("[region]\nid = 5".to_owned(), &["region.id is 5"]),
        (format!("{region}listen = \"localhost\""), &["region.listen is \"localhost\"", "IP address and port"]),
        (format!("{region}listen_tls = \"127.0.0.1:1\""), &["region.listen_tls", "without [tls]"]),
        (
            format!("{region}public_url = \"example.com\""),
            &["region.public_url is \"example.com\"", "http:// or https://"],
        ),
        (format!("{region}public_url = \"http://u@h\""), &["region.public_url"]),
        (format!("{region}public_url = \"http://h/path\""), &["region.public_url", "no path"]),
        (format!("{region}public_url = \"http://h?q\""), &["region.public_url"]),
        (format!("{region}public_url = \"ftp://h\""), &["region.public_url"]),
        (format!("{region}data_dir = \"\""), &["region.data_dir is \"\"", "a path"]),
        (format!("{region}lisen = \"x\""), &["region.lisen is not a known key", "listen, listen_tls"]),
        (format!("{region}[replicaton]"), &["replicaton is not a known section", "replication"]),
        (
            format!("{region}[tls]\ncertificate = \"no.pem\"\nprivate_key = \"no.key\""),
            &["tls.certificate names", "no.pem, which cannot be read"],
        ),
        (format!("{region}[tls]\ncertificate = \"c\""), &["tls.private_key is missing"]),
        (format!("{region}[catalog]\nurl = \"mysql://root:hunter2@h\""), &["catalog.url is not a URL of PostgreSQL"]),
        (
            format!("{region}[catalog]\nurl = {{ file = \"gone\" }}"),
            &["catalog.url names", "gone, which cannot be read"],
        ),
        (replication("sync_wait_seconds = 111"), &["replication.sync_wait_seconds is 111", "0 to 110"]),
        (replication("sync_wait_seconds = \"60\""), &["replication.sync_wait_seconds is \"60\"", "whole number"]),
        (replication("sync_wait_seconds = -1"), &["replication.sync_wait_seconds is -1"]),
        (
            replication("sync_images_response = \"both\""),
            &["replication.sync_images_response is \"both\"", "\"failed\" or \"succeeded\""],
        ),
        (replication("sync_max_tags = 0"), &["replication.sync_max_tags is 0", "1 to"]),
        (replication("copy_referrers = 1"), &["replication.copy_referrers is 1", "true or false"]),
        (format!("{region}[collection]\ninterval_seconds = 0"), &["collection.interval_seconds is 0", "1 to 86400"]),
        (
            format!("{region}[collection]\nunlink_grace_seconds = 86399"),
            &[
                "collection.unlink_grace_seconds is 86399",
                "0, or at least limits.upload_expiry_seconds, which is 86400",
            ],
        ),
        (bootstrap(""), &["bootstrap.password is missing"]),
        (bootstrap("password = \"hunter2\""), &["bootstrap.password is not a reference to a secret", "{ file = "]),
        (bootstrap("password = { file = \"gone\" }"), &["bootstrap.password names", "gone, which cannot be read"]),
        (bootstrap("password = { file = \".\" }"), &["bootstrap.password names", "directory"]),
        (
            bootstrap("password = { env = \"TRANSSHIP_NOT_SET\" }"),
            &["bootstrap.password names the environment variable TRANSSHIP_NOT_SET", "not set"],
        ),
        (bootstrap("password = { file = \"a\", env = \"b\" }"), &["bootstrap.password has not exactly one"]),
        (bootstrap("password = { value = \"hunter2\" }"), &["bootstrap.password is neither a file nor"]),
        (bootstrap("password = { file = \"empty\" }"), &["bootstrap.password is empty"]),
        (
            bootstrap("password = { file = \"ok\" }\naccess_key = \"A\""),
            &["bootstrap.access_key is set without bootstrap.secret_key"],
        ),
        (
            bootstrap("password = { file = \"ok\" }\nsecret_key = { file = \"ok\" }"),
            &["bootstrap.secret_key is set without bootstrap.access_key"],
        ),
        (
            format!("{region}[bootstrap]\naccount = \"a/b\"\nuser = \"u\"\npassword = {{ file = \"ok\" }}"),
            &["bootstrap.account is \"a/b\""],
        ),
        (peer("kind = \"oci\"\nnamespaces = {}"), &["peer[0].kind is \"oci\"", "cannot push to them yet"]),
        (peer("kind = \"s3\""), &["peer[0].kind is \"s3\""]),
        (peer("ca = \"gone.pem\""), &["peer[0].ca names", "gone.pem, which cannot be read"]),
        (peer("ca = \"ok\""), &["peer[0].ca names", "at least one certificate"]),
        (peer("").replace(KEY, "AAAA"), &["peer[0].public_key is \"AAAA\"", "transship region-key"]),
        (peer("").replace("id = \"b\"", "id = \"a\""), &["peer[0].id is \"a\", the id of this region"]),
        (
            peer(&format!("[[peer]]\nid = \"b\"\nurl = \"http://b\"\npublic_key = \"{KEY}\"")),
            &["peer[1].id is \"b\", which another peer has"],
        ),
        (format!("{region}[peer]\nid = \"b\""), &["peer is not a list of tables", "[[peer]]"]),
        (format!("{region}[log]\nlevel = \"loud\""), &["log.level is \"loud\""]),
        (format!("{region}[log]\nformat = \"xml\""), &["log.format is \"xml\""]),
        ("[region\nid = 1".to_owned(), &["line 1", "valid TOML"]),
        ("[region]\nid = \"a\"\nid = \"b\"".to_owned(), &["line 3"]),
    ];
    for (config, expected) in cases {
        let files = Files::new(config);
        files.write("ok", "secret");
        files.write("empty", "\n");
        let error = files.load().expect_err(config);
        let text = error.to_string();
        assert_eq!(error.problems.len(), 1, "{config}\n{text}");
        assert!(text.starts_with(&*files.path("transship.toml").to_string_lossy()), "{text}");
        for part in *expected {
            assert!(text.contains(part), "{config}\n{text}\nlacks {part}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn mistakes_of_what_a_peer_may_do_are_named() {
    let peer = |rest: &str| {
        format!("region.id = \"a\"\n[[peer]]\nid = \"b\"\nurl = \"http://b\"\npublic_key = \"{KEY}\"\n{rest}")
    };
    let cases: &[(String, &[&str])] = &[
        (
            peer(&format!("[[peer]]\nid = \"c\"\nurl = \"http://c\"\npublic_key = [\"{KEY}\"]")),
            &["peer[1].public_key names a key that is pinned for \"b\" too", "each region has its own"],
        ),
        (peer("").replace(&format!("\"{KEY}\""), "[]"), &["peer[0].public_key is", "a list of 1 to 4"]),
        (peer("accounts = []"), &["peer[0].accounts", "0 patterns"]),
        (peer("namespaces = [\"team-[\"]"), &["peer[0].namespaces", "pattern \"team-[\""]),
        (peer("administrators = \"yes\""), &["peer[0].administrators", "true or false"]),
    ];
    for (config, expected) in cases {
        let text = Files::new(config).load().expect_err(config).to_string();
        for part in *expected {
            assert!(text.contains(part), "{config}\n{text}\nlacks {part}");
        }
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let files = Files::new(
        "[region]\nid = \"A\"\nlisten = 1\nx = 1\n[replication]\nsync_wait_seconds = 500\n[nope]\n[[peer]]\n",
    );
    let error = files.load().unwrap_err();
    let keys: BTreeSet<&str> = error.problems.iter().map(|problem| problem.key.as_str()).collect();
    let expected = [
        "nope",
        "peer[0].id",
        "peer[0].public_key",
        "peer[0].url",
        "region.id",
        "region.listen",
        "region.x",
        "replication.sync_wait_seconds",
    ];
    assert_eq!(keys, BTreeSet::from(expected), "{error}");
    assert_eq!(error.to_string().lines().count(), expected.len());
}

#[test]
fn a_file_that_is_not_there_is_an_error_of_configuration() {
    let error = load(Path::new("/nowhere/transship.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/transship.toml: cannot be read"), "{error}");
}

/// The file is checked with the addresses in it; a running process keeps those that it began with.
#[test]
fn a_process_that_others_reach_is_not_opened_by_a_new_file() {
    let file = |listen: &str, more: &str| {
        let files = Files::new(&format!("[region]\nid = \"a\"\nlisten = \"{listen}\"\n{more}"));
        files.load().unwrap()
    };
    let open = "[access]\nopen = true\nanonymous = \"none\"\n";
    let here = file("127.0.0.1:8080", open);
    let mut by_tls = file("127.0.0.1:8080", "");
    by_tls.listen_tls = Some("[::]:8443".parse().unwrap());
    for running in [file("0.0.0.0:8080", ""), file("[::ffff:192.0.2.1]:8080", ""), by_tls] {
        let change = running.change_to(here.clone());
        assert_eq!(change.config.access, running.access, "{}", running.listen);
        assert!(change.needs_restart.contains(&"access"), "{:?}", change.needs_restart);
        assert!(change.taken_over.is_empty(), "{:?}", change.taken_over);
    }
    for running in [file("127.0.0.2:8080", ""), file("[::ffff:127.0.0.1]:8080", ""), file("[::1]:8080", "")] {
        let change = running.change_to(here.clone());
        assert_eq!((change.config.access, change.taken_over), (here.access, vec!["access".to_owned()]));
        assert!(!change.needs_restart.contains(&"access"), "{:?}", change.needs_restart);
        assert!(!change.config.change_to(running.clone()).config.access.open, "and shut again");
    }
    // Settings that do not depend on loopback are taken over wherever the process listens.
    let strict = file("127.0.0.1:8080", "[access]\nanonymous = \"none\"\n");
    assert_eq!(file("0.0.0.0:8080", "").change_to(strict.clone()).config.access, strict.access);
}

#[test]
fn the_reference_is_complete_and_without_repetition() {
    let names: Vec<(&str, &str)> = reference::KEYS.iter().map(|key| (key.section, key.name)).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for key in reference::KEYS {
        assert!(reference::SECTIONS.iter().any(|section| section.name == key.section), "{}", key.section);
    }
}

/// Set `TRANSSHIP_UPDATE_DOCS` to write the document instead of comparing it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch for whoever edits the reference, not configuration")]
fn the_document_says_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var("TRANSSHIP_UPDATE_DOCS").is_ok() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, reference::document()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == reference::document(),
        "docs/configuration.md is not what the code says; run `TRANSSHIP_UPDATE_DOCS=1 cargo test -p transship the_document`"
    );
}
