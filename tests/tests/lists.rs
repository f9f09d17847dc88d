//! Pages of lists cost what a page may cost, whatever is stored, however many are asked for at once, and however slowly
//! they are read.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use transship_tests::image::{self, Image};
use transship_tests::manage::{Manage, User, repository_path};
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::{http, pair, signature};

/// I16: what pages may cost over what the region needs at rest.
const MOST_KIB: u64 = 64 * 1024;
/// What all manifests, or all descriptions, of one page may have.
const PAGE_BYTES: usize = 4 << 20;
/// For each step. Nothing takes long, but the machine may be busy.
const LIMIT: Duration = Duration::from_mins(2);

struct Stage {
    region: Region,
    admin: User,
    image: Image,
}

async fn stage() -> Stage {
    let admin = User::named("admin");
    let mut region = Region::prepare(RegionSettings::named(pair::SOURCE), &admin).await;
    region.start().await;
    region.manage(&admin).create_namespace("group").await;
    let image = Image::random(&mut Random::seeded(1), 1, 100);
    Stage { region, admin, image }
}

impl Stage {
    fn manage(&self) -> Manage {
        self.region.manage(&self.admin)
    }

    /// Pushes a manifest of the image with an annotation of so many bytes.
    async fn push_padded(&self, repository: &str, tag: &str, bytes: usize) -> String {
        let opened = self.region.registry(&self.admin).open(repository, "pull,push").await;
        for blob in &self.image.blobs {
            opened.push_blob(blob).await;
        }
        let mut manifest: Value = serde_json::from_slice(&self.image.raw).expect("a manifest is JSON");
        manifest["annotations"] = json!({"tag": tag, "pad": "x".repeat(bytes)});
        let raw = manifest.to_string();
        opened.put_manifest(tag, image::IMAGE, raw.as_bytes()).await.expect(201);
        raw
    }

    /// A fresh process, so that what it needs at most is what comes from now on. Returns what it needs at rest.
    async fn at_rest(&mut self) -> u64 {
        self.region.terminate().await;
        self.region.start().await;
        for _ in 0..3 {
            self.manage().call("GET", "/v2/manage/repos", None).await.expect(200);
        }
        self.region.resident_memory_kib()
    }

    fn assert_bounded(&self, rest_kib: u64, what: &str) {
        let grown = self.region.peak_memory_kib().saturating_sub(rest_kib);
        assert!(grown <= MOST_KIB, "{what}: {grown} KiB more than at rest");
    }
}

#[tokio::test]
async fn many_tags_of_a_large_manifest_cost_one_page() {
    let mut stage = stage().await;
    let raw = stage.push_padded("group/app", "t000", 3_900_000).await;
    let tags = format!("{}/tags", repository_path("group", "app"));
    for number in 1..300 {
        let body = json!({"source_tag": "t000", "destination_tag": format!("t{number:03}")});
        stage.manage().call("POST", &tags, Some(body)).await.expect(201);
    }
    let rest = stage.at_rest().await;
    let manage = stage.manage();
    let v3 = tags.replace("/v2/", "/v3/");

    let all = manage.call("GET", &format!("{tags}?limit=1000&offset=0"), None).await.expect(200);
    assert_eq!(all.header("content-range"), Some("0-300/300"), "clients go on by their own offset");
    let records = all.json();
    let manifests: Vec<&str> =
        records.as_array().expect("a list").iter().map(|tag| tag["manifest"].as_str().unwrap()).collect();
    assert_eq!(manifests.len(), 300);
    assert!(manifests[0] == raw && manifests[1..].iter().all(|manifest| manifest.is_empty()));
    let plain = manage.call("GET", &format!("{v3}?limit=1000"), None).await.expect(200).json();
    assert_eq!((plain["tags"].as_array().map(Vec::len), &plain["has_more"]), (Some(300), &json!(false)));
    let page = manage.call("GET", &format!("{v3}?limit=1000&with_manifest=true"), None).await.expect(200).json();
    assert_eq!((page["tags"].as_array().map(Vec::len), &page["has_more"]), (Some(1), &json!(true)));
    assert!(page["tags"][0]["manifest"] == json!(raw) && page["nextMarker"] == "t000");
    let one = manage.call("GET", &format!("{tags}/t250"), None).await.expect(200).json();
    assert!(one["manifest"] == json!(raw));
    stage.assert_bounded(rest, "one after another");

    let pages = (0..24).map(|number| {
        let path = match number % 3 {
            0 => format!("{tags}?limit=1000&offset=0"),
            1 => format!("{v3}?limit=1000&with_manifest=true&marker=t{number:03}"),
            _ => format!("{tags}/t{number:03}"),
        };
        let manage = &manage;
        async move { manage.call("GET", &path, None).await.status }
    });
    let answers = tokio::time::timeout(LIMIT, futures::future::join_all(pages)).await.expect("all are answered");
    assert!(answers.iter().all(|status| matches!(status, 200 | 429)), "{answers:?}");
    assert!(answers.iter().filter(|status| **status == 200).count() >= 8, "{answers:?}");
    stage.assert_bounded(rest, "many at once");
}

