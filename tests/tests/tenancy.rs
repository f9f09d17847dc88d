//! Hazards of many tenants in one region, one test for each, named by its number in `docs/quality/tenancy.md`. What other
//! suites test already is not repeated: permission levels, sync by every user, disabled users and kinds of token are in
//! `permissions.rs`, mounts with half a right in `registry_protocol.rs`, limits of one client in `crates/server/tests/limits.rs`.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use transship_tests::http::{self, Reply};
use transship_tests::image::{self, Image};
use transship_tests::manage::{Sync, User, repository_path};
use transship_tests::random::Random;
use transship_tests::region::{ACCOUNT, Region, RegionSettings};
use transship_tests::registry::Repository;
use transship_tests::{pair, signature};

const SECRET: &str = "team/secret";

/// One region with two accounts. `team` belongs to the first, and has a private and a public repository.
struct Stage {
    region: Region,
    admin: User,
    /// Users of the first account by their level on `team`; 0 for none.
    members: BTreeMap<i64, User>,
    /// The administrator-less other account, with an organization `other` of its own.
    stranger: User,
    image: Image,
}

async fn stage() -> Stage {
    let (admin, stranger) = (User::named("admin"), User::named("stranger"));
    let members: BTreeMap<i64, User> =
        [0, 1, 3, 7].into_iter().map(|level| (level, User::named(&format!("member-{level}")))).collect();
    let mut region = Region::prepare(RegionSettings::named(pair::SOURCE), &admin).await;
    region.start().await;
    region.terminate().await;
    region.admin(&["account", "create", "--name", "elsewhere"]).await;
    region.add_user("elsewhere", &stranger).await;
    for member in members.values() {
        region.add_user(ACCOUNT, member).await;
    }
    region.start().await;
    let manage = region.manage(&admin);
    manage.create_namespace("team").await;
    region.manage(&stranger).create_namespace("other").await;
    for (level, member) in members.iter().filter(|(level, _)| **level > 0) {
        let id = region.user_id(member).await;
        manage.grant_namespace("team", &[(&id, &member.name, *level)]).await;
    }
    let image = Image::random(&mut Random::seeded(7), 2, 5000);
    region.registry(&admin).push(SECRET, "v1", &image).await;
    region.registry(&admin).push("team/open", "v1", &image).await;
    let public = json!({"is_public": true});
    manage.call("PATCH", &repository_path("team", "open"), Some(public)).await.expect(201);
    Stage { region, admin, members, stranger, image }
}

impl Stage {
    async fn open(&self, user: &User, repository: &str) -> Repository {
        self.region.registry(user).open(repository, "pull,push,delete").await
    }
}

/// What a caller sees of an answer: all but what is different each time, with one name put for another.
fn seen(reply: &Reply, name: &str) -> (u16, String, Vec<(String, String)>) {
    let plain = |text: &str| text.replace(name, "NAME");
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .filter(|(header, _)| !matches!(header.as_str(), "date" | "x-request-id" | "content-length"))
        .map(|(header, value)| (header.to_string(), plain(value.to_str().unwrap_or_default())))
        .collect();
    headers.sort();
    (reply.status, plain(&reply.text()), headers)
}

async fn send(repository: &Repository, method: &Method, path: &str) -> Reply {
    http::send(repository.request(method.clone(), path).header("Content-Length", "0")).await
}

fn without_session((status, body, headers): (u16, String, Vec<(String, String)>)) -> (u16, String, Vec<String>) {
    let names = headers.into_iter().map(|(name, _)| name).collect();
    (status, body, names)
}

/// H1: to a stranger a mount of what another tenant has, of what nobody has, and no mount at all are one and the same.
#[tokio::test]
async fn h1_a_mount_is_no_oracle() {
    let stage = stage().await;
    let repository = stage.open(&stage.stranger, "other/app").await;
    let (known, unknown) = (image::digest(&stage.image.blobs[1]), image::digest(b"nobody has this"));
    let plain = without_session(seen(&send(&repository, &Method::POST, "blobs/uploads/").await, "other/app"));
    assert_eq!(plain.0, 202);
    for digest in [&known, &unknown] {
        for from in ["&from=team/secret", "&from=team/none", "&from=nobody/none", ""] {
            let reply = send(&repository, &Method::POST, &format!("blobs/uploads/?mount={digest}{from}")).await;
            assert_eq!(without_session(seen(&reply, "other/app")), plain, "{from}");
        }
    }
    send(&repository, &Method::HEAD, &format!("blobs/{known}")).await.expect(404);
}

