//! Bodies one byte short of their end: they cost their sender nothing, so they must cost the region little (I16), whoever
//! sends them, and nobody else may feel them. What a head alone can refuse is refused before a byte of the body.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use transship_tests::http2::{self, ACK, DATA, FIRST_WINDOW, SETTINGS, WINDOW_UPDATE};
use transship_tests::image::{self, Image};
use transship_tests::manage::{Sync, User, repository_path};
use transship_tests::pair::{Pair, PairSettings, SDSAD};
use transship_tests::random::Random;
use transship_tests::region::{ACCOUNT, Region, RegionSettings};
use transship_tests::single::APP;
use transship_tests::{clients, http, signature};

/// For each step of a client that behaves. Nothing takes long, but the machine may be busy.
const LIMIT: Duration = Duration::from_mins(1);
/// Refusals come at once; bodies that are waited for would have longer than this.
const AT_ONCE: Duration = Duration::from_secs(15);
/// How much a crowd may cost.
const MOST_KIB: u64 = 64 * 1024;
/// As many as send such bodies.
const CROWD: usize = 200;
const TOKEN: &str = "/swr/auth/v2/registry/auth/";
const NAMESPACES: &str = "/v2/manage/namespaces";

type Headers<'a> = Vec<(&'a str, &'a str)>;

/// A region, and what it costs at rest.
struct Stage {
    region: Region,
    admin: User,
    image: Image,
    rest_kib: u64,
}

impl Stage {
    async fn start() -> Self {
        let admin = User::named("admin");
        let mut settings = RegionSettings::named("region-a");
        settings.tls = true;
        let mut region = Region::prepare(settings, &admin).await;
        region.start().await;
        region.manage(&admin).create_namespace("group").await;
        let image = Image::random(&mut Random::seeded(1), 1, 10_000);
        region.registry(&admin).push(APP, "v1", &image).await;
        let mut stage = Self { region, admin, image, rest_kib: 0 };
        for number in 0..3 {
            stage.serve_somebody(&format!("warm{number}")).await;
        }
        stage.rest_kib = stage.region.resident_memory_kib();
        stage
    }

    /// Somebody logs in with a password, makes and deletes an organization with a signature, and pushes and pulls. All of
    /// it comes from the address that the crowd comes from.
    async fn serve_somebody(&self, name: &str) {
        let work = async {
            self.region.iam_token(&self.admin).await;
            let manage = self.region.manage(&self.admin);
            manage.create_namespace(name).await;
            manage.call("DELETE", &format!("{NAMESPACES}/{name}"), None).await.expect(204);
            let registry = self.region.registry(&self.admin);
            registry.push(APP, name, &self.image).await;
            assert_eq!(registry.pull(APP, name).await.digest, self.image.digest());
            let form = [
                ("grant_type", "password"),
                ("client_id", "a"),
                ("service", "dockyard"),
                ("username", &self.admin.name),
                ("password", &self.admin.password),
            ];
            let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let post = http::client().post(format!("{}{TOKEN}", self.region.url())).body(body.join("&"));
            http::send(post.header("Content-Type", "application/x-www-form-urlencoded")).await.expect(200);
        };
        tokio::time::timeout(LIMIT, work).await.expect("somebody who behaves is served");
    }

    /// The head of a request; its body is announced with so many bytes.
    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], bytes: usize) -> String {
        let host = self.region.host();
        let own = if headers.iter().any(|(name, _)| *name == "Host") { None } else { Some(("Host", host.as_str())) };
        let lines = own.iter().chain(headers).map(|(name, value)| format!("{name}: {value}\r\n"));
        let lines: String = lines.collect();
        format!("{method} {path} HTTP/1.1\r\nContent-Length: {bytes}\r\n{lines}\r\n")
    }

    /// Headers that sign a management call with another secret than the key has, which only the whole body can show.
    fn forged(&self) -> Vec<signature::Header> {
        signature::sign("POST", &self.region.host(), NAMESPACES, b"{}", &self.admin.access_key, "another secret")
    }

    async fn token(&self) -> String {
        let app = self.region.registry(&self.admin).open(APP, "pull,push").await;
        let get = app.request(Method::GET, "").build().expect("a request");
        get.headers()["authorization"].to_str().expect("a token is text").to_owned()
    }

    fn assert_bounded(&self, what: &str) {
        let grown = self.region.peak_memory_kib().saturating_sub(self.rest_kib);
        assert!(grown < MOST_KIB, "{what}: {grown} KiB more than at rest");
    }
}

async fn connect(host: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket can be had");
    let address = host.parse().expect("an address");
    socket.connect(address).await.unwrap_or_else(|error| panic!("no connection to {host}: {error}"))
}

