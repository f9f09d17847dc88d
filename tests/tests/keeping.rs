//! What an operator sets so that content stays and does not grow without end: immutable tags and quotas.

use reqwest::Method;
use serde_json::json;
use transship_tests::http;
use transship_tests::image::{self, Image};
use transship_tests::manage::{Sync, repository_path};
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD};
use transship_tests::random::Random;
use transship_tests::single::Single;

const HERE: &str = "group/app";

/// The reason that a region gives for the end of a tag's job.
async fn reason(pair: &Pair, tag: &str) -> (String, String) {
    let filter = "limit%3A%3A100%7Coffset%3A%3A0%7Corder%3A%3Adesc";
    let target = format!("{}/sync_job?filter={filter}", repository_path(GROUP, "app"));
    let jobs = pair.manage().call("GET", &target, None).await.expect(200).json();
    let job = jobs.as_array().expect("a list").iter().find(|job| job["tag"] == tag).expect("the tag has a job").clone();
    let text = |field: &str| job[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

#[tokio::test]
async fn immutable_tags_stay() {
    let mut random = Random::for_test("immutable_tags_stay");
    let pair = Pair::start(PairSettings::default()).await;
    let (old, new) = (Image::random(&mut random, 1, 5000), Image::random(&mut random, 1, 5000));
    let source = pair.source_registry();
    source.push(HERE, "v1", &old).await;
    source.push(HERE, "latest", &old).await;
    let patterns = ["immutable-tags", "set", "--repository", HERE, "--tag", "v*", "--except", "v*-rc", "--json"];
    let set = pair.source.admin(&patterns).await;
    assert!(set.contains("\"v*\"") && set.contains("v*-rc"), "{set}");

    let repository = source.open(HERE, "pull,push,delete").await;
    for blob in &new.blobs {
        repository.push_blob(blob).await;
    }
    let refused = repository.put_manifest("v1", image::IMAGE, &new.raw).await.expect(403);
    let error = &refused.json()["errors"][0];
    assert_eq!(error["code"], "DENIED");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("v1 is immutable")), "{error}");
    // The same again is no change; what the patterns leave out moves as ever.
    repository.put_manifest("v1", image::IMAGE, &old.raw).await.expect(201);
    repository.put_manifest("latest", image::IMAGE, &new.raw).await.expect(201);
    repository.put_manifest("v2-rc", image::IMAGE, &old.raw).await.expect(201);
    repository.put_manifest("v2-rc", image::IMAGE, &new.raw).await.expect(201);
    for reference in ["v1".to_owned(), old.digest()] {
        http::send(repository.request(Method::DELETE, &format!("manifests/{reference}"))).await.expect(403);
    }
    let manage = pair.manage();
    let tag = format!("{}/tags/v1", repository_path(GROUP, "app"));
    manage.call("DELETE", &tag, None).await.expect(409);
    manage.call("DELETE", &repository_path(GROUP, "app"), None).await.expect(409);
    let tags = format!("{}/tags", repository_path(GROUP, "app"));
    let body = json!({"source_tag": "latest", "destination_tag": "v1", "override": true});
    manage.call("POST", &tags, Some(body)).await.expect(409);
    assert_eq!(repository.pull("v1").await.digest, old.digest());

    // A replication may not move it either, whatever it says of override, and sends nothing before it is told so.
    assert_eq!(manage.sync(GROUP, "app", &Sync::of(&["latest"])).await, [""; 0]);
    let patterns = ["immutable-tags", "set", "--repository", "sdsad/app", "--tag", "*"];
    pair.target.admin(&patterns).await;
    source.push(HERE, "latest", &old).await;
    assert_eq!(manage.sync(GROUP, "app", &Sync::of(&["latest"]).replacing()).await, ["latest"]);
    let (status, why) = reason(&pair, "latest").await;
    assert!(status == "failed" && why.contains("immutable"), "{status}: {why}");
    assert_eq!(pair.target_registry().pull("sdsad/app", "latest").await.digest, new.digest());
    let layer = image::digest(&old.blobs[1]);
    let target = pair.target_registry().open("sdsad/app", "pull").await;
    http::send(target.request(Method::HEAD, &format!("blobs/{layer}"))).await.expect(404);

    pair.source.admin(&["immutable-tags", "clear", "--repository", HERE]).await;
    repository.put_manifest("v1", image::IMAGE, &new.raw).await.expect(201);
}

