//! The registry protocol where real clients do not go by themselves: each kind of upload, what happens to chunks that
//! come twice or too early, an upload that goes on after kill -9, ranges, mounts with and without a right, raw bytes.

use reqwest::Method;
use serde_json::json;
use transship_tests::http::{self, Reply};
use transship_tests::image::{self, Image};
use transship_tests::manage::User;
use transship_tests::pair::{GROUP, Pair, PairSettings};
use transship_tests::random::Random;
use transship_tests::registry::Repository;

const HERE: &str = "group/app";

async fn open(pair: &Pair) -> Repository {
    pair.source_registry().open(HERE, "pull,push,delete").await
}

/// Starts an upload and gives back its path below the repository.
async fn start(repository: &Repository) -> String {
    let reply = http::send(repository.request(Method::POST, "blobs/uploads/").header("Content-Length", "0")).await;
    path_of(&reply.expect(202))
}

/// The path below the repository in a `Location`.
fn path_of(reply: &Reply) -> String {
    let location = reply.header("location").unwrap_or_else(|| panic!("{}: no Location", reply.asked));
    let (_, path) = location.split_once(&format!("/v2/{HERE}/")).unwrap_or_else(|| panic!("Location is {location}"));
    path.to_owned()
}

async fn patch(repository: &Repository, upload: &str, first: usize, bytes: &[u8]) -> Reply {
    let range = format!("{first}-{}", first + bytes.len() - 1);
    let request = repository.request(Method::PATCH, upload).header("Content-Range", range);
    http::send(request.header("Content-Type", "application/octet-stream").body(bytes.to_vec())).await
}

async fn finish(repository: &Repository, upload: &str, digest: &str) -> Reply {
    http::send(repository.request(Method::PUT, &format!("{upload}?digest={digest}")).header("Content-Length", "0"))
        .await
}

async fn blob(repository: &Repository, digest: &str) -> Reply {
    http::send(repository.request(Method::GET, &format!("blobs/{digest}"))).await
}

