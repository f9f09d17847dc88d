//! Uploads where real clients do not go by themselves: each kind, chunks that come twice or too early, digests that are
//! wrong, an upload that goes on after kill -9, mounts with and without a right. Numbers are those of
//! docs/quality/registry-protocol.md, "what the suite does not test".

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use transship_tests::fault::Faults;
use transship_tests::image::{self, Image};
use transship_tests::manage::User;
use transship_tests::pair::GROUP;
use transship_tests::random::Random;
use transship_tests::region::Region;
use transship_tests::single::{APP, Single, ask, blob, code, finish, patch, path_of, start_upload};
use transship_tests::{http, wait};

#[tokio::test]
async fn every_kind_of_upload() {
    let single = Single::start().await;
    let repository = single.app().await;
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
    let upload = start_upload(&repository).await;
    let reply = http::send(repository.request(Method::PATCH, &upload).body(bytes.clone())).await.expect(202);
    assert_eq!(reply.header("range"), Some("0-49999"));
    finish(&repository, &path_of(&reply), &image::digest(&bytes)).await.expect(201);
    // In chunks, the last one in the PUT.
    let bytes = random.bytes(50_000);
    let digest = image::digest(&bytes);
    let upload = start_upload(&repository).await;
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
    let single = Single::start().await;
    let repository = single.app().await;
    let bytes = Random::seeded(1).bytes(30_000);
    let upload = start_upload(&repository).await;
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
    let single = Single::start().await;
    let repository = single.app().await;
    let bytes = Random::seeded(1).bytes(10_000);
    let other = image::digest(b"something else");
    let upload = start_upload(&repository).await;
    patch(&repository, &upload, 0, &bytes).await.expect(202);
    let reply = finish(&repository, &upload, &other).await.expect(400);
    assert_eq!(code(&reply), "DIGEST_INVALID");
    for digest in [&other, &image::digest(&bytes)] {
        blob(&repository, digest).await.expect(404);
    }
    // Cancelled: gone, and nothing of it stays.
    let upload = start_upload(&repository).await;
    patch(&repository, &upload, 0, &bytes).await.expect(202);
    http::send(repository.request(Method::DELETE, &upload)).await.expect(204);
    finish(&repository, &upload, &image::digest(&bytes)).await.expect(404);
}

#[tokio::test]
async fn an_upload_goes_on_after_kill_9() {
    let mut single = Single::start().await;
    let bytes = Random::seeded(1).bytes(3_000_000);
    let repository = single.app().await;
    let upload = start_upload(&repository).await;
    patch(&repository, &upload, 0, &bytes[..2_000_000]).await.expect(202);
    single.region.kill9().await;
    single.region.start().await;
    let status = http::send(repository.request(Method::GET, &upload)).await.expect(204);
    let range = status.header("range").unwrap().to_owned();
    // What was acknowledged with 202 is there.
    assert_eq!(range, "0-1999999");
    patch(&repository, &upload, 2_000_000, &bytes[2_000_000..]).await.expect(202);
    finish(&repository, &upload, &image::digest(&bytes)).await.expect(201);
    assert_eq!(blob(&repository, &image::digest(&bytes)).await.expect(200).body, bytes);
}

/// 7: the grammar of `Content-Range` in uploads.
#[tokio::test]
async fn chunk_ranges_are_checked() {
    let single = Single::start().await;
    let repository = single.app().await;
    let upload = start_upload(&repository).await;
    for range in ["abc", "bytes 0-9/10", "0-9/10", "-1-5", "0-", "-9", "0-99999999999999999999", "0-8", "0-10", ""] {
        let request = repository.request(Method::PATCH, &upload).header("Content-Range", range).body(vec![b'x'; 10]);
        let reply = http::send(request).await.expect(400);
        assert_eq!(code(&reply), "BLOB_UPLOAD_INVALID", "{range:?}");
    }
    let request = repository.request(Method::PATCH, &upload).header("Content-Range", "9-0").body(vec![b'x'; 10]);
    let reply = http::send(request).await.expect(416);
    assert_eq!(reply.header("range"), Some("0-0"));
    // Nothing of all that was taken, and the session goes on: also with a chunk as small as one byte (9).
    for n in 0..3 {
        let reply = patch(&repository, &upload, n, b"x").await.expect(202);
        assert_eq!(reply.header("oci-chunk-min-length"), None, "any chunk will do");
    }
    finish(&repository, &upload, &image::digest(b"xxx")).await.expect(201);
}