#[tokio::test]
async fn quotas_hold_before_the_bytes_come() {
    let mut random = Random::for_test("quotas_hold_before_the_bytes_come");
    let pair = Pair::start(PairSettings::default()).await;
    let region = &pair.source;
    region
        .admin(&["quota", "set", "--namespace", GROUP, "--bytes", "100KiB", "--repositories", "2", "--tags", "2"])
        .await;
    let small = Image::random(&mut random, 1, 60_000);
    let source = pair.source_registry();
    source.push(HERE, "v1", &small).await;
    let repository = source.open(HERE, "pull,push").await;

    // One POST, a PATCH, a PUT: each says how long it is, and is answered although not one byte of it comes.
    let large = random.bytes(50_000);
    let digest = image::digest(&large);
    let announced = |method: Method, path: String| {
        let nothing = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let request = repository.request(method, &path).header("Content-Type", "application/octet-stream");
        request.header("Content-Length", large.len()).body(reqwest::Body::wrap_stream(nothing))
    };
    let message = |reply: &http::Reply| reply.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    let refused = http::send(announced(Method::POST, format!("blobs/uploads/?digest={digest}"))).await.expect(403);
    assert_eq!(refused.json()["errors"][0]["code"], "DENIED");
    let told = message(&refused);
    assert!(told.contains("102400 bytes") && told.contains("50000 more"), "{told}");
    let started = http::send(repository.request(Method::POST, "blobs/uploads/").header("Content-Length", "0")).await;
    let session = started.expect(202).header("location").expect("a session has a location").to_owned();
    let session = session.split("/app/").nth(1).expect("it lies in the repository").to_owned();
    http::send(announced(Method::PATCH, session.clone())).await.expect(403);
    http::send(announced(Method::PUT, format!("{session}?digest={digest}"))).await.expect(403);
    // Without a length it is found out at the end, and nothing stays.
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> = large.chunks(9000).map(|chunk| Ok(chunk.to_vec())).collect();
    let streamed = repository.request(Method::PUT, &format!("{session}?digest={digest}"));
    let streamed = streamed.body(reqwest::Body::wrap_stream(futures::stream::iter(chunks)));
    http::send(streamed).await.expect(403);
    http::send(repository.request(Method::GET, &session)).await.expect(404);
    http::send(repository.request(Method::HEAD, &format!("blobs/{digest}"))).await.expect(404);

    // What the organization has already may come again, also to another repository.
    source.push("group/other", "v1", &small).await;
    let again = repository.request(Method::POST, &format!("blobs/uploads/?digest={}", image::digest(&small.blobs[1])));
    http::send(again.body(small.blobs[1].clone())).await.expect(201);

    // Repositories and tags, in both APIs.
    let third = source.open("group/third", "pull,push").await;
    http::send(third.request(Method::POST, "blobs/uploads/").header("Content-Length", "0")).await.expect(403);
    let manage = pair.manage();
    let body = json!({"repository": "third", "is_public": false, "category": "other", "description": ""});
    let refused = manage.call("POST", "/v2/manage/namespaces/group/repos", Some(body)).await.expect(400);
    assert_eq!(refused.error_code(), "4000098");
    repository.put_manifest("v2", image::IMAGE, &small.raw).await.expect(403);
    let tags = format!("{}/tags", repository_path(GROUP, "app"));
    let body = json!({"source_tag": "v1", "destination_tag": "v2", "override": true});
    assert_eq!(manage.call("POST", &tags, Some(body)).await.expect(400).error_code(), "4000099");
    repository.put_manifest("v1", image::IMAGE, &small.raw).await.expect(201);

    // Deleting gives room.
    manage.call("DELETE", &repository_path(GROUP, "other"), None).await.expect(204);
    repository.put_manifest("v2", image::IMAGE, &small.raw).await.expect(201);
    let list = region.admin(&["quota", "list", "--json"]).await;
    let list: serde_json::Value = serde_json::from_str(&list).expect("--json prints JSON");
    let group = list.as_array().expect("a list").iter().find(|row| row["namespace"] == GROUP).expect("it is listed");
    let held = small.blobs.iter().map(Vec::len).sum::<usize>() + small.raw.len();
    assert_eq!((&group["bytes"], &group["repositories"], &group["tags"]), (&json!(held), &json!(1), &json!(2)));

    // A replication into an organization without room fails with a reason.
    pair.target.admin(&["quota", "set", "--namespace", SDSAD, "--bytes", "20KiB"]).await;
    assert_eq!(manage.sync(GROUP, "app", &Sync::of(&["v1"])).await, ["v1"]);
    let (status, why) = reason(&pair, "v1").await;
    assert!(status == "failed" && why.contains("quota of organization sdsad"), "{status}: {why}");
    pair.target.admin(&["quota", "set", "--namespace", SDSAD, "--bytes", "default"]).await;
    assert_eq!(manage.sync(GROUP, "app", &Sync::of(&["v1"])).await, [""; 0]);
}