fn borrowed(headers: &[signature::Header]) -> Headers<'_> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Sends a head and all but one byte of the body, as far as the other side takes it, and keeps the connection.
async fn all_but_one_byte(host: &str, head: &str, bytes: usize) -> TcpStream {
    let mut stream = connect(host).await;
    let body = vec![b' '; bytes - 1];
    let sending = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await
    };
    // Whoever is refused early may be cut off, or stop being read.
    let _: Result<std::io::Result<()>, _> = tokio::time::timeout(Duration::from_secs(5), sending).await;
    stream
}

/// Two hundred connections, again and again, on every way in that reads a body whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_strangers_cost_others_nothing() {
    let stage = Stage::start().await;
    let host = stage.region.host();
    let (forged, manifest) = (stage.forged(), format!("/v2/{APP}/manifests/bad"));
    let ways: [(&str, &str, &str, Headers<'_>, usize); 7] = [
        ("token of a region", "POST", "/transship/v1/token", vec![("Authorization", "Bearer abc")], 4 << 20),
        ("management", "POST", NAMESPACES, vec![], 1 << 20),
        ("management, signed", "POST", NAMESPACES, borrowed(&forged), 1 << 20),
        ("IAM", "POST", "/v3/auth/tokens", vec![], 64 << 10),
        ("IAM, by GET", "GET", "/v3/projects", vec![("X-Auth-Token", "abc")], 64 << 10),
        ("token endpoint", "POST", TOKEN, vec![], 64 << 10),
        ("manifest", "PUT", &manifest, vec![], 4 << 20),
    ];
    for (number, (what, method, path, headers, bytes)) in ways.into_iter().enumerate() {
        let head = stage.head(method, path, &headers, bytes);
        let crowd = futures::future::join_all((0..CROWD).map(|_| all_but_one_byte(&host, &head, bytes))).await;
        for turn in 0..3 {
            stage.serve_somebody(&format!("way{number}-{turn}")).await;
        }
        drop(crowd);
        stage.assert_bounded(what);
    }
}

/// The same by somebody who may push, and pushes manifests that never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_one_account_cost_others_little() {
    const BYTES: usize = 4 << 20;
    let stage = Stage::start().await;
    let (host, token) = (stage.region.host(), stage.token().await);
    let (_, iam_token) = stage.region.iam_token(&stage.admin).await;
    let manifest = format!("/v2/{APP}/manifests/bad");
    let headers = [("Authorization", token.as_str()), ("Content-Type", image::IMAGE)];
    let manifests = stage.head("PUT", &manifest, &headers, BYTES);
    let calls = stage.head("POST", NAMESPACES, &[("X-Auth-Token", &iam_token)], 1 << 20);
    for (what, head, bytes) in [("manifests", manifests, BYTES), ("calls", calls, 1 << 20)] {
        let crowd = futures::future::join_all((0..CROWD).map(|_| all_but_one_byte(&host, &head, bytes))).await;
        for turn in 0..3 {
            stage.serve_somebody(&format!("{what}{turn}")).await;
        }
        drop(crowd);
        stage.assert_bounded(what);
    }
}