/// A signed request on a connection whose kernel takes hardly anything, and whose answer nobody reads beyond its head.
async fn ask_and_stop_reading(region: &Region, user: &User, target: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket can be had");
    socket.set_recv_buffer_size(4096).expect("a socket takes the option");
    let host = region.host();
    let mut stream = socket.connect(host.parse().expect("an address")).await.expect("the region listens");
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in signature::sign("GET", &host, target, b"", &user.access_key, &user.secret_key) {
        if !name.eq_ignore_ascii_case("host") {
            request.extend([name, ": ", value.as_str(), "\r\n"]);
        }
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).await.expect("a request can be sent");
    let mut begin = [0; 12];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut begin)).await.expect("an answer comes").expect("it has a head");
    stream
}

#[tokio::test]
async fn slow_readers_of_large_pages_cost_no_memory_and_no_other_account() {
    let mut stage = stage().await;
    let other = User::named("other");
    stage.region.terminate().await;
    stage.region.admin(&["account", "create", "--name", "elsewhere"]).await;
    stage.region.add_user("elsewhere", &other).await;
    stage.region.start().await;
    stage.push_padded("group/app", "v1", 3_900_000).await;
    let public = json!({"is_public": true});
    stage.manage().call("PATCH", &repository_path("group", "app"), Some(public)).await.expect(201);
    let rest = stage.at_rest().await;
    let tags = format!("{}/tags", repository_path("group", "app"));
    let asking = (0..40).map(|_| ask_and_stop_reading(&stage.region, &stage.admin, &tags));
    let slow = tokio::time::timeout(LIMIT, futures::future::join_all(asking)).await.expect("all get a head");
    // Their own account gets its tags, without manifests; the other one has its own room.
    let told = async |user: &User| stage.region.manage(user).call("GET", &tags, None).await.expect(200).json();
    let own = told(&stage.admin).await;
    assert_eq!((&own[0]["Tag"], &own[0]["manifest"]), (&json!("v1"), &json!("")));
    assert!(told(&other).await[0]["manifest"].as_str().is_some_and(|text| text.len() > 3_900_000));
    stage.assert_bounded(rest, "slow readers");
    drop(slow);
}

/// A pull on a connection whose kernel takes hardly anything, and whose answer nobody reads beyond its head. Returns the
/// status too.
async fn pull_and_stop_reading(region: &Region, token: &str, target: &str) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().expect("a socket can be had");
    socket.set_recv_buffer_size(4096).expect("a socket takes the option");
    let host = region.host();
    let mut stream = socket.connect(host.parse().expect("an address")).await.expect("the region listens");
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request can be sent");
    let mut begin = [0; 12];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut begin)).await.expect("an answer comes").expect("it has a head");
    (stream, String::from_utf8_lossy(&begin).into_owned())
}

/// Each of them reads another large manifest. They wait for each other, and keep nobody else waiting for long.
#[tokio::test]
async fn slow_readers_of_large_manifests_cost_no_memory_and_no_other_account() {
    let mut stage = stage().await;
    let other = User::named("other");
    stage.region.terminate().await;
    stage.region.admin(&["account", "create", "--name", "elsewhere"]).await;
    stage.region.add_user("elsewhere", &other).await;
    stage.region.start().await;
    for number in 0..24 {
        stage.push_padded("group/app", &format!("t{number}"), 3_900_000).await;
    }
    let public = json!({"is_public": true});
    stage.manage().call("PATCH", &repository_path("group", "app"), Some(public)).await.expect(201);
    let rest = stage.at_rest().await;
    let opened = stage.region.registry(&stage.admin).open("group/app", "pull").await;
    let get = opened.request(reqwest::Method::GET, "").build().expect("a request");
    let token = get.headers()["authorization"].to_str().expect("a token is text").to_owned();
    let targets: Vec<String> = (0..24).map(|number| format!("/v2/group/app/manifests/t{number}")).collect();
    let asking = targets.iter().map(|target| pull_and_stop_reading(&stage.region, &token, target));
    let slow = tokio::time::timeout(LIMIT, futures::future::join_all(asking)).await.expect("all get a head");
    let statuses: Vec<&str> = slow.iter().map(|(_, head)| &head[9..]).collect();
    assert!(statuses.contains(&"200") && statuses.contains(&"429"), "{statuses:?}");
    let reply = stage.region.registry(&other).open("group/app", "pull").await;
    let reply = http::send(reply.request(reqwest::Method::GET, "manifests/t3")).await.expect(200);
    assert!(reply.body.len() > 3_900_000);
    stage.assert_bounded(rest, "slow readers");
    // The own account gets on too: whoever reads slowly has had its time.
    let own = http::send(opened.request(reqwest::Method::GET, "manifests/t4")).await.expect(200);
    assert!(own.body.len() > 3_900_000);
    stage.assert_bounded(rest, "slow readers, and others");
    drop(slow);
}