/// What uploads have brought so far counts, and no longer than they live; the closing PUT may be repeated under a limit too.
#[tokio::test]
async fn open_uploads_count_until_they_end() {
    let mut random = Random::for_test("open_uploads_count_until_they_end");
    let single = Single::start_with(&[], &[]).await;
    let region = &single.region;
    region.admin(&["quota", "set", "--namespace", GROUP, "--bytes", "100KiB"]).await;
    let repository = single.app().await;
    let used = async || {
        let list: serde_json::Value =
            serde_json::from_str(&region.admin(&["quota", "list", "--json"]).await).expect("--json prints JSON");
        let rows = list.as_array().expect("a list");
        rows.iter().find(|row| row["namespace"] == GROUP).expect("it is listed")["bytes"].as_u64().expect("a number")
    };
    let start = async || {
        let started =
            http::send(repository.request(Method::POST, "blobs/uploads/").header("Content-Length", "0")).await;
        let session = started.expect(202).header("location").expect("a session has a location").to_owned();
        session.split("/app/").nth(1).expect("it lies in the repository").to_owned()
    };
    // Without a length, as a client sends it that packs while it pushes.
    let stream = |bytes: &[u8]| {
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> = bytes.chunks(9000).map(|chunk| Ok(chunk.to_vec())).collect();
        reqwest::Body::wrap_stream(futures::stream::iter(chunks))
    };
    let (first, second) = (random.bytes(60_000), random.bytes(50_000));
    let one = start().await;
    http::send(repository.request(Method::PATCH, &one).body(stream(&first))).await.expect(202);
    assert_eq!(used().await, 60_000);
    let other = start().await;
    let refused = http::send(repository.request(Method::PATCH, &other).body(stream(&second))).await.expect(403);
    let told = refused.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(told.contains("60000 are used") && told.contains("50000 more"), "{told}");
    http::send(repository.request(Method::GET, &other)).await.expect(404);
    assert_eq!(used().await, 60_000, "what was refused is gone");

    let digest = image::digest(&first);
    let close = || repository.request(Method::PUT, &format!("{one}?digest={digest}"));
    for _ in 0..3 {
        http::send(close().header("Content-Length", "0")).await.expect(201);
    }
    // With its whole body again, of which there would be no room for a second one.
    http::send(close().body(first.clone())).await.expect(201);
    assert_eq!(used().await, 60_000, "a blob, and no upload any more");

    let cancelled = start().await;
    http::send(repository.request(Method::PATCH, &cancelled).body(stream(&second[..30_000]))).await.expect(202);
    assert_eq!(used().await, 90_000);
    http::send(repository.request(Method::DELETE, &cancelled)).await.expect(204);
    assert_eq!(used().await, 60_000);
    // A manifest counts as well.
    let raw = json!({"schemaVersion": 2, "mediaType": image::IMAGE, "config": {"mediaType": "text/plain", "digest": digest,
        "size": first.len()}, "layers": []});
    let raw = raw.to_string();
    repository.put_manifest("v1", image::IMAGE, raw.as_bytes()).await.expect(201);
    repository.put_manifest("v2", image::IMAGE, raw.as_bytes()).await.expect(201);
    assert_eq!(used().await, 60_000 + raw.len() as u64);
}