/// One connection is enough with HTTP/2: a hundred streams, each a byte short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_one_connection_cost_others_nothing() {
    const BYTES: usize = (1 << 20) - 1;
    let stage = Stage::start().await;
    let (mut reader, mut writer) = http2::connect(&stage.region, b"").await;
    // The windows of the region's settings hold from when they are acknowledged.
    while reader.next().await.expect("the region has settings").kind != SETTINGS {}
    writer.send(&http2::frame(SETTINGS, ACK, 0, b"")).await.expect("the acknowledgement is taken");
    let (window, room) = tokio::sync::watch::channel(usize::try_from(FIRST_WINDOW).expect("it fits"));
    let reading = tokio::spawn(async move {
        while let Some(frame) = reader.next().await {
            if frame.kind == WINDOW_UPDATE && frame.stream == 0 {
                let more = frame.payload[..4].try_into().map(u32::from_be_bytes).expect("an increment");
                window.send_modify(|window| *window += usize::try_from(more).expect("it fits"));
            }
        }
    });
    let authority = stage.region.tls().0.replace("https://", "");
    let signed = signature::sign("POST", &authority, NAMESPACES, b"{}", &stage.admin.access_key, "another secret");
    let signed: Vec<(String, &str)> = signed
        .iter()
        .filter(|(name, _)| *name != "Host")
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
        .collect();
    let signed: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let mut sent = 0;
    let sending = async {
        for number in 0..100 {
            let stream = number * 2 + 1;
            writer.send(&http2::post(stream, &authority, NAMESPACES, &signed)).await?;
            for piece in vec![b' '; BYTES].chunks(16 * 1024) {
                let mut room = room.clone();
                sent += piece.len();
                room.wait_for(|window| *window >= sent).await.map_err(std::io::Error::other)?;
                writer.send(&http2::frame(DATA, 0, stream, piece)).await?;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    let sent_all = tokio::time::timeout(LIMIT, sending).await;
    sent_all.expect("the region reads on, or refuses").expect("the connection goes on");
    for turn in 0..3 {
        stage.serve_somebody(&format!("stream{turn}")).await;
    }
    stage.assert_bounded("a hundred streams");
    reading.abort();
}

/// What no body could make good: the answer comes while the body has not begun.
#[tokio::test]
async fn what_a_head_can_refuse_is_refused_before_the_body() {
    let stage = Stage::start().await;
    let host = stage.region.host();
    let admin = &stage.admin;
    let unknown = signature::sign("POST", &host, NAMESPACES, b"{}", "NOSUCHKEY", "secret");
    let mut outdated = signature::sign("POST", &host, NAMESPACES, b"{}", &admin.access_key, &admin.secret_key);
    outdated
        .iter_mut()
        .filter(|(name, _)| *name == "X-Sdk-Date")
        .for_each(|(_, date)| "20200101T000000Z".clone_into(date));
    let undated = signature::sign("POST", &host, NAMESPACES, b"{}", &admin.access_key, &admin.secret_key);
    let undated: Vec<signature::Header> = undated.into_iter().filter(|(name, _)| *name != "X-Sdk-Date").collect();
    let (_, token) = stage.region.iam_token(admin).await;
    let registry_token = stage.token().await;
    let basic = format!("Basic {}", STANDARD.encode("a:b"));
    let manifest = format!("/v2/{APP}/manifests/bad");
    let cases: Vec<(&str, &str, Headers<'_>, usize, u16)> = vec![
        ("POST", NAMESPACES, vec![], 100, 401),
        ("POST", NAMESPACES, vec![("X-Auth-Token", "abc")], 100, 401),
        ("POST", NAMESPACES, vec![("Authorization", "Bearer abc")], 100, 401),
        ("POST", NAMESPACES, vec![("Authorization", &basic)], 100, 401),
        ("POST", NAMESPACES, vec![("Authorization", "SDK-HMAC-SHA256 Access=A")], 100, 401),
        ("POST", NAMESPACES, borrowed(&unknown), 100, 401),
        ("POST", NAMESPACES, borrowed(&outdated), 100, 401),
        ("POST", NAMESPACES, borrowed(&undated), 100, 401),
        ("POST", NAMESPACES, vec![("X-Auth-Token", &token)], (1 << 20) + 1, 413),
        ("POST", "/v2/manage/none", vec![], 100, 404),
        ("GET", "/v3/projects", vec![], 100, 401),
        ("GET", "/v3/users", vec![("X-Auth-Token", "abc")], 100, 401),
        ("POST", "/v3/auth/tokens", vec![], (64 << 10) + 1, 400),
        ("POST", "/transship/v1/token", vec![], 100, 401),
        ("POST", "/transship/v1/token", vec![("Authorization", "Bearer abc")], 100, 401),
        ("POST", "/transship/v1/prepare", vec![("Authorization", "Bearer abc")], 100, 401),
        ("POST", "/transship/v1/withdraw", vec![("Authorization", "Bearer abc")], 100, 401),
        ("POST", TOKEN, vec![], (64 << 10) + 1, 400),
        ("PUT", &manifest, vec![], 100, 401),
        ("PUT", &manifest, vec![("Authorization", "Bearer abc")], 100, 401),
        ("PUT", &manifest, vec![("Authorization", &registry_token)], (4 << 20) + 1, 413),
    ];
    for (method, path, headers, bytes, status) in cases {
        let what = format!("{method} {path} {headers:?} {bytes}");
        let mut stream = connect(&host).await;
        stream.write_all(stage.head(method, path, &headers, bytes).as_bytes()).await.expect("a head is taken");
        let mut answer = [0; 12];
        let read = tokio::time::timeout(AT_ONCE, stream.read_exact(&mut answer)).await;
        read.unwrap_or_else(|_| panic!("{what}: no answer before the body"))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{what}");
    }
}

/// A call that waits for its jobs for a minute holds nothing of its body, so its account can go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_leave_their_account_its_room() {
    let mut pair = Pair::start(PairSettings::waiting(60)).await;
    let image = Image::random(&mut Random::seeded(1), 1, 100);
    pair.source_registry().push(APP, "v1", &image).await;
    pair.target.terminate().await;
    let (namespace, repository) = APP.split_once('/').expect("a full name");
    let mut body = Sync::of(&["v1"]).body();
    body["padding"] = json!("x".repeat((1 << 20) - 1000));
    let path = format!("{}/sync_images", repository_path(namespace, repository));
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (manage, path, body) = (pair.manage(), path.clone(), body.clone());
            tokio::spawn(async move {
                loop {
                    let status = manage.call("POST", &path, Some(body.clone())).await.status;
                    if status != 429 {
                        return status;
                    }
                    // All of them at once are more than one address may have unfinished.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            })
        })
        .collect();
    // All of them are in their wait by then.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!calls.iter().any(tokio::task::JoinHandle::is_finished), "they wait");
    let opened = pair.source_registry().open(APP, "pull,push").await;
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.raw).expect("a manifest is JSON");
    manifest["annotations"] = json!({"pad": "x".repeat(2_000_000)});
    opened.put_manifest("large", image::IMAGE, manifest.to_string().as_bytes()).await.expect(201);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A refusal that comes before the body must not be lost under it, and a small body does not cost its connection.
#[tokio::test]
async fn an_early_refusal_reaches_who_sends_on() {
    let stage = Stage::start().await;
    let host = stage.region.host();
    for (path, bytes) in [(NAMESPACES, 1 << 20), ("/transship/v1/token", 4 << 20), (NAMESPACES, 5 << 20)] {
        for _ in 0..10 {
            let mut stream = connect(&host).await;
            let head = stage.head("POST", path, &[], bytes);
            stream.write_all(&[head.as_bytes(), &vec![b' '; bytes]].concat()).await.expect("all of it is taken");
            let next = format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(next.as_bytes()).await.expect("the connection goes on");
            let mut answers = String::new();
            let read = tokio::time::timeout(LIMIT, stream.read_to_string(&mut answers)).await;
            read.expect("the answers come").expect("the connection does not break");
            assert!(answers.starts_with("HTTP/1.1 401 ") && answers.contains("HTTP/1.1 200 "), "{path}: {answers}");
        }
    }
}

/// Whatever the pace: a body of somebody who is not known has half a minute, and its sender is told.
#[tokio::test]
async fn a_body_that_trickles_ends_in_time() {
    let stage = Stage::start().await;
    let host = stage.region.host();
    let forged = stage.forged();
    for (path, headers) in [("/v3/auth/tokens", vec![]), (TOKEN, vec![]), (NAMESPACES, borrowed(&forged))] {
        let mut stream = connect(&host).await;
        stream.write_all(stage.head("POST", path, &headers, 10_000).as_bytes()).await.expect("a head is taken");
        let (mut reader, mut writer) = stream.into_split();
        let trickle = tokio::spawn(async move {
            while writer.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        let mut answer = String::new();
        let read = tokio::time::timeout(2 * LIMIT, reader.read_to_string(&mut answer)).await;
        assert!(read.is_ok(), "{path}: it may go on for ever");
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("30 s"), "{path}: {answer}");
        trickle.abort();
    }
}

/// A region token of the source for the target, signed with the source's own key.
async fn region_token(pair: &Pair) -> String {
    let key = std::fs::read_to_string(pair.source.data_dir().join("region.key")).expect("the region has its key");
    let key = STANDARD.decode(key.trim()).expect("the key is base64");
    // The seed of an Ed25519 key stands behind 16 bytes of PKCS#8; openssl reads the form without the public key only.
    let plain = [&hex::decode("302e020100300506032b657004220420").expect("hexadecimal"), &key[16..48]].concat();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(plain));
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({
        "iss": pair.source.id(), "aud": pair.target.id(), "iat": now, "exp": now + 60,
        "jti": uuid::Uuid::new_v4().simple().to_string(), "purpose": "replicate",
        "account": ACCOUNT, "user": pair.admin.name, "namespace": SDSAD, "repository": "app",
    });
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"JWT"}"#);
    let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("key.pem"), pem).expect("the folder is writable");
    std::fs::write(file("text"), &text).expect("the folder is writable");
    let mut sign = clients::command("openssl", &["pkeyutl", "-sign", "-rawin", "-inkey", &file("key.pem")]);
    sign.args(["-in", &file("text"), "-out", &file("signature")]);
    clients::must(sign).await;
    let signature = std::fs::read(file("signature")).expect("openssl wrote it");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The largest question for a token is two names, also for a region that proves itself.
#[tokio::test]
async fn a_question_for_a_token_between_regions_has_4_kib() {
    let pair = Pair::start(PairSettings::default()).await;
    for (bytes, status) in [(100, 200), (4096, 200), (4097, 413), (1 << 20, 413)] {
        let mut question = json!({ "namespace": SDSAD, "repository": "app" }).to_string();
        question += &" ".repeat(bytes - question.len());
        let post = http::client().post(format!("{}/transship/v1/token", pair.target.url()));
        let post = post.bearer_auth(region_token(&pair).await).body(question);
        let reply = http::send(post).await;
        assert_eq!(reply.status, status, "{bytes}: {}", reply.text());
    }
}