/// 7: two writers on one session at once: never mixed, and the session goes on.
#[tokio::test]
async fn chunks_at_once_do_not_mix() {
    let single = Single::start().await;
    let repository = single.app().await;
    let bytes = Random::seeded(1).bytes(200_000);
    let upload = start_upload(&repository).await;
    let replies = futures::future::join_all((0..8).map(|_| patch(&repository, &upload, 0, &bytes))).await;
    let taken = replies.iter().filter(|reply| reply.status == 202).count();
    assert_eq!(taken, 1, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    for reply in replies.iter().filter(|reply| reply.status != 202) {
        assert!(matches!(reply.status, 409 | 416), "{}", reply.text());
        assert_eq!(code(reply), "BLOB_UPLOAD_INVALID");
    }
    finish(&repository, &upload, &image::digest(&bytes)).await.expect(201);
    assert_eq!(blob(&repository, &image::digest(&bytes)).await.expect(200).body, bytes);
}

/// 8, 12, 13, 29, 30: what clients leave out, add or get wrong.
#[tokio::test]
async fn habits_of_clients() {
    let single = Single::start().await;
    let repository = single.app().await;
    // No slash at the end, no Content-Length, another Host: the location is the region's own, and holds no query.
    for path in ["blobs/uploads", "blobs/uploads/"] {
        let post = repository.request(Method::POST, path);
        let post = post.header("Host", "evil.example").header("X-Forwarded-Host", "evil.example");
        let reply =
            http::send(post.header("X-Forwarded-Proto", "https").header("Forwarded", "host=evil.example")).await;
        let location = reply.expect(202);
        let location = location.header("location").expect("an upload has a location").to_owned();
        assert!(location.starts_with(&format!("/v2/{APP}/blobs/uploads/")) && !location.contains('?'), "{location}");
    }
    // Nothing in a PATCH, then a stream of unknown length, then nothing in the PUT, not even a type.
    let upload = start_upload(&repository).await;
    let empty = repository.request(Method::PATCH, &upload).header("Content-Length", "0");
    assert_eq!(http::send(empty).await.expect(202).header("range"), Some("0-0"));
    let pieces = ["one ", "two ", "three"].map(Ok::<_, std::io::Error>);
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let reply = http::send(repository.request(Method::PATCH, &upload).body(stream)).await.expect(202);
    assert_eq!(reply.header("range"), Some("0-12"));
    let digest = image::digest(b"one two three");
    let reply = finish(&repository, &upload, &digest).await.expect(201);
    assert_eq!(reply.header("location"), Some(format!("/v2/{APP}/blobs/{digest}").as_str()));
    // The stream in the PUT itself.
    let upload = start_upload(&repository).await;
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(["four ", "five"].map(Ok::<_, std::io::Error>)));
    let digest = image::digest(b"four five");
    http::send(repository.request(Method::PUT, &format!("{upload}?digest={digest}")).body(stream)).await.expect(201);
    assert_eq!(blob(&repository, &digest).await.expect(200).body, b"four five");
    // 25: the name of a registry that a mirror adds.
    let path = format!("blobs/{digest}?ns=docker.io");
    let reply = ask(&repository, Method::GET, &path).await.expect(200);
    assert_eq!(reply.header("oci-namespace"), None);
}

/// 10: sha512 announced, and not announced.
#[tokio::test]
async fn sha512_needs_no_announcement() {
    let single = Single::start().await;
    let repository = single.app().await;
    let bytes = Random::seeded(1).bytes(100_000);
    let digest = image::sha512_digest(&bytes);
    for (start, size) in [("blobs/uploads/?digest-algorithm=sha512", 100_000), ("blobs/uploads/", 40_000)] {
        let post = repository.request(Method::POST, start).header("Content-Length", "0");
        let upload = path_of(&http::send(post).await.expect(202));
        for (number, chunk) in bytes.chunks(size).enumerate() {
            patch(&repository, &upload, number * size, chunk).await.expect(202);
        }
        let reply = finish(&repository, &upload, &digest).await.expect(201);
        assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()));
        let reply = blob(&repository, &digest).await.expect(200);
        assert_eq!((reply.header("docker-content-digest"), &reply.body), (Some(digest.as_str()), &bytes));
        ask(&repository, Method::DELETE, &format!("blobs/{digest}")).await.expect(202);
    }
    let reply = ask(&repository, Method::POST, "blobs/uploads/?digest-algorithm=md5").await.expect(400);
    assert_eq!(code(&reply), "DIGEST_INVALID");
}

