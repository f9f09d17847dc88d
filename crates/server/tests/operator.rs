//! What an operator does to a region and to its files: lost and replaced keys, a shared directory, a hang-up, first steps.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use base64::Engine as _;
use common::{ACCESS_KEY, Answer, PASSWORD, Region, Request, SECRET_KEY, pause, transship};

/// A database that cannot be reached is named in this time.
const DATABASE_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// Exit code and everything that was printed.
fn run(arguments: &[&str], directory: &Path) -> (i32, String) {
    let Output { status, stdout, stderr } = transship(arguments, directory);
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

fn data(region: &Region, name: &str) -> std::path::PathBuf {
    region.directory.path().join("data").join(name)
}

/// A region that ran once and has ended.
fn stopped() -> Region {
    let mut region = Region::start("");
    region.terminate();
    assert_eq!(region.wait(), Some(0));
    region
}

/// Whether the access key of the region can still sign requests.
fn signs(region: &Region) -> u16 {
    let request = Request { target: "/v2/manage/namespaces", ..Request::default() };
    let signature = request.signed(region.address, ACCESS_KEY, SECRET_KEY);
    let headers: Vec<_> = signature.iter().map(|(name, value)| (*name, value.as_str())).collect();
    region.send(&Request { headers: &headers, ..request }).status
}

fn iam_token(region: &Region) -> String {
    let body = format!(
        r#"{{"auth":{{"identity":{{"methods":["password"],"password":{{"user":{{"domain":{{"name":"demo"}},"name":"admin","password":"{PASSWORD}"}}}}}}}}}}"#
    );
    let made = region.send(&Request { method: "POST", target: "/v3/auth/tokens", body: &body, ..Request::default() });
    assert_eq!(made.status, 201, "{made:?}");
    made.header("x-subject-token").to_owned()
}

fn with_token(region: &Region, token: &str, target: &str) -> Answer {
    region.send(&Request { target, headers: &[("X-Auth-Token", token)], ..Request::default() })
}

#[test]
fn a_region_without_its_keys_does_not_start_and_says_how_to_go_on() {
    let mut region = stopped();
    let away = tempfile::tempdir().unwrap();
    for name in ["region.key", "secrets.key"] {
        std::fs::rename(data(&region, name), away.path().join(name)).unwrap();
    }
    let config = region.config();
    let config = config.to_str().unwrap();
    for command in [&["serve"][..], &["admin", "account", "list"], &["region-key"]] {
        let (code, text) = run(&[command, &["--config", config]].concat(), region.directory.path());
        assert_eq!(code, 1, "{command:?}: {text}");
        for part in ["region.key is missing", "peers", "rekey --region", "secrets.key is missing", "rekey --lost"] {
            assert!(text.contains(part), "{command:?}: {text}\nlacks {part}");
        }
    }
    assert!(!data(&region, "region.key").exists() && !data(&region, "secrets.key").exists(), "none is made in silence");

    // New ones, on purpose.
    let admin =
        |arguments: &[&str]| run(&[&["admin", "--config", config], arguments].concat(), region.directory.path());
    assert_eq!(admin(&["rekey"]).0, 1, "the old one is needed for that");
    let (code, text) = admin(&["rekey", "--lost", "--json"]);
    assert!(code == 0 && text.contains(r#""switched_off":1"#), "{text}");
    let (code, text) = admin(&["rekey", "--region", "--json"]);
    assert!(code == 0 && text.contains("public_key"), "{text}");
    region.restart();
    assert_eq!(signs(&region), 401);
    let secret = region.admin(&["access-key", "rotate", "--access-key", ACCESS_KEY]);
    region.admin(&["access-key", "enable", "--access-key", ACCESS_KEY]);
    assert!(secret["secret_key"].is_string());
    iam_token(&region);
}

#[test]
fn a_key_of_another_region_is_refused() {
    let (region, other) = (stopped(), stopped());
    let config = region.config();
    for (name, words) in [("region.key", "rekey --region"), ("secrets.key", "rekey --lost")] {
        let own = std::fs::read(data(&region, name)).unwrap();
        std::fs::copy(data(&other, name), data(&region, name)).unwrap();
        let (code, text) = run(&["serve", "--config", config.to_str().unwrap()], region.directory.path());
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(name) && text.contains("not the key of this catalog") && text.contains(words), "{text}");
        std::fs::write(data(&region, name), own).unwrap();
    }
}

#[test]
fn rekey_seals_every_secret_again_and_ends_the_tokens_of_the_old_key() {
    let mut region = Region::start("");
    let token = iam_token(&region);
    assert_eq!(with_token(&region, &token, "/v2/manage/namespaces").status, 200);
    let config = region.config();
    let rekey = ["admin", "rekey", "--json", "--config", config.to_str().unwrap()];
    let (code, text) = run(&rekey, region.directory.path());
    assert!(
        code == 1 && text.contains("already") && text.contains("stop it"),
        "a running region is not rekeyed: {text}"
    );
    region.terminate();
    assert_eq!(region.wait(), Some(0));
    let old = std::fs::read(data(&region, "secrets.key")).unwrap();
    let (code, text) = run(&rekey, region.directory.path());
    assert!(code == 0 && text.contains(r#""sealed_again":1"#), "{text}");
    assert_ne!(std::fs::read(data(&region, "secrets.key")).unwrap(), old);
    assert!(!data(&region, "secrets.key.new").exists());
    region.restart();
    assert_eq!(signs(&region), 200, "the secret key is the same");
    assert_eq!(with_token(&region, &token, "/v2/manage/namespaces").status, 401);
}

#[test]
fn the_next_region_key_can_be_pinned_before_it_is_used() {
    let mut region = stopped();
    let config = region.config();
    let admin = |arguments: &[&str]| {
        let arguments = [&["admin", "--json", "--config", config.to_str().unwrap()], arguments].concat();
        let (code, text) = run(&arguments, region.directory.path());
        assert_eq!(code, 0, "{text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["public_key"].as_str().unwrap().to_owned()
    };
    let key =
        || run(&["region-key", "--config", config.to_str().unwrap()], region.directory.path()).1.trim().to_owned();
    let old = key();
    let next = admin(&["rekey", "--region", "--prepare"]);
    assert_eq!(next, admin(&["rekey", "--region", "--prepare"]), "it is made once");
    assert_eq!(key(), old);
    assert_eq!(admin(&["rekey", "--region"]), next);
    assert_eq!(key(), next);
    assert!(!data(&region, "region.key.next").exists());
    region.restart();
}

#[test]
fn a_data_directory_that_others_can_look_into_is_refused_unless_that_is_wanted() {
    let region = stopped();
    let directory = region.directory.path().join("data");
    std::fs::set_permissions(&directory, Permissions::from_mode(0o750)).unwrap();
    let config = region.config();
    let config = config.to_str().unwrap();
    let commands: [&[&str]; 8] = [
        &["serve"],
        &["admin", "account", "list"],
        &["region-key"],
        &["fsck"],
        &["admin", "rekey"],
        &["admin", "rekey", "--region"],
        &["admin", "rekey", "--region", "--prepare"],
        &["check-config", "--probe"],
    ];
    for command in commands {
        let (code, text) = run(&[command, &["--config", config]].concat(), region.directory.path());
        assert!(code > 0, "{command:?}: {text}");
        for part in ["mode 750", "chmod 700", "region.allow_shared_data_dir = true"] {
            assert!(text.contains(part), "{command:?}: {text}\nlacks {part}");
        }
    }
    let text = std::fs::read_to_string(config).unwrap();
    std::fs::write(config, text.replace("data_dir = \"data\"", "data_dir = \"data\"\nallow_shared_data_dir = true"))
        .unwrap();
    let probe = || run(&["check-config", "--probe", "--config", config], region.directory.path());
    let rekey =
        |more: &[&str]| run(&[&["admin", "rekey"], more, &["--config", config]].concat(), region.directory.path());
    for (code, text) in [probe(), rekey(&[]), rekey(&["--region", "--prepare"]), rekey(&["--region"]), probe()] {
        assert_eq!(code, 0, "{text}");
    }
    let keys = ["region.key", "secrets.key"].map(|name| std::fs::metadata(data(&region, name)).unwrap());
    assert!(keys.iter().all(|key| key.permissions().mode() & 0o777 == 0o600), "the keys are the owner's own");
    let mut region = region;
    region.restart();
    assert_eq!(signs(&region), 200);
}

#[test]
fn a_hang_up_takes_over_what_it_can_and_says_the_rest() {
    let mut region = Region::start("public_url = \"http://a.example.com\"\n[limits]\nnamespaces_per_account = 1\n");
    let create = |region: &Region, name: &str| {
        let body = format!(r#"{{"namespace":"{name}"}}"#);
        let create = Request { method: "POST", target: "/v2/manage/namespaces", body: &body, ..Request::default() };
        let signature = create.signed(region.address, ACCESS_KEY, SECRET_KEY);
        let headers: Vec<_> = signature.iter().map(|(name, value)| (*name, value.as_str())).collect();
        region.send(&Request { headers: &headers, ..create })
    };
    assert_eq!(create(&region, "one").status, 201);
    let refused = create(&region, "two");
    assert_eq!((refused.status, refused.json()["error_code"].as_str()), (400, Some("SVCSTG.SWR.4000097")));
    assert!(refused.json().to_string().contains("limits.namespaces_per_account"), "{refused:?}");
    assert!(create(&region, "two").status == 400 && region.get("/v2/").status == 401);

    let file = region.config();
    let good = std::fs::read_to_string(&file).unwrap();
    let changed = good
        .replace("namespaces_per_account = 1", "namespaces_per_account = 2")
        .replace("http://a.example.com", "http://b.example.com");
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let peer = format!(
        "[[peer]]\nid = \"b\"\nurl = \"http://127.0.0.1:1\"\npublic_key = \"{key}\"\n[log]\nlevel = \"debug\"\n"
    );
    std::fs::write(&file, changed + &peer).unwrap();
    region.signal("-HUP");
    let line = region.wait_for_log(|line| line["message"] == "the configuration was read again");
    assert_eq!(line["taken_over"], "peer b, limits, log");
    assert_eq!(line["needs_restart"], "region.public_url");
    region.wait_for_log(|line| line["level"] == "WARN" && line.to_string().contains("after a restart only"));
    assert_eq!(create(&region, "two").status, 201);
    // Probes are logged at this level only.
    region.get("/livez");
    region.wait_for_log(|line| line["path"] == "/livez" && line["level"] == "DEBUG");
    let regions = with_token(&region, &iam_token(&region), "/v2/manage/regions");
    assert!(regions.json().to_string().contains("127.0.0.1:1"), "{regions:?}");
    assert!(region.get("/v2/").header("www-authenticate").contains("http://a.example.com"));

    // A file that is not good changes nothing.
    std::fs::write(&file, good.replace("namespaces_per_account = 1", "namespaces_per_account = 0")).unwrap();
    region.signal("-HUP");
    let line = region.wait_for_log(|line| line["level"] == "ERROR");
    assert_eq!(line["message"], "the configuration cannot be used, the old settings stay");
    assert!(line["reason"].as_str().unwrap().contains("limits.namespaces_per_account is 0"), "{line}");
    assert_eq!(create(&region, "three").status, 400);

    // Back to the first file: the peer is gone again.
    std::fs::write(&file, &good).unwrap();
    region.signal("-HUP");
    let line = region.wait_for_log(|line| line["message"] == "the configuration was read again");
    assert_eq!((&line["taken_over"], &line["needs_restart"]), (&"peer b, limits, log".into(), &"".into()));
    let regions = with_token(&region, &iam_token(&region), "/v2/manage/regions");
    assert!(!regions.json().to_string().contains("127.0.0.1:1"), "{regions:?}");
    region.signal("-HUP");
    region.wait_for_log(|line| line["message"].as_str().is_some_and(|text| text.ends_with("nothing has changed")));

    std::fs::write(&file, format!("{good}[log]\nformat = \"text\"\n")).unwrap();
    region.signal("-HUP");
    region.wait_for_log(|line| line["taken_over"] == "log");
    region.get("/v2/");
    region.wait_for_log(|line| line.as_str().is_some_and(|text| text.contains("/v2/") && text.contains("401")));
}

#[test]
fn a_hang_up_changes_what_strangers_may_do_and_opens_only_what_this_machine_reaches() {
    let mut region = Region::start("");
    let file = region.config();
    let good = std::fs::read_to_string(&file).unwrap();
    let hang_up = |region: &mut Region, text: &str| {
        std::fs::write(&file, text).unwrap();
        region.signal("-HUP");
        let line = region.wait_for_log(|line| line["message"] == "the configuration was read again");
        (line["taken_over"].as_str().unwrap().to_owned(), line["needs_restart"].as_str().unwrap().to_owned())
    };
    let token = "/swr/auth/v2/registry/auth/?service=dockyard";
    assert_eq!((region.get("/v2/").status, region.get(token).status), (401, 200));
    let none = format!("{good}[access]\nanonymous = \"none\"\n");
    assert_eq!(hang_up(&mut region, &none), ("access".to_owned(), String::new()));
    assert_eq!((region.get("/v2/").status, region.get(token).status), (401, 401));
    let open = format!("{good}[access]\nopen = true\n");
    assert_eq!(hang_up(&mut region, &open), ("access".to_owned(), String::new()));
    assert_eq!(region.get("/v2/").status, 200);
    assert_eq!(hang_up(&mut region, &good), ("access".to_owned(), String::new()));
    assert_eq!((region.get("/v2/").status, region.get(token).status), (401, 200));

    // A region that others reach, and a file that says another address: the listener is still the old one.
    region.terminate();
    assert_eq!(region.wait(), Some(0));
    std::fs::write(&file, good.replace("127.0.0.1:0", "0.0.0.0:0")).unwrap();
    region.restart();
    let says = hang_up(&mut region, &open);
    assert_eq!((says.0.as_str(), says.1.contains("access")), ("", true), "{says:?}");
    let local = "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(region.send_raw(local.as_bytes()).status, 401);
}

#[test]
fn a_command_of_another_version_leaves_the_tables_of_a_region_alone() {
    let region = stopped();
    // The tables as an older program has them, as far as anybody looks before touching one.
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
        c.execute('DELETE FROM migration WHERE version = (SELECT MAX(version) FROM migration)'); c.commit(); \
        print(c.execute('SELECT MAX(version) FROM migration').fetchone()[0])";
    let catalog = data(&region, "catalog.db");
    let python = |script: &str| {
        let output = std::process::Command::new("python3").args(["-c", script]).arg(&catalog).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let older = python(script);
    let config = region.config();
    let config = config.to_str().unwrap();
    for command in [&["admin", "account", "list"][..], &["admin", "rekey"], &["fsck"]] {
        let (code, text) = run(&[command, &["--config", config]].concat(), region.directory.path());
        assert!(code > 0 && text.contains(&format!("has schema {older}, this program needs")), "{command:?}: {text}");
    }
    let look = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT MAX(version) FROM migration').fetchone()[0])";
    assert_eq!(python(look), older);
    let (_, text) = run(&["check-config", "--probe", "--config", config], region.directory.path());
    assert!(text.contains(&format!("with schema {older}; the next start brings it to")), "{text}");
}

#[test]
fn organizations_are_made_granted_and_deleted_at_the_command_line() {
    let region = Region::start("");
    let admin = |arguments: &[&str]| region.admin(&[&["organization"], arguments].concat());
    region.admin(&["user", "create", "--account", "demo", "--name", "anna"]);
    admin(&["create", "--namespace", "team", "--account", "demo", "--user", "anna"]);
    let list = admin(&["list"]);
    assert_eq!(
        (&list[0]["namespace"], &list[0]["account"], &list[0]["creator"]),
        (&"team".into(), &"demo".into(), &"anna".into())
    );
    region.admin(&["user", "create", "--account", "demo", "--name", "bob"]);
    let granted = admin(&["grant", "--namespace", "team", "--user", "bob", "--level", "write"]);
    assert_eq!(granted["level"], 3);
    // Another level takes the place of the first, and taking back what is not there is no mistake.
    assert_eq!(admin(&["grant", "--namespace", "team", "--user", "bob", "--level", "7"])["level"], 7);
    assert_eq!(admin(&["list", "--account", "demo"])[0]["users"], 2);
    for _ in 0..2 {
        assert_eq!(region.admin(&["grant", "--namespace", "team", "--user", "bob", "--level", "none"])["level"], 0);
    }
    assert_eq!(admin(&["list"])[0]["users"], 1);
    let config = region.config();
    let refused = |arguments: &[&str]| {
        let arguments = [&["admin", "organization"], arguments, &["--config", config.to_str().unwrap()]].concat();
        let (code, text) = run(&arguments, region.directory.path());
        assert_eq!(code, 1, "{text}");
        text
    };
    assert!(refused(&["grant", "--namespace", "team", "--user", "eve", "--level", "read"]).contains("eve"));
    assert!(refused(&["delete", "--namespace", "none"]).contains("none"));
    assert!(refused(&["create", "--namespace", "team", "--account", "demo", "--user", "bob"]).contains("team"));
    admin(&["delete", "--namespace", "team"]);
    assert_eq!(admin(&["list"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_level_on_one_repository_is_given_and_taken_back_at_the_command_line() {
    let region = Region::start("");
    let admin = |arguments: &[&str]| region.admin(&[&["organization"], arguments].concat());
    admin(&["create", "--namespace", "team", "--account", "demo", "--user", "admin"]);
    region.admin(&["user", "create", "--account", "demo", "--name", "bob"]);
    let token = iam_token(&region);
    for name in ["app", "other"] {
        let body = format!(r#"{{"repository":"{name}","is_public":false}}"#);
        let headers = [("X-Auth-Token", &*token), ("Content-Type", "application/json")];
        let target = "/v2/manage/namespaces/team/repos";
        let made = region.send(&Request { method: "POST", target, headers: &headers, body: &body });
        assert_eq!(made.status, 200, "{made:?}");
    }
    let levels = |name: &str| {
        let found = with_token(&region, &token, &format!("/v2/manage/namespaces/team/repos/{name}/access")).json();
        let others = found["others_auths"].as_array().unwrap();
        others.iter().map(|other| (other["user_name"].to_string(), other["auth"].as_i64().unwrap())).collect::<Vec<_>>()
    };
    let grant = |level: &str| {
        admin(&["grant", "--namespace", "team", "--repository", "app", "--user", "bob", "--level", level])
    };
    let granted = grant("read");
    assert_eq!((&granted["repository"], &granted["level"]), (&"app".into(), &1.into()), "{granted}");
    let bob = "\"bob\"".to_owned();
    assert_eq!(levels("app"), [(bob.clone(), 1)]);
    assert_eq!(levels("other"), [], "this repository only");
    assert_eq!(admin(&["list"])[0]["users"], 1, "and nothing on the organization");
    assert_eq!(grant("manage")["level"], 7);
    assert_eq!(levels("app"), [(bob, 7)]);
    for _ in 0..2 {
        assert_eq!(grant("none")["level"], 0);
        assert_eq!(levels("app"), []);
    }
    let config = region.config();
    let absent = ["--namespace", "team", "--repository", "absent", "--user", "bob", "--level", "read"];
    let command = [&["admin", "organization", "grant"], &absent[..], &["--config", config.to_str().unwrap()]].concat();
    let (code, text) = run(&command, region.directory.path());
    assert!(code == 1 && text.contains("team/absent"), "{text}");
}

#[test]
fn a_start_without_a_file_says_what_to_do_next() {
    let directory = tempfile::tempdir().unwrap();
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let deadline = std::time::Instant::now() + common::PATIENCE;
    let start = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_transship"))
            .arg("serve")
            .current_dir(directory.path())
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&err).unwrap())
            .spawn()
            .unwrap()
    };
    let mut child = start();
    let text = loop {
        let text = std::fs::read_to_string(&out).unwrap();
        if text.contains("docker push") {
            break text;
        }
        let why = std::fs::read_to_string(&err).unwrap();
        assert!(
            std::time::Instant::now() < deadline,
            "a start without a file listens on 127.0.0.1:8080, which must be free: {why}"
        );
        if child.try_wait().unwrap().is_some() {
            // The same test in another folder may have the port for a moment.
            assert!(why.contains("cannot listen on 127.0.0.1:8080"), "{why}");
            pause();
            child = start();
        }
        pause();
    };
    let _ = child.kill();
    child.wait().unwrap();
    for part in [
        "initial-credentials",
        "transship admin organization create",
        "docker login -u default/admin 127.0.0.1:8080",
        "docker push 127.0.0.1:8080/team/",
    ] {
        assert!(text.contains(part), "{text}\nlacks {part}");
    }
    // What it says works.
    let line = text.lines().find(|line| line.contains("organization create")).unwrap();
    let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
    let (code, text) = run(&arguments, directory.path());
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let directory = tempfile::tempdir().unwrap();
    let config = |url: &str| {
        let text = format!(
            "[region]\nid = \"a\"\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n[catalog]\nurl = \"{url}\"\n"
        );
        std::fs::write(directory.path().join("c.toml"), text).unwrap();
    };
    // Nobody listens on port 1, and nobody answers behind the listener.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().port();
    for (port, reason) in [(1, "Connection refused"), (silent, "no answer within 8 s")] {
        config(&format!("postgres://user:hunter2@127.0.0.1:{port}/facts"));
        // The fastest of three: a busy machine may take its time to start a process.
        let mut tries = (0..3).map(|_| {
            let begun = std::time::Instant::now();
            let (code, text) = run(&["serve", "--config", "c.toml"], directory.path());
            assert_eq!(code, 1, "{text}");
            (begun.elapsed(), text)
        });
        let in_time = tries.find(|(took, _)| *took < DATABASE_LIMIT);
        let (_, text) = in_time.unwrap_or_else(|| panic!("port {port}: not within {DATABASE_LIMIT:?}"));
        let sentence = format!("cannot connect to the database at 127.0.0.1:{port}/facts: ");
        assert_eq!(text.matches(&sentence).count(), 1, "{text}");
        assert!(text.contains(reason) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn check_config_looks_at_directory_database_and_peers_when_it_is_told_to() {
    let running = Region::start("");
    let directory = tempfile::tempdir().unwrap();
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let write = |url: &str| {
        let text = format!(
            "[region]\nid = \"a\"\ndata_dir = \"data\"\n[[peer]]\nid = \"b\"\nurl = \"{url}\"\npublic_key = \"{key}\"\n"
        );
        std::fs::write(directory.path().join("c.toml"), text).unwrap();
        run(&["check-config", "--probe", "--config", "c.toml"], directory.path())
    };
    let (code, text) = write(&format!("http://{}", running.address));
    assert_eq!(code, 0, "{text}");
    for part in ["c.toml: good", "is not there yet", "peer b at http://", ": answers"] {
        assert!(text.contains(part), "{text}\nlacks {part}");
    }
    assert!(!directory.path().join("data").exists(), "it only looks");
    let (code, text) = write("http://127.0.0.1:1");
    assert!(code == 1 && text.contains("peer b at http://127.0.0.1:1: ") && text.contains("(not good)"), "{text}");
    assert_eq!(run(&["check-config", "--config", "c.toml"], directory.path()).0, 0);
    let config = running.config();
    let (code, text) = run(&["check-config", "--probe", "--config", config.to_str().unwrap()], directory.path());
    assert!(
        code == 0 && text.contains("keys: good, those of the catalog") && text.contains("answers, with schema"),
        "{text}"
    );
}

/// What the start would refuse, and nothing that it would take.
#[test]
fn check_config_judges_the_keys_as_the_start_does() {
    let (region, other) = (stopped(), stopped());
    let config = region.config();
    let config = config.to_str().unwrap();
    let names = || {
        let entries = std::fs::read_dir(data(&region, "")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // What SQLite has beside its file comes and goes with whoever reads it.
        names.filter(|name| !name.starts_with("catalog.db-")).collect::<std::collections::BTreeSet<_>>()
    };
    let agree = |expected: i32, part: &str| {
        let before = names();
        let (code, text) = run(&["check-config", "--probe", "--config", config], region.directory.path());
        assert!(code == expected && text.contains(part), "{code}: {text}\nlacks {part}");
        assert_eq!(names(), before, "nothing is made and nothing goes away: {text}");
        if expected > 0 {
            let (code, text) = run(&["serve", "--config", config], region.directory.path());
            assert!(code == expected && text.contains(part), "{code}: {text}\nlacks {part}");
        }
    };
    agree(0, "keys: good, those of the catalog");
    for name in ["region.key", "secrets.key"] {
        let own = std::fs::read(data(&region, name)).unwrap();
        std::fs::remove_file(data(&region, name)).unwrap();
        agree(1, &format!("{name} is missing, and the catalog has accounts"));
        std::fs::copy(data(&other, name), data(&region, name)).unwrap();
        agree(1, "is not the key of this catalog");
        std::fs::write(data(&region, name), "abc").unwrap();
        agree(1, &format!("{name}: is not "));
        // A replacement that was cut off behind its transaction: the start finishes it.
        std::fs::write(data(&region, &format!("{name}.new")), &own).unwrap();
        std::fs::set_permissions(data(&region, &format!("{name}.new")), Permissions::from_mode(0o600)).unwrap();
        agree(0, "keys: good, those of the catalog");
        std::fs::rename(data(&region, &format!("{name}.new")), data(&region, name)).unwrap();
    }
    // The own key as that of a peer.
    let own = run(&["region-key", "--config", config], region.directory.path()).1;
    let text = std::fs::read_to_string(config).unwrap();
    let peer = format!("[[peer]]\nid = \"b\"\nurl = \"http://127.0.0.1:1\"\npublic_key = \"{}\"\n", own.trim());
    std::fs::write(config, text.clone() + &peer).unwrap();
    agree(1, "peer b: public_key is the key of this region itself");
    std::fs::write(config, text).unwrap();
    let mut region = region;
    region.restart();
    assert_eq!(signs(&region), 200);
}
