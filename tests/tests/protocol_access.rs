//! `[access]` and `[registry]`: regions that want a login for everything, want none at all, or take sparse indexes. And
//! clients that know only the referrers tag.

use reqwest::Method;
use serde_json::json;
use transship_tests::clients::{self, Client};
use transship_tests::environment;
use transship_tests::http;
use transship_tests::image::{self, Image};
use transship_tests::manage::User;
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::registry::{Repository, login_of};
use transship_tests::single::{APP, Single, ask, blob, code};
use transship_tests::wire::{Read, Wire};

/// A registry that the whole world may reach shows nothing to who has not logged in.
#[tokio::test]
async fn nothing_without_a_login() {
    let single = Single::start_with(&["[access]\nanonymous = \"none\""], &[&User::named("other")]).await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    single.registry().push(APP, "v1", &image).await;
    single.publish("app").await;
    let scope = format!("repository:{APP}:pull");
    let refused = single.region.anonymous().ask_token(&scope).await.expect(401);
    assert_eq!(code(&refused), "UNAUTHORIZED");
    assert!(refused.text().contains("log in"), "{}", refused.text());
    for path in ["/v2/", "/v2/_catalog", &format!("/v2/{APP}/manifests/v1"), &format!("/v2/{APP}/tags/list")] {
        http::send(single.request(Method::GET, path)).await.expect(401);
    }
    // Public is then what every user may pull.
    let other = single.region.registry(&User::named("other"));
    assert_eq!(other.pull(APP, "v1").await.digest, image.digest());
}

/// Strangers may pull what is public by default, and not a moment longer than the operator wants.
#[tokio::test]
async fn public_repositories_are_for_everybody() {
    let single = Single::start().await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    single.registry().push(APP, "v1", &image).await;
    let anonymous = single.region.anonymous();
    http::send(anonymous.open(APP, "pull").await.request(Method::GET, "manifests/v1")).await.expect(401);
    single.publish("app").await;
    assert_eq!(anonymous.pull(APP, "v1").await.digest, image.digest());
    let repository = anonymous.open(APP, "pull,push,delete").await;
    let reply = http::send(repository.request(Method::POST, "blobs/uploads/").header("Content-Length", "0")).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    ask(&repository, Method::DELETE, "manifests/v1").await.expect(401);
}

/// For a laptop: crane and curl as they are, no organization made before, nobody logged in.
#[tokio::test]
async fn an_open_region_takes_everything() {
    let single = Single::start_with(&["[access]\nopen = true"], &[]).await;
    let host = single.region.host();
    assert_eq!(http::send(single.request(Method::GET, "/v2/")).await.expect(200).body, b"{}");
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    // The harness sends a token that nobody has issued, as a client does that was logged in elsewhere.
    let repository = Repository::with_token(&single.region.url(), "laptop/app", "abc");
    repository.push("v1", &image).await;
    assert_eq!(repository.pull("v1").await.digest, image.digest());

    let curl = async |arguments: &[&str]| clients::must(clients::command("curl", arguments)).await;
    let url = format!("http://{host}/v2/laptop/app/tags/list");
    assert_eq!(curl(&["--silent", "--show-error", "--fail", &url]).await, r#"{"name":"laptop/app","tags":["v1"]}"#);
    let crane = Client::new(environment::prepared("tools/bin/crane", "go-clients"));
    let source = format!("{host}/laptop/app:v1");
    crane.must(&["copy", "--insecure", &source, &format!("{host}/other/deep/app:v2")]).await;
    let digest = crane.must(&["digest", "--insecure", &format!("{host}/other/deep/app:v2")]).await;
    assert_eq!(digest, image.digest());
    assert_eq!(crane.must(&["catalog", "--insecure", &host]).await, "laptop/app\nother/deep/app");
    crane.must(&["delete", "--insecure", &format!("{host}/laptop/app:v1")]).await;
    http::send(repository.request(Method::GET, "manifests/v1")).await.expect(404);

    // The management API asks as always.
    http::send(single.request(Method::GET, "/v2/manage/namespaces")).await.expect(401);
    // A page in a browser can be led here under another name; it gets what a stranger gets.
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example"] {
        let reply = http::send(single.request(Method::GET, "/v2/_catalog").header("Host", host)).await.expect(401);
        assert!(reply.header("www-authenticate").is_some_and(|text| text.starts_with("Bearer ")), "{host}");
    }
    for host in ["localhost", "localhost:5000", "127.0.0.1", "[::1]:5000"] {
        http::send(single.request(Method::GET, "/v2/_catalog").header("Host", host)).await.expect(200);
    }
}