/// 11: after a wrong digest the session is gone, and says so.
#[tokio::test]
async fn a_session_with_wrong_bytes_is_gone() {
    let single = Single::start().await;
    let repository = single.app().await;
    let upload = start_upload(&repository).await;
    patch(&repository, &upload, 0, b"some bytes").await.expect(202);
    finish(&repository, &upload, &image::digest(b"other bytes")).await.expect(400);
    for method in [Method::GET, Method::DELETE, Method::PATCH] {
        let reply = ask(&repository, method, &upload).await.expect(404);
        assert_eq!(code(&reply), "BLOB_UPLOAD_UNKNOWN");
    }
    let reply = finish(&repository, &upload, &image::digest(b"some bytes")).await.expect(404);
    assert_eq!(code(&reply), "BLOB_UPLOAD_UNKNOWN");
}

/// 14, 15, tenancy H1 and H2: a mount needs pull on the repository it takes from, in the same token, and otherwise is
/// answered exactly as an upload that starts; who could get the right is told to ask for it.
#[tokio::test]
async fn mounts_with_and_without_a_right() {
    let user = User::named("writer");
    let single = Single::start_with(&[], &[&user]).await;
    let manage = single.region.manage(&single.admin);
    manage.create_namespace("hidden").await;
    let id = single.region.user_id(&user).await;
    manage.grant_namespace(GROUP, &[(&id, &user.name, 3)]).await;
    let bytes = Random::seeded(1).bytes(10_000);
    let digest = image::digest(&bytes);
    single.registry().open("hidden/secret", "pull,push").await.push_blob(&bytes).await;
    let source = single.registry().open("group/open", "pull,push").await;
    source.push_blob(&bytes).await;
    let image = Image::random(&mut Random::seeded(2), 1, 1000);
    source.push("v1", &image).await;
    let (manifest, unknown) = (image.digest(), image::digest(b"never pushed"));

    let registry = single.region.registry(&user);
    let mount = async |scope: &str, digest: &str, from: &str| {
        let repository = registry.open(APP, scope).await;
        let request = repository.request(Method::POST, &format!("blobs/uploads/?mount={digest}{from}"));
        http::send(request.header("Content-Length", "0")).await
    };
    let only_here = "pull,push";
    let both = "pull,push repository:group/open:pull repository:hidden/secret:pull";
    let push_only = "pull,push repository:group/open:push";
    for (scope, digest, from) in [
        (both, &digest, "&from=hidden/secret"),
        (both, &digest, "&from=hidden/none"),
        (both, &digest, "&from=group/none"),
        (both, &digest, "&from=group/app"),
        (both, &digest, "&from=NOT%20A%20NAME"),
        (both, &digest, "&from="),
        (both, &digest, ""),
        (both, &unknown, "&from=group/open"),
        (both, &manifest, "&from=group/open"),
        (only_here, &digest, "&from=hidden/secret"),
        (push_only, &digest, "&from=group/open"),
    ] {
        let reply = mount(scope, digest, from).await.expect(202);
        assert_eq!(reply.header("docker-content-digest"), None, "{from}");
        // The session is one.
        let repository = registry.open(APP, only_here).await;
        finish(&repository, &path_of(&reply), &image::digest(b"")).await.expect(201);
    }
    let repository = registry.open(APP, only_here).await;
    for digest in [&digest, &manifest] {
        blob(&repository, digest).await.expect(404);
    }
    let reply = mount(both, "sha256:abc", "&from=group/open").await.expect(400);
    assert_eq!(code(&reply), "DIGEST_INVALID");

    // The token says nothing of the source, and the user may pull there.
    let reply = mount(only_here, &digest, "&from=group/open").await.expect(401);
    let challenge = reply.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("scope=\"repository:group/app:pull,push repository:group/open:pull\""), "{challenge}");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    let reply = mount(both, &digest, "&from=group/open").await.expect(201);
    assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!(blob(&repository, &digest).await.expect(200).body, bytes);
}