/// H2: whoever knows a digest has nothing yet; an upload without the bytes is refused, whoever has them.
#[tokio::test]
async fn h2_a_digest_gives_nothing() {
    let stage = stage().await;
    let repository = stage.open(&stage.stranger, "other/app").await;
    let bytes = &stage.image.blobs[1];
    let digest = image::digest(bytes);
    for method in [Method::HEAD, Method::GET, Method::DELETE] {
        send(&repository, &method, &format!("blobs/{digest}")).await.expect(404);
    }
    for path in [format!("blobs/uploads/?digest={digest}"), format!("blobs/uploads/?mount={digest}&digest={digest}")] {
        let reply = send(&repository, &Method::POST, &path).await;
        assert!(matches!(reply.status, 400 | 202), "{path}: {} {}", reply.status, reply.text());
    }
    let started = send(&repository, &Method::POST, "blobs/uploads/").await.expect(202);
    let session = started.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
    send(&repository, &Method::PUT, &format!("blobs/uploads/{session}?digest={digest}")).await.expect(400);
    send(&repository, &Method::HEAD, &format!("blobs/{digest}")).await.expect(404);
    repository.push_blob(bytes).await;
    send(&repository, &Method::HEAD, &format!("blobs/{digest}")).await.expect(200);
}

/// H3: in a repository that somebody may not read, nothing tells what is there from what is not.
#[tokio::test]
async fn h3_existence_is_no_secret_that_leaks() {
    let stage = stage().await;
    let blob = image::digest(&stage.image.blobs[0]);
    let manifest = stage.image.digest();
    let paths = [
        (Method::GET, "manifests/v1".to_owned()),
        (Method::HEAD, "manifests/v1".to_owned()),
        (Method::PUT, "manifests/v1".to_owned()),
        (Method::DELETE, format!("manifests/{manifest}")),
        (Method::GET, format!("blobs/{blob}")),
        (Method::HEAD, format!("blobs/{blob}")),
        (Method::DELETE, format!("blobs/{blob}")),
        (Method::GET, "tags/list".to_owned()),
        (Method::GET, format!("referrers/{manifest}")),
        (Method::POST, "blobs/uploads/".to_owned()),
    ];
    let nobody = stage.region.anonymous();
    let users = [&stage.stranger, &stage.members[&0]];
    let mut callers = vec![("nobody", nobody)];
    callers.extend(users.map(|user| (user.name.as_str(), stage.region.registry(user))));
    for (caller, registry) in callers {
        let (there, absent) =
            (registry.open(SECRET, "pull,push,delete").await, registry.open("team/nil", "pull,push,delete").await);
        for (method, path) in &paths {
            let first = seen(&send(&there, method, path).await, SECRET);
            let second = seen(&send(&absent, method, path).await, "team/nil");
            assert_eq!(first, second, "{method} {path} by {caller}");
            assert_eq!(first.0, 401, "{method} {path} by {caller}");
        }
    }
    for user in users {
        let manage = stage.region.manage(user);
        for (method, rest) in [
            ("GET", ""),
            ("GET", "/tags"),
            ("GET", "/tags/v1"),
            ("DELETE", ""),
            ("DELETE", "/tags/v1"),
            ("GET", "/access"),
        ] {
            let there = manage.call(method, &format!("{}{rest}", repository_path("team", "secret")), None).await;
            let absent = manage.call(method, &format!("{}{rest}", repository_path("team", "nil")), None).await;
            assert_eq!(seen(&there, "secret"), seen(&absent, "nil"), "{method} {rest} by {}", user.name);
            assert_eq!(there.status, 403, "{method} {rest} by {}", user.name);
        }
    }
    stage.region.registry(&stage.admin).pull(SECRET, "v1").await;
}