/// What is asked for by a head, or is known already, needs no room; and nodes that pull the same image share it.
#[tokio::test]
async fn a_fleet_pulls_one_large_manifest_at_once() {
    let mut stage = stage().await;
    let raw = stage.push_padded("group/app", "v1", 1 << 20).await;
    let rest = stage.at_rest().await;
    let opened = stage.region.registry(&stage.admin).open("group/app", "pull").await;
    for round in 0..2 {
        let nodes = (0..50).map(|_| http::send(opened.request(reqwest::Method::GET, "manifests/v1")));
        for reply in futures::future::join_all(nodes).await {
            let reply = reply.expect(200);
            assert!(
                reply.body == raw.as_bytes() && reply.header("content-length") == Some(raw.len().to_string().as_str())
            );
        }
        stage.assert_bounded(rest, &format!("a fleet, round {round}"));
    }
    let head = http::send(opened.request(reqwest::Method::HEAD, "manifests/v1")).await.expect(200);
    assert_eq!(head.header("content-length"), Some(raw.len().to_string().as_str()));
    let etag = head.header("etag").expect("a validator").to_owned();
    let same = opened.request(reqwest::Method::GET, "manifests/v1").header("If-None-Match", etag);
    http::send(same).await.expect(304);
}

#[tokio::test]
async fn every_manifest_is_found_page_by_page() {
    let stage = stage().await;
    for number in 0..30 {
        stage.push_padded("group/app", &format!("t{number:02}"), 400_000).await;
    }
    let v3 = format!("{}/tags", repository_path("group", "app")).replace("/v2/", "/v3/");
    for order in ["", "&order_column=updated_at&order_type=desc"] {
        let (mut seen, mut marker, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let path = format!("{v3}?limit=20&with_manifest=true{order}{marker}");
            let page = stage.manage().call("GET", &path, None).await.expect(200);
            assert!(page.body.len() < PAGE_BYTES + PAGE_BYTES / 4, "{} bytes", page.body.len());
            let page = page.json();
            pages += 1;
            for tag in page["tags"].as_array().expect("a list") {
                let name = tag["tag"].as_str().expect("a name").to_owned();
                let manifest = tag["manifest"].as_str().expect("a text");
                assert!(manifest.len() > 400_000 && manifest.contains(&format!("\"tag\":\"{name}\"")), "{name}");
                seen.push(name);
            }
            assert_eq!(page["has_more"] == json!(true), page["nextMarker"].is_string());
            let Some(next) = page["nextMarker"].as_str() else { break };
            marker = format!("&marker={next}");
        }
        seen.sort();
        seen.dedup();
        assert_eq!((seen.len(), pages), (30, 3), "ten manifests fit a page");
    }
}