/// The code of a registry error.
fn code(reply: &Reply) -> String {
    reply.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn every_kind_of_upload() {
    let pair = Pair::start(PairSettings::default()).await;
    let repository = open(&pair).await;
    let mut random = Random::seeded(1);
    // One POST with everything in it.
    let bytes = random.bytes(50_000);
    let digest = image::digest(&bytes);
    let post = repository.request(Method::POST, &format!("blobs/uploads/?digest={digest}"));
    http::send(post.header("Content-Type", "application/octet-stream").body(bytes.clone())).await.expect(201);
    assert_eq!(blob(&repository, &digest).await.expect(200).body, bytes);
    // POST, then PUT with the bytes.
    let bytes = random.bytes(50_000);
    repository.push_blob(&bytes).await;
    assert_eq!(blob(&repository, &image::digest(&bytes)).await.expect(200).body, bytes);
    // Streamed: one PATCH without a range.
    let bytes = random.bytes(50_000);
    let upload = start(&repository).await;
    let reply = http::send(repository.request(Method::PATCH, &upload).body(bytes.clone())).await.expect(202);
    assert_eq!(reply.header("range"), Some("0-49999"));
    finish(&repository, &path_of(&reply), &image::digest(&bytes)).await.expect(201);
    // In chunks, the last one in the PUT.
    let bytes = random.bytes(50_000);
    let digest = image::digest(&bytes);
    let upload = start(&repository).await;
    let reply = patch(&repository, &upload, 0, &bytes[..20_000]).await.expect(202);
    let reply = patch(&repository, &path_of(&reply), 20_000, &bytes[20_000..40_000]).await.expect(202);
    assert_eq!(reply.header("range"), Some("0-39999"));
    let put = repository.request(Method::PUT, &format!("{}?digest={digest}", path_of(&reply)));
    let put = put.header("Content-Range", "40000-49999").body(bytes[40_000..].to_vec());
    let reply = http::send(put).await.expect(201);
    assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!(blob(&repository, &digest).await.expect(200).body, bytes);
}

#[tokio::test]
async fn chunks_out_of_order_change_nothing() {
    let pair = Pair::start(PairSettings::default()).await;
    let repository = open(&pair).await;
    let bytes = Random::seeded(1).bytes(30_000);
    let upload = start(&repository).await;
    patch(&repository, &upload, 10_000, &bytes[10_000..20_000]).await.expect(416);
    patch(&repository, &upload, 0, &bytes[..10_000]).await.expect(202);
    // The same chunk again, as after a lost answer.
    let reply = patch(&repository, &upload, 0, &bytes[..10_000]).await.expect(416);
    assert_eq!(reply.header("range"), Some("0-9999"));
    let status = http::send(repository.request(Method::GET, &upload)).await.expect(204);
    assert_eq!(status.header("range"), Some("0-9999"));
    patch(&repository, &upload, 10_000, &bytes[10_000..]).await.expect(202);
    finish(&repository, &upload, &image::digest(&bytes)).await.expect(201);
    assert_eq!(blob(&repository, &image::digest(&bytes)).await.expect(200).body, bytes);
    // An upload that has ended is gone.
    http::send(repository.request(Method::GET, &upload)).await.expect(404);
}

#[tokio::test]
async fn a_wrong_digest_is_never_readable() {
    let pair = Pair::start(PairSettings::default()).await;
    let repository = open(&pair).await;
    let bytes = Random::seeded(1).bytes(10_000);
    let other = image::digest(b"something else");
    let upload = start(&repository).await;
    patch(&repository, &upload, 0, &bytes).await.expect(202);
    let reply = finish(&repository, &upload, &other).await.expect(400);
    assert_eq!(code(&reply), "DIGEST_INVALID");
    for digest in [&other, &image::digest(&bytes)] {
        blob(&repository, digest).await.expect(404);
    }
    // Cancelled: gone, and nothing of it stays.
    let upload = start(&repository).await;
    patch(&repository, &upload, 0, &bytes).await.expect(202);
    http::send(repository.request(Method::DELETE, &upload)).await.expect(204);
    finish(&repository, &upload, &image::digest(&bytes)).await.expect(404);
}

#[tokio::test]
async fn an_upload_goes_on_after_kill_9() {
    let mut pair = Pair::start(PairSettings::default()).await;
    let bytes = Random::seeded(1).bytes(3_000_000);
    let repository = open(&pair).await;
    let upload = start(&repository).await;
    patch(&repository, &upload, 0, &bytes[..2_000_000]).await.expect(202);
    pair.source.kill9().await;
    pair.source.start().await;
    let status = http::send(repository.request(Method::GET, &upload)).await.expect(204);
    let range = status.header("range").unwrap().to_owned();
    // What was acknowledged with 202 is there.
    assert_eq!(range, "0-1999999");
    patch(&repository, &upload, 2_000_000, &bytes[2_000_000..]).await.expect(202);
    finish(&repository, &upload, &image::digest(&bytes)).await.expect(201);
    assert_eq!(blob(&repository, &image::digest(&bytes)).await.expect(200).body, bytes);
}

#[tokio::test]
async fn ranges_of_a_blob() {
    let pair = Pair::start(PairSettings::default()).await;
    let repository = open(&pair).await;
    let bytes = Random::seeded(1).bytes(700_000);
    repository.push_blob(&bytes).await;
    let path = format!("blobs/{}", image::digest(&bytes));
    let ranged = async |range: &str| http::send(repository.request(Method::GET, &path).header("Range", range)).await;
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=262143-262145", 262_143, 262_145),
        ("bytes=699990-", 699_990, 699_999),
        ("bytes=699990-999999", 699_990, 699_999),
        ("bytes=-10", 699_990, 699_999),
    ] {
        let reply = ranged(range).await.expect(206);
        assert_eq!(reply.body, &bytes[first..=last], "{range}");
        assert_eq!(reply.header("content-range"), Some(format!("bytes {first}-{last}/700000").as_str()), "{range}");
    }
    for range in ["bytes=700000-", "bytes=500-0"] {
        ranged(range).await.expect(416);
    }
    let head = http::send(repository.request(Method::HEAD, &path)).await.expect(200);
    assert_eq!(head.header("content-length"), Some("700000"));
    assert_eq!(head.header("docker-content-digest"), Some(image::digest(&bytes).as_str()));
}