/// H4: a manifest may name only what its own repository has; another tenant's blob is as unknown as nobody's.
#[tokio::test]
async fn h4_references_are_checked_in_their_own_repository() {
    let stage = stage().await;
    let repository = stage.open(&stage.stranger, "other/app").await;
    let stranger = Image::random(&mut Random::seeded(8), 2, 5000);
    let mut replies = Vec::new();
    for image in [&stage.image, &stranger] {
        let reply = repository.put_manifest("v1", image.media_type, &image.raw).await;
        assert_eq!((reply.status, reply.json()["errors"][0]["code"].as_str()), (404, Some("MANIFEST_BLOB_UNKNOWN")));
        let digests = image.blobs.iter().map(|blob| image::digest(blob));
        replies.push(digests.fold(reply.text(), |text, digest| text.replace(&digest, "DIGEST")));
    }
    assert_eq!(replies[0], replies[1]);
    let index = Image::index(vec![stage.image.clone()]);
    let reply = repository.put_manifest("v1", index.media_type, &index.raw).await;
    assert_eq!((reply.status, reply.json()["errors"][0]["code"].as_str()), (404, Some("MANIFEST_BLOB_UNKNOWN")));
    send(&repository, &Method::GET, "manifests/v1").await.expect(404);
    assert_eq!(stage.region.registry(&stage.stranger).tag_digest("other/app", "v1").await, None);
}

/// H5: lists and counts show what the same caller could open, and nothing else.
#[tokio::test]
async fn h5_lists_and_counts_are_filtered() {
    let stage = stage().await;
    let own = stage.open(&stage.stranger, "other/app").await;
    own.push("mine", &Image::random(&mut Random::seeded(9), 1, 100)).await;
    let catalog = async |user: &User| {
        let answer = stage.region.registry(user).ask_token("registry:catalog:*").await.expect(200).json();
        let url = format!("{}/v2/_catalog", stage.region.url());
        let reply = http::send(http::client().get(url).bearer_auth(answer["token"].as_str().unwrap())).await;
        if reply.status == 200 { reply.json()["repositories"].clone() } else { Value::Null }
    };
    let foreign = catalog(&stage.stranger).await.to_string();
    assert!(!foreign.contains("secret"), "{foreign}");
    let none = catalog(&stage.members[&0]).await.to_string();
    assert!(!none.contains("secret") && !none.contains("other"), "{none}");
    let reader = catalog(&stage.members[&1]).await.to_string();
    assert!(!reader.contains("other"), "{reader}");
    for user in [&stage.stranger, &stage.members[&0]] {
        for target in ["/v2/manage/repos", "/v3/manage/repos", "/v2/manage/namespaces", "/v2/manage/overview"] {
            let reply = stage.region.manage(user).call("GET", target, None).await;
            let text = reply.text();
            assert!(!text.contains("secret"), "{target} by {}: {text}", user.name);
            // What is public names its organization; nothing else does.
            assert!(target.ends_with("/repos") || !text.contains("\"team\""), "{target} by {}: {text}", user.name);
        }
    }
    let overview =
        stage.region.manage(&stage.stranger).call("GET", "/v2/manage/overview", None).await.expect(200).json();
    let mine = stage.region.manage(&stage.admin).call("GET", "/v2/manage/overview", None).await.expect(200).json();
    assert_ne!(overview, mine, "each account counts its own");
}

/// H6: an upload session is its opener's, in its repository, and cannot be guessed.
#[tokio::test]
async fn h6_a_session_belongs_to_its_opener_and_repository() {
    let stage = stage().await;
    let mine = stage.open(&stage.members[&3], SECRET).await;
    let colleague = stage.open(&stage.members[&7], SECRET).await;
    let elsewhere = stage.open(&stage.members[&3], "team/open").await;
    let started = send(&mine, &Method::POST, "blobs/uploads/").await.expect(202);
    let session = started.header("location").unwrap().rsplit('/').next().unwrap().to_owned();
    assert!(session.len() >= 32, "128 bits: {session}");
    let digest = image::digest(b"");
    for other in [&colleague, &elsewhere] {
        for (method, query) in [(Method::GET, ""), (Method::PATCH, ""), (Method::PUT, "?digest="), (Method::DELETE, "")]
        {
            let query = if query.is_empty() { String::new() } else { format!("{query}{digest}") };
            send(other, &method, &format!("blobs/uploads/{session}{query}")).await.expect(404);
        }
    }
    send(&mine, &Method::GET, &format!("blobs/uploads/{session}")).await.expect(204);
    send(&mine, &Method::DELETE, &format!("blobs/uploads/{session}")).await.expect(204);
}