#[tokio::test]
async fn long_descriptions_have_a_budget() {
    let mut stage = stage().await;
    // Four bytes for each character.
    let long = "\u{1f600}".repeat(30_000);
    for number in 0..50 {
        let body = json!({"repository": format!("r{number:02}"), "is_public": false, "description": long});
        stage.manage().call("POST", "/v2/manage/namespaces/group/repos", Some(body)).await.expect(200);
    }
    let rest = stage.at_rest().await;
    let manage = stage.manage();
    let list = manage.call("GET", "/v2/manage/repos?limit=1000&offset=0", None).await.expect(200);
    assert_eq!(list.header("content-range"), Some("0-50/50"));
    let list = list.json();
    let texts: Vec<&str> =
        list.as_array().expect("a list").iter().map(|row| row["description"].as_str().unwrap()).collect();
    let whole = texts.iter().filter(|text| **text == long).count();
    assert_eq!((whole, texts.iter().filter(|text| text.is_empty()).count()), (34, 16), "34 fit into four megabytes");
    let shown = manage.call("GET", &repository_path("group", "r49"), None).await.expect(200).json();
    assert!(shown["description"] == json!(long));

    let (mut seen, mut marker) = (0, String::new());
    loop {
        let page = manage.call("GET", &format!("/v3/manage/repos?limit=1000{marker}"), None).await.expect(200).json();
        for row in page["repos"].as_array().expect("a list") {
            assert!(row["description"] == json!(long), "{}", row["name"]);
            seen += 1;
        }
        let Some(next) = page["nextMarker"].as_i64() else { break };
        marker = format!("&marker={next}");
    }
    assert_eq!(seen, 50);
    let pages = (0..12).map(|_| manage.call("GET", "/v2/manage/repos?limit=1000&offset=0", None));
    let answers = tokio::time::timeout(LIMIT, futures::future::join_all(pages)).await.expect("all are answered");
    assert!(answers.iter().all(|reply| matches!(reply.status, 200 | 429)), "each is told");
    stage.assert_bounded(rest, "many lists at once");
}

/// A control character has six bytes in an answer: the room is for what is sent.
#[tokio::test]
async fn descriptions_are_counted_as_they_are_sent() {
    let mut stage = stage().await;
    let long = "\u{1}".repeat(30_000);
    for number in 0..100 {
        let body = json!({"repository": format!("r{number:02}"), "is_public": false, "description": long});
        stage.manage().call("POST", "/v2/manage/namespaces/group/repos", Some(body)).await.expect(200);
    }
    let rest = stage.at_rest().await;
    let manage = stage.manage();
    let list = manage.call("GET", "/v2/manage/repos?limit=1000&offset=0", None).await.expect(200);
    assert!(list.body.len() < 2 * PAGE_BYTES + PAGE_BYTES / 4, "{} bytes", list.body.len());
    let list = list.json();
    let texts: Vec<&str> =
        list.as_array().expect("a list").iter().map(|row| row["description"].as_str().unwrap()).collect();
    assert!(texts.len() == 100 && texts[0] == long && texts[99].is_empty());
    let (mut seen, mut marker) = (0, String::new());
    loop {
        let page = manage.call("GET", &format!("/v3/manage/repos?limit=1000{marker}"), None).await.expect(200).json();
        for row in page["repos"].as_array().expect("a list") {
            assert!(row["description"] == json!(long), "{}", row["name"]);
            seen += 1;
        }
        let Some(next) = page["nextMarker"].as_i64() else { break };
        marker = format!("&marker={next}");
    }
    assert_eq!(seen, 100);
    stage.assert_bounded(rest, "control characters");
}

#[tokio::test]
async fn large_referrers_are_read_in_turn() {
    let mut stage = stage().await;
    let registry = stage.region.registry(&stage.admin);
    registry.push("group/app", "v1", &stage.image).await;
    let opened = registry.open("group/app", "pull,push").await;
    opened.push_blob(b"{}").await;
    for number in 0..6 {
        let empty =
            json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": image::digest(b"{}"), "size": 2});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": image::IMAGE, "artifactType": "application/vnd.test", "config": empty,
            "layers": [], "annotations": {"number": number.to_string(), "pad": "x".repeat(1_900_000)},
            "subject": {"mediaType": stage.image.media_type, "digest": stage.image.digest(), "size": stage.image.raw.len()},
        });
        let raw = manifest.to_string().into_bytes();
        opened.put_manifest(&image::digest(&raw), image::IMAGE, &raw).await.expect(201);
    }
    let rest = stage.at_rest().await;
    let opened = stage.region.registry(&stage.admin).open("group/app", "pull").await;
    let path = format!("referrers/{}", stage.image.digest());
    let tag = stage.image.digest().replace(':', "-");
    let asking = (0..24).map(|number| {
        let path = if number % 4 == 0 { format!("manifests/{tag}") } else { path.clone() };
        http::send(opened.request(reqwest::Method::GET, &path))
    });
    let answers = tokio::time::timeout(LIMIT, futures::future::join_all(asking)).await.expect("all are answered");
    let told: Vec<u16> = answers.iter().map(|reply| reply.status).collect();
    assert!(told.iter().all(|status| matches!(status, 200 | 429)) && told.contains(&200), "{told:?}");
    drop(answers);
    stage.assert_bounded(rest, "referrers");
    assert_eq!(opened.referrers(&stage.image.digest()).await.len(), 2, "two are a page");
}