/// A page of another origin must not read or write through its visitor's machine, on no way in; a region that asks for
/// credentials may be called from any page that has them.
#[tokio::test]
async fn an_open_region_refuses_pages_of_other_origins() {
    let single = Single::start_with(&["[access]\nopen = true"], &[]).await;
    let own = single.region.url();
    let ways = [
        (Method::GET, "/v2/"),
        (Method::GET, "/v2/_catalog"),
        (Method::POST, "/v2/laptop/app/blobs/uploads/"),
        (Method::OPTIONS, "/v2/laptop/app/blobs/uploads/"),
        (Method::GET, "/swr/auth/v2/registry/auth/?service=dockyard"),
        (Method::GET, "/v2/manage/namespaces"),
        (Method::POST, "/v3/auth/tokens"),
        (Method::POST, "/transship/v1/prepare"),
    ];
    for (method, path) in ways {
        for origin in ["https://evil.example", "null", "http://localhost", "http://127.0.0.1"] {
            let request = single.request(method.clone(), path).header("Origin", origin).header("Content-Length", "0");
            let reply = http::send(request).await.expect(403);
            let said = reply.json();
            let shape = [&said["errors"][0]["code"], &said["errorCode"], &said["error_code"], &said["error"]["code"]];
            assert!(shape.iter().any(|code| !code.is_null()), "{method} {path}: {said}");
            assert_eq!(reply.header("access-control-allow-origin"), None);
        }
        let same = single.request(method.clone(), path).header("Origin", &own).header("Content-Length", "0");
        assert_ne!(http::send(same).await.status, 403, "{method} {path}");
    }
    let closed = Single::start().await;
    let reply = http::send(closed.request(Method::GET, "/v2/").header("Origin", "https://evil.example")).await;
    assert_eq!(reply.status, 401);
}

/// `library` is a good name by the grammar, so whoever is refused is told the reason, on each way in.
#[tokio::test]
async fn a_reserved_name_is_refused_as_reserved() {
    let open = Single::start_with(&["[access]\nopen = true"], &[]).await;
    let single = Single::start().await;
    for name in ["library", "manage"] {
        let made = single.region.manage(&single.admin);
        let made = made.call("POST", "/v2/manage/namespaces", Some(json!({ "namespace": name }))).await.expect(400);
        assert!(made.error_code().ends_with("4001028"), "{}", made.text());
        let token = single.registry().ask_token(&format!("repository:{name}/app:pull,push")).await.expect(401);
        let start = open.request(Method::POST, &format!("/v2/{name}/app/blobs/uploads/?digest-algorithm=sha256"));
        // The paths of `manage` are the management API's.
        let pushed = (name == "library").then_some(http::send(start.header("Content-Length", "0")).await);
        for reply in [Some(made), Some(token), pushed].into_iter().flatten() {
            assert!(reply.text().contains("reserved"), "{}", reply.text());
            assert!(!reply.text().contains("lower-case letter"), "{}", reply.text());
        }
    }
}