/// Tenancy H1 and H2: a mount needs pull on the repository it takes from, in the same token, and otherwise is answered
/// exactly as an upload that starts.
#[tokio::test]
async fn mounts_with_and_without_a_right() {
    let user = User::named("writer");
    let pair = Pair::start(PairSettings { users: vec![user.clone()], ..PairSettings::default() }).await;
    let manage = pair.manage();
    manage.create_namespace("hidden").await;
    let id = pair.source.user_id(&user).await;
    manage.grant_namespace(GROUP, &[(&id, &user.name, 3)]).await;
    let bytes = Random::seeded(1).bytes(10_000);
    let digest = image::digest(&bytes);
    pair.source_registry().open("hidden/secret", "pull,push").await.push_blob(&bytes).await;
    pair.source_registry().open("group/open", "pull,push").await.push_blob(&bytes).await;

    let registry = pair.source.registry(&user);
    let mount = async |scope: &str, from: &str| {
        let repository = registry.open(HERE, scope).await;
        let request = repository.request(Method::POST, &format!("blobs/uploads/?mount={digest}&from={from}"));
        http::send(request.header("Content-Length", "0")).await
    };
    let only_here = "pull,push";
    let both = "pull,push repository:group/open:pull repository:hidden/secret:pull";
    for (scope, from) in
        [(both, "hidden/secret"), (both, "group/none"), (only_here, "group/open"), (both, "hidden/none")]
    {
        let reply = mount(scope, from).await;
        assert_eq!(reply.status, 202, "from {from}: {}", reply.text());
        assert!(reply.header("location").is_some_and(|path| path.contains("/blobs/uploads/")), "from {from}");
    }
    let repository = registry.open(HERE, "pull,push").await;
    blob(&repository, &digest).await.expect(404);
    mount(both, "group/open").await.expect(201);
    assert_eq!(blob(&repository, &digest).await.expect(200).body, bytes);
}

/// A manifest is stored as the bytes that came, and names only what its own repository has.
#[tokio::test]
async fn manifests_are_raw_bytes() {
    let pair = Pair::start(PairSettings::default()).await;
    let repository = open(&pair).await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    // Odd white space, unknown fields and a member order of its own: all of it comes back.
    let manifest: serde_json::Value = serde_json::from_slice(&image.raw).unwrap();
    let raw = format!(
        "{{ \"x-unknown\": [1,  2.50],\n\t\"layers\": {}, \"config\": {},\n \"schemaVersion\": 2, \"mediaType\": \"{}\" }}\n",
        manifest["layers"],
        manifest["config"],
        image::IMAGE
    );
    let reply = repository.put_manifest("v1", image::IMAGE, raw.as_bytes()).await;
    assert_eq!((reply.status, code(&reply).as_str()), (404, "MANIFEST_BLOB_UNKNOWN"), "{}", reply.text());
    for blob in &image.blobs {
        repository.push_blob(blob).await;
    }
    let reply = repository.put_manifest("v1", image::IMAGE, raw.as_bytes()).await.expect(201);
    let digest = image::digest(raw.as_bytes());
    assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()));
    for reference in ["v1", &digest] {
        let reply = http::send(repository.request(Method::GET, &format!("manifests/{reference}"))).await.expect(200);
        assert_eq!(reply.body, raw.as_bytes());
        assert_eq!(reply.header("content-type"), Some(image::IMAGE));
    }
    // The same blobs, another repository: not its own.
    let other = pair.source_registry().open("group/other", "pull,push").await;
    other.put_manifest("v1", image::IMAGE, raw.as_bytes()).await.expect(404);
    let tags = http::send(repository.request(Method::GET, "tags/list")).await.expect(200).json();
    assert_eq!(tags, json!({"name": HERE, "tags": ["v1"]}));
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let pair = Pair::start(PairSettings::default()).await;
    let repository = open(&pair).await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    repository.push("a", &image).await;
    for tag in ["a1", "B", "a-", "c", "a0"] {
        repository.put_manifest(tag, image.media_type, &image.raw).await.expect(201);
    }
    // In byte order, and every tag once.
    let (mut seen, mut path) = (Vec::new(), "tags/list?n=2".to_owned());
    loop {
        let page = http::send(repository.request(Method::GET, &path)).await.expect(200);
        seen.extend(page.json()["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()));
        let Some(link) = page.header("link") else { break };
        let next = link.split(['<', '>']).nth(1).unwrap();
        path = next.split_once(&format!("/v2/{HERE}/")).unwrap().1.to_owned();
    }
    assert_eq!(seen, ["B", "a", "a-", "a0", "a1", "c"]);
}