/// A session belongs to a repository and a user (H6).
#[tokio::test]
async fn sessions_belong_to_somebody() {
    let user = User::named("writer");
    let single = Single::start_with(&[], &[&user]).await;
    let id = single.region.user_id(&user).await;
    single.region.manage(&single.admin).grant_namespace(GROUP, &[(&id, &user.name, 3)]).await;
    let mine = single.app().await;
    let upload = start_upload(&mine).await;
    patch(&mine, &upload, 0, b"mine").await.expect(202);
    let theirs = single.region.registry(&user).open(APP, "pull,push").await;
    let elsewhere = single.registry().open("group/other", "pull,push").await;
    elsewhere.push_blob(b"so that it exists").await;
    for repository in [&theirs, &elsewhere] {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let reply = ask(repository, method, &upload).await.expect(404);
            assert_eq!(code(&reply), "BLOB_UPLOAD_UNKNOWN");
        }
        finish(repository, &upload, &image::digest(b"mine")).await.expect(404);
    }
    finish(&mine, &upload, &image::digest(b"mine")).await.expect(201);
}

/// The sizes of the files that hold blobs, whole or not.
fn file_sizes(region: &Region) -> Vec<u64> {
    // A file may go between its name and its size.
    let sizes = region.blob_files().into_iter().filter_map(|path| std::fs::metadata(path).ok());
    let mut sizes: Vec<u64> = sizes.map(|file| file.len()).collect();
    sizes.sort_unstable();
    sizes
}

/// The bytes that the organization is said to have.
async fn used_bytes(region: &Region) -> Value {
    let list: Value = serde_json::from_str(&region.admin(&["quota", "list", "--json"]).await).expect("JSON");
    list.as_array().expect("a list").iter().find(|row| row["namespace"] == GROUP).expect("it is listed")["bytes"]
        .clone()
}

/// I6: an upload that nobody goes on with frees its bytes and its place when its life is over, and no other does. The life
/// begins anew with each byte.
#[tokio::test]
async fn an_abandoned_upload_frees_its_bytes() {
    const MIB: usize = 1 << 20;
    const LIMITS: &str =
        "[limits]\nupload_expiry_seconds = 600\nupload_sessions_per_user = 2\nnamespace_bytes = 8388608";
    let mut single = Single::start_with(&[LIMITS], &[]).await;
    let clock = Faults::new();
    single.region.terminate().await;
    single.region.meet(&clock);
    single.region.start().await;
    let mut random = Random::seeded(1);
    let (left, kept) = (random.bytes(5 * MIB), random.bytes(2 * MIB));
    let repository = single.app().await;
    let abandoned = start_upload(&repository).await;
    patch(&repository, &abandoned, 0, &left[..4 * MIB]).await.expect(202);
    let slow = start_upload(&repository).await;
    patch(&repository, &slow, 0, &kept[..MIB]).await.expect(202);
    let third = || repository.request(Method::POST, "blobs/uploads/").header("Content-Length", "0");
    assert_eq!(code(&http::send(third()).await.expect(429)), "TOOMANYREQUESTS");
    assert_eq!(file_sizes(&single.region), [1 << 20, 4 << 20]);

    // Not yet: both go on, and one of them is given another byte or two.
    clock.put_clock_forward(Duration::from_secs(400));
    let repository = single.app().await;
    let status = ask(&repository, Method::GET, &abandoned).await.expect(204);
    assert_eq!(status.header("range"), Some("0-4194303"));
    patch(&repository, &slow, MIB, &kept[MIB..]).await.expect(202);
    assert_eq!(file_sizes(&single.region), [2 << 20, 4 << 20]);

    // Over for one: it goes with the next look, which a start begins with.
    clock.put_clock_forward(Duration::from_secs(700));
    single.region.terminate().await;
    single.region.start().await;
    let freed = || async { (file_sizes(&single.region) == [2 << 20]).then_some(()) };
    wait::until("the bytes of the abandoned upload to be freed", Duration::from_mins(2), freed).await;
    let repository = single.app().await;
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        assert_eq!(code(&ask(&repository, method, &abandoned).await.expect(404)), "BLOB_UPLOAD_UNKNOWN");
    }
    let closed = finish(&repository, &abandoned, &image::digest(&left[..4 * MIB])).await.expect(404);
    assert_eq!(code(&closed), "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(used_bytes(&single.region).await, json!(2 * MIB), "only the other upload still counts");

    // Its place and its share of the quota are there for others.
    start_upload(&repository).await;
    finish(&repository, &slow, &image::digest(&kept)).await.expect(201);
    assert_eq!(blob(&repository, &image::digest(&kept)).await.expect(200).body, kept);
    repository.push_blob(&left).await;
    assert_eq!(blob(&repository, &image::digest(&left)).await.expect(200).body, left);
    assert_eq!(used_bytes(&single.region).await, json!(7 * MIB));
}