/// Some clients look header names up by exact case. What the region refuses before it has a request is no exception.
#[tokio::test]
async fn header_names_are_in_title_case_over_http_1() {
    let single = Single::start().await;
    let host = single.region.host();
    for (request, names) in [
        ("GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "Www-Authenticate Content-Type X-Request-Id Date"),
        ("GET /v2/ HTTP/1.1\r\n\r\n".to_owned(), "Content-Type X-Request-Id Content-Length Connection"),
    ] {
        let mut wire = Wire::connect(&host).await;
        let Read::Answer(answer) = wire.exchange(request.as_bytes(), "GET", false).await else {
            panic!("no answer to {request}");
        };
        let raw = String::from_utf8_lossy(&answer.raw).into_owned();
        let head = raw.split("\r\n\r\n").next().unwrap_or_default();
        for name in names.split(' ') {
            assert!(head.contains(&format!("\r\n{name}: ")), "{name} is not in {head}");
        }
        for line in head.lines().skip(1) {
            assert!(line.starts_with(|first: char| first.is_ascii_uppercase()), "{line}");
        }
    }
}

/// Open is for loopback only; everything else is a mistake that is found before anything starts.
#[tokio::test]
async fn an_open_region_that_others_reach_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let check = async |listen: &str| {
        let file = folder.path().join("transship.toml");
        let text = format!("[region]\nid = \"a\"\nlisten = \"{listen}\"\ndata_dir = \"data\"\n[access]\nopen = true\n");
        std::fs::write(&file, text).expect("the folder is writable");
        let mut command = clients::command(environment::transship(), &["check-config", "--config"]);
        command.arg(&file);
        clients::run(command).await
    };
    for loopback in ["127.0.0.1:8080", "127.9.9.9:1", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
        let said = check(loopback).await;
        assert!(said.ok, "{loopback}: {}{}", said.out, said.err);
    }
    for reached in ["0.0.0.0:8080", "192.0.2.1:8080", "[::]:8080", "[::ffff:192.0.2.1]:8080"] {
        let said = check(reached).await;
        assert!(!said.ok, "{reached}");
        assert!(said.err.contains("access.open") && said.err.contains(reached), "{reached}: {}", said.err);
    }
}

/// An index of which one platform is here; what is missing may come later, and is then held like all else.
#[tokio::test]
async fn sparse_indexes_where_they_are_wanted() {
    let mut random = Random::seeded(1);
    let (here, elsewhere) = (Image::random(&mut random, 1, 1000), Image::random(&mut random, 1, 1000));
    let index = Image::index(vec![here.clone(), elsewhere.clone()]);

    let strict = Single::start().await;
    let repository = strict.app().await;
    repository.push("here", &here).await;
    let reply = repository.put_manifest("v1", index.media_type, &index.raw).await.expect(404);
    assert_eq!(code(&reply), "MANIFEST_BLOB_UNKNOWN");
    let reply = repository.put_manifest("v1", elsewhere.media_type, &elsewhere.raw).await.expect(404);
    assert_eq!(code(&reply), "MANIFEST_BLOB_UNKNOWN");
    drop(strict);

    let single = Single::start_with(&["[registry]\nsparse_indexes = true"], &[]).await;
    let repository = single.app().await;
    repository.push("here", &here).await;
    repository.put_manifest("v1", index.media_type, &index.raw).await.expect(201);
    ask(&repository, Method::GET, &format!("manifests/{}", elsewhere.digest())).await.expect(404);
    repository.put_manifest(&elsewhere.digest(), elsewhere.media_type, &elsewhere.raw).await.expect(201);
    let layer = image::digest(&elsewhere.blobs[1]);
    blob(&repository, &layer).await.expect(404);
    for bytes in &elsewhere.blobs {
        repository.push_blob(bytes).await;
    }
    assert_eq!(repository.pull("v1").await.digest, index.digest());
    let reply = ask(&repository, Method::DELETE, &format!("blobs/{layer}")).await.expect(405);
    assert_eq!(code(&reply), "UNSUPPORTED");
}