/// H7 and H8: a target is a name in the operator's list, never an address; and nothing that a tenant writes is fetched.
#[tokio::test]
async fn h7_h8_no_address_of_a_caller_is_ever_called() {
    let stage = stage().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let trap = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let manage = stage.region.manage(&stage.admin);
    for region in
        [&format!("http://{trap}"), &trap, &format!("{trap}/v2"), "../x", "http://169.254.169.254/", pair::SOURCE]
    {
        let sync = Sync { region, namespace: "team", ..Sync::of(&["v1"]) };
        let reply = manage.sync_images("team", "secret", &sync).await;
        assert!(matches!(reply.status, 400 | 404), "{region}: {} {}", reply.status, reply.text());
    }
    for namespace in ["../x", "a/b", "a@evil", "a?x=1", "a#b", "a%2f", "A", "", "ä", &trap] {
        let reply = manage.sync_images("team", "secret", &Sync { namespace, ..Sync::of(&["v1"]) }).await;
        assert_eq!(reply.status, 400, "{namespace}: {}", reply.text());
    }
    // Layers with addresses of their own, of the kind that clients fetch from elsewhere.
    let foreign = json!({"schemaVersion": 2, "mediaType": image::IMAGE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": image::digest(&stage.image.blobs[0]), "size": stage.image.blobs[0].len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": image::digest(b"far away"), "size": 8,
            "urls": [format!("http://{trap}/layer")]}]});
    let repository = stage.open(&stage.admin, SECRET).await;
    repository.put_manifest("foreign", image::IMAGE, foreign.to_string().as_bytes()).await;
    send(&repository, &Method::GET, "manifests/foreign").await;
    assert!(listener.accept().is_err(), "the region called an address that a tenant wrote");
}

/// H9: `$` in a path of the management API is a slash of the name, and nothing else becomes one.
#[tokio::test]
async fn h9_one_repository_has_one_spelling() {
    let stage = stage().await;
    let deep = Image::random(&mut Random::seeded(3), 1, 100);
    stage.region.registry(&stage.admin).push("team/a/b", "v1", &deep).await;
    let manage = stage.region.manage(&stage.admin);
    let path = |name: &str| format!("/v2/manage/namespaces/team/repos/{name}");
    for spelling in ["a$b", "a%24b"] {
        assert_eq!(manage.call("GET", &path(spelling), None).await.expect(200).json()["name"], "a/b");
    }
    for spelling in ["a$$b", "$a", "a$", "$..$", "a%252Fb", "a%2524b", "a$manifests$b", "a%00b", "A$b"] {
        let reply = manage.call("GET", &path(spelling), None).await;
        assert!(matches!(reply.status, 400 | 404), "{spelling}: {} {}", reply.status, reply.text());
    }
    // The right is that on the name which was meant, not on how it is written.
    for spelling in ["a$b", "a%24b"] {
        stage.region.manage(&stage.stranger).call("GET", &path(spelling), None).await.expect(403);
    }
    let reply = stage.region.manage(&stage.stranger).call("GET", &path("a%2Fb"), None).await;
    assert_ne!(reply.status, 200, "{}", reply.text());
}