/// A region is ready in two seconds also with what a large one holds.
#[tokio::test]
async fn a_start_does_not_read_what_is_there() {
    let admin = User::named("admin");
    let mut region = Region::prepare(RegionSettings::named("cn-north-4"), &admin).await;
    region.start().await;
    region.manage(&admin).create_namespace("group").await;
    region.manage(&admin).create_repository("group", "app").await;
    region.terminate().await;
    let catalog = region.data_dir().join("catalog.db");
    let script = r"
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
[(repository, namespace, account)] = c.execute('SELECT r.id, r.namespace_id, r.account_id FROM repository r').fetchall()
digests = ['sha256:%064x' % n for n in range(5000)]
c.executemany('INSERT INTO manifest (repository_id, digest, media_type, subject_digest, layers_size_bytes, pushed_at, raw)'
    ' VALUES (?, ?, ?, ?, 0, 0, ?)', ((repository, d, 'application/vnd.oci.image.manifest.v1+json', digests[0], '{}') for d in digests))
c.executemany('INSERT INTO tag (repository_id, name, digest, created_at, updated_at) VALUES (?, ?, ?, 0, 0)',
    ((repository, 't%07d' % n, digests[0]) for n in range(100000)))
c.executemany('INSERT INTO repository (namespace_id, name, is_public, category, description, creator_id, creator_name,'
    ' created_at, updated_at, path, account_id) VALUES (?, ?, 0, ?, ?, ?, ?, 0, 0, ?, ?)',
    ((namespace, 'r%07d' % n, 'other', '', '', '', 'group/r%07d' % n, account) for n in range(10000)))
c.commit()
";
    let mut fill = clients::command("python3", &["-c", script]);
    fill.arg(&catalog);
    clients::must(fill).await;
    // What it reads before it is ready, and not how long that takes on a busy machine: less than a tenth of the file.
    let before = std::fs::metadata(&catalog).expect("the catalog is a file").len();
    region.start().await;
    let read = region.bytes_read();
    assert!(read < before / 10, "{read} bytes of {before} were read before the region was ready");
    let repository = region.registry(&admin).open("group/app", "pull").await;
    let page = ask(&repository, Method::GET, "tags/list?n=2&last=t0050000").await.expect(200);
    assert_eq!(page.json()["tags"], serde_json::json!(["t0050001", "t0050002"]));
}

/// oras made to use the referrers tag, beside oras with the API: each sees what the other attaches, and takes away.
#[tokio::test]
async fn oras_by_tag_and_oras_by_api_see_the_same() {
    let single = Single::start().await;
    let oras = Client::new(environment::prepared("tools/bin/oras", "go-clients"));
    let (user, password) = login_of(single.region.id(), &single.admin);
    oras.must(&["login", "--plain-http", "-u", &user, "-p", &password, &single.region.host()]).await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    single.registry().push(APP, "v1", &image).await;
    let here = format!("{}/{APP}:v1", single.region.host());
    let (by_api, by_tag) = ("v1.1-referrers-api", "v1.1-referrers-tag");
    let attach = async |spec: &str, kind: &str| {
        std::fs::write(oras.home().join("file.txt"), kind).expect("the folder is writable");
        let kind = format!("application/vnd.{kind}");
        let words = ["attach", "--plain-http", "--distribution-spec", spec, "--format", "json", "--artifact-type"];
        let said = oras.must(&[&words[..], &[&kind, &here, "file.txt"]].concat()).await;
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        said["digest"].as_str().expect("a digest").to_owned()
    };
    let discover = async |spec: &str| {
        let words = ["discover", "--plain-http", "--distribution-spec", spec, "--format", "json", &here];
        oras.must(&words).await
    };
    let first = attach(by_api, "first").await;
    let second = attach(by_tag, "second").await;
    let third = attach(by_api, "third").await;
    let fourth = attach(by_tag, "fourth").await;
    for spec in [by_api, by_tag] {
        let found = discover(spec).await;
        for digest in [&first, &second, &third, &fourth] {
            assert!(found.contains(digest.as_str()), "{spec} {digest}: {found}");
        }
    }
    let repository = single.app().await;
    for digest in [&third, &fourth] {
        ask(&repository, Method::DELETE, &format!("manifests/{digest}")).await.expect(202);
    }
    for spec in [by_api, by_tag] {
        let found = discover(spec).await;
        assert!(found.contains(&first) && found.contains(&second), "{spec}: {found}");
        assert!(!found.contains(&third) && !found.contains(&fourth), "{spec}: {found}");
    }
}