/// H11: a signed request that is sent again does nothing a second time, and one that was changed does nothing at all.
#[tokio::test]
async fn h11_a_signed_request_replayed_has_no_second_effect() {
    let stage = stage().await;
    let (host, url) = (stage.region.host(), stage.region.url());
    let User { access_key, secret_key, .. } = &stage.admin;
    let sent = async |method: &str, target: &str, body: &str, headers: &[signature::Header]| {
        let mut request = http::client().request(method.parse().unwrap(), format!("{url}{target}"));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        http::send(request.header("Content-Type", "application/json").body(body.to_owned())).await
    };
    let (target, body) = ("/v2/manage/namespaces", r#"{"namespace":"again"}"#);
    let signed = signature::sign("POST", &host, target, body.as_bytes(), access_key, secret_key);
    sent("POST", target, body, &signed).await.expect(201);
    sent("POST", target, body, &signed).await.expect(409);
    // The signature is on method, path, query, host and body.
    for (method, target, body) in [
        ("POST", target, r#"{"namespace":"other"}"#),
        ("POST", "/v2/manage/namespaces?x=1", body),
        ("POST", "/v2/manage/utils/secret", body),
        ("PUT", target, body),
    ] {
        let reply = sent(method, target, body, &signed).await;
        assert!(matches!(reply.status, 401 | 404), "{method} {target}: {} {}", reply.status, reply.text());
    }
    let without_host: Vec<signature::Header> = signed
        .iter()
        .map(|(name, value)| (*name, value.replace("SignedHeaders=host;x-sdk-date", "SignedHeaders=x-sdk-date")))
        .collect();
    sent("POST", target, body, &without_host).await.expect(401);
    let names = stage.region.manage(&stage.admin).call("GET", target, None).await.expect(200).text();
    assert!(names.contains("\"again\"") && !names.contains("\"other\""), "{names}");
}

/// H12: what is taken from a user is gone: at once where the catalog is asked, and for the registry with its short token.
#[tokio::test]
async fn h12_what_is_revoked_is_gone() {
    let stage = stage().await;
    let (user, manage) = (&stage.members[&3], stage.region.manage(&stage.admin));
    let scope = format!("repository:{SECRET}:pull,push");
    let answer = stage.region.registry(user).ask_token(&scope).await.expect(200).json();
    assert!(answer["expires_in"].as_u64().unwrap() <= 300, "{answer}");
    let (_, token) = stage.region.iam_token(user).await;
    let list = || {
        http::client().get(format!("{}/v2/manage/namespaces/team", stage.region.url())).header("X-Auth-Token", &token)
    };
    http::send(list()).await.expect(200);
    // A lower level: the next registry token does not have what was taken.
    let id = stage.region.user_id(user).await;
    let access = "/v2/manage/namespaces/team/access";
    manage.call("PATCH", access, Some(json!([{"user_id": id, "user_name": user.name, "auth": 1}]))).await.expect(201);
    let repository = stage.region.registry(user).open(SECRET, "pull,push").await;
    send(&repository, &Method::GET, "manifests/v1").await.expect(200);
    send(&repository, &Method::POST, "blobs/uploads/").await.expect(401);
    manage.call("DELETE", access, Some(json!([id]))).await.expect(204);
    http::send(list()).await.expect(403);
    let repository = stage.region.registry(user).open(SECRET, "pull").await;
    send(&repository, &Method::GET, "manifests/v1").await.expect(401);
    // A user that is disabled, beside the running region: its token, its password and its keys end at once.
    stage.region.admin(&["user", "disable", "--account", ACCOUNT, "--name", &user.name]).await;
    http::send(list()).await.expect(401);
    stage.region.manage(user).call("GET", "/v2/manage/namespaces", None).await.expect(401);
    stage.region.registry(user).ask_token(&scope).await.expect(401);
}

/// H13: no secret is in the log or, readable, in the catalog.
#[tokio::test]
async fn h13_secrets_are_nowhere_to_be_read() {
    let stage = stage().await;
    let (_, token) = stage.region.iam_token(&stage.admin).await;
    let login = transship_tests::registry::login_of(stage.region.id(), &stage.admin);
    let answer = stage.region.registry(&stage.admin).ask_token("repository:team/secret:pull").await.expect(200).json();
    let registry_token = answer["token"].as_str().unwrap().to_owned();
    let wrong = transship_tests::registry::Registry::new(
        &stage.region.url(),
        Some(("demo/admin".into(), "wrong-Passw0rd".into())),
    );
    wrong.ask_token("").await.expect(401);
    let url = format!("{}/v2/manage/repos?password=in-the-query", stage.region.url());
    http::send(http::client().get(url).header("X-Auth-Token", &token)).await;
    let User { secret_key, password, .. } = &stage.admin;
    let secrets = [secret_key, password, &login.1, &token, &registry_token, "wrong-Passw0rd", "in-the-query"];
    let log = stage.region.log();
    assert!(log.contains("/swr/auth/v2/registry/auth/"), "requests are logged");
    for secret in secrets {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
    for name in ["catalog.db", "catalog.db-wal"] {
        let bytes = std::fs::read(stage.region.data_dir().join(name)).unwrap();
        for secret in secrets {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{name} holds {secret}");
        }
    }
}

/// H14: one call cannot ask for unbounded work.
#[tokio::test]
async fn h14_requests_have_limits() {
    let stage = stage().await;
    let repository = stage.open(&stage.admin, SECRET).await;
    let large = vec![b' '; (4 << 20) + 1];
    repository.put_manifest("large", image::IMAGE, &large).await.expect(413);
    let deep = format!("{{\"schemaVersion\":2,\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    repository.put_manifest("deep", image::IMAGE, deep.as_bytes()).await.expect(400);
    let tags: Vec<String> = (0..1001).map(|number| format!("t{number}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let reply = stage.region.manage(&stage.admin).sync_images("team", "secret", &Sync::of(&tags)).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let get = |path: &str| http::client().get(format!("{}{path}", stage.region.url()));
    http::send(get(&format!("/v2/{}", "a".repeat(9000)))).await.expect(414);
    http::send(get("/v2/").header("X-Large", "a".repeat(40_000))).await.expect(431);
}

/// H15 and H16: whatever bytes a tenant pushed, a browser is told to save them and not to look what they are.
#[tokio::test]
async fn h16_blobs_are_never_shown() {
    let stage = stage().await;
    let repository = stage.open(&stage.admin, "team/open").await;
    let html = b"<!doctype html><script>alert(document.domain)</script>";
    repository.push_blob(html).await;
    let path = format!("blobs/{}", image::digest(html));
    let whole = send(&repository, &Method::GET, &path).await.expect(200);
    let part = http::send(repository.request(Method::GET, &path).header("Range", "bytes=0-9")).await.expect(206);
    let head = send(&repository, &Method::HEAD, &path).await.expect(200);
    for reply in [&whole, &part, &head] {
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("content-disposition"), Some("attachment"));
    }
    // Manifests keep the type that they came with, so HTML is not one of them.
    for kind in ["text/html", "image/svg+xml"] {
        repository.put_manifest("page", kind, &stage.image.raw).await.expect(400);
    }
}

/// Who asks, in the matrix of I15.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Nobody,
    Stranger,
    Member(i64),
    Admin,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Action {
    Pull,
    Push,
    Delete,
}

/// The policy, written a second time: contract 3.3 and 5.2.
fn may(kind: Kind, action: Action, public: bool) -> bool {
    match (kind, action) {
        (Kind::Admin, _) => true,
        (Kind::Member(level), Action::Pull) => level >= 1 || public,
        (Kind::Member(level), Action::Push) => level >= 3,
        (Kind::Member(level), Action::Delete) => level >= 7,
        (Kind::Nobody | Kind::Stranger, Action::Pull) => public,
        (Kind::Nobody | Kind::Stranger, Action::Push | Action::Delete) => false,
    }
}

/// I15: every kind of caller, every action of the registry, every kind of repository.
#[tokio::test]
async fn i15_every_answer_is_that_of_the_policy() {
    let stage = stage().await;
    let kinds =
        [Kind::Nobody, Kind::Stranger, Kind::Member(0), Kind::Member(1), Kind::Member(3), Kind::Member(7), Kind::Admin];
    let mut wrong = Vec::new();
    for kind in kinds {
        let registry = match kind {
            Kind::Nobody => stage.region.anonymous(),
            Kind::Stranger => stage.region.registry(&stage.stranger),
            Kind::Member(level) => stage.region.registry(&stage.members[&level]),
            Kind::Admin => stage.region.registry(&stage.admin),
        };
        for action in [Action::Pull, Action::Push, Action::Delete] {
            // The last one does not exist, and must look to everybody as if it did and were private.
            for (name, exists, public) in
                [(SECRET, true, false), ("team/open", true, true), ("team/nil-a", false, false)]
            {
                let repository = registry.open(name, "pull,push,delete").await;
                let (method, path, done) = match action {
                    Action::Pull => (Method::GET, "manifests/v1", if exists { 200 } else { 404 }),
                    Action::Push => (Method::POST, "blobs/uploads/", 202),
                    Action::Delete => (Method::DELETE, "manifests/none", 404),
                };
                let reply = send(&repository, &method, path).await;
                let expected = if may(kind, action, public) { done } else { 401 };
                if reply.status != expected {
                    wrong.push(format!("{kind:?} {action:?} {name}: {} and not {expected}", reply.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
