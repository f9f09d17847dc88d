//! Manifests and blobs where real clients do not go by themselves: raw bytes, headers, conditions, limits, deletes.
//! Numbers are those of docs/quality/registry-protocol.md, "what the suite does not test".

use reqwest::Method;
use serde_json::json;
use transship_tests::http::{self, Reply};
use transship_tests::image::{self, Image};
use transship_tests::random::Random;
use transship_tests::single::{APP, Single, ask, blob, code, tag};
use transship_tests::wait;

#[tokio::test]
async fn ranges_of_a_blob() {
    let single = Single::start().await;
    let repository = single.app().await;
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

/// RFC 9110, 13.1.5: a part is good only beside the bytes that its client has, which the strong validator alone tells.
#[tokio::test]
async fn if_range_with_another_validator_gives_the_whole_blob() {
    let single = Single::start().await;
    let repository = single.app().await;
    let bytes = Random::seeded(2).bytes(70_000);
    repository.push_blob(&bytes).await;
    let path = format!("blobs/{}", image::digest(&bytes));
    let etag = format!("\"{}\"", image::digest(&bytes));
    let get = |validators: &[&str]| {
        let mut request = repository.request(Method::GET, &path).header("Range", "bytes=10-19");
        for validator in validators {
            request = request.header("If-Range", *validator);
        }
        http::send(request)
    };
    assert_eq!(get(&[&etag]).await.expect(206).body, &bytes[10..=19]);
    let (weak, unquoted) = (format!("W/{etag}"), image::digest(&bytes));
    let (other, date) = (format!("\"{}\"", image::digest(b"other")), "Wed, 21 Oct 2065 07:28:00 GMT");
    for validators in [&[other.as_str()][..], &[&weak], &[&unquoted], &[date], &[""], &[&etag, &other], &[&etag, &etag]]
    {
        let reply = get(validators).await.expect(200);
        assert_eq!(
            (reply.header("content-range"), reply.header("etag")),
            (None, Some(etag.as_str())),
            "{validators:?}"
        );
        assert_eq!(reply.body, bytes, "{validators:?}");
    }
}

/// A manifest is stored as the bytes that came, and names only what its own repository has.
#[tokio::test]
async fn manifests_are_raw_bytes() {
    let single = Single::start().await;
    let repository = single.app().await;
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
    let other = single.registry().open("group/other", "pull,push").await;
    other.put_manifest("v1", image::IMAGE, raw.as_bytes()).await.expect(404);
    let tags = http::send(repository.request(Method::GET, "tags/list")).await.expect(200).json();
    assert_eq!(tags, json!({"name": APP, "tags": ["v1"]}));
}

/// The headers that an answer to GET and one to HEAD must have in common.
fn headers(reply: &Reply) -> Vec<(String, String)> {
    let own = ["date", "x-request-id", "transfer-encoding", "connection"];
    let all = reply.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let mut all: Vec<_> =
        all.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
    all.sort();
    all
}

/// 1, 2, 3, 24: GET and HEAD say the same, the digest first of all; the type is what was pushed, without parameters.
#[tokio::test]
async fn get_and_head_say_the_same() {
    let single = Single::start().await;
    let repository = single.app().await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    repository.push("v1", &image).await;
    let (manifest, layer) = (image.digest(), image::digest(&image.blobs[1]));
    let of_manifest = repository.request(Method::PUT, "manifests/v2");
    let of_manifest = of_manifest.header("Content-Type", format!("{}; charset=utf-8", image::IMAGE));
    let reply = http::send(of_manifest.body(image.raw.clone())).await.expect(201);
    assert_eq!(reply.header("docker-content-digest"), Some(manifest.as_str()));
    assert_eq!(reply.header("location"), Some(format!("/v2/{APP}/manifests/{manifest}").as_str()));
    for (path, digest, media_type) in [
        ("manifests/v2".to_owned(), &manifest, image::IMAGE),
        (format!("manifests/{manifest}"), &manifest, image::IMAGE),
        (format!("blobs/{layer}"), &layer, "application/octet-stream"),
    ] {
        let get = ask(&repository, Method::GET, &path).await.expect(200);
        let head = ask(&repository, Method::HEAD, &path).await.expect(200);
        assert_eq!(headers(&get), headers(&head), "{path}");
        assert_eq!(head.body, b"", "{path}");
        assert_eq!(get.header("docker-content-digest"), Some(digest.as_str()), "{path}");
        assert_eq!(get.header("content-type"), Some(media_type), "{path}");
        assert_eq!(get.header("content-length"), Some(get.body.len().to_string().as_str()), "{path}");
        assert_eq!(get.header("docker-distribution-api-version"), Some("registry/2.0"), "{path}");
        // 24: nothing of ours warns.
        assert_eq!(get.header("warning"), None, "{path}");
    }
    let absent = image::digest(b"absent");
    for path in [format!("manifests/{absent}"), "manifests/absent".to_owned(), format!("blobs/{absent}")] {
        let head = ask(&repository, Method::HEAD, &path).await.expect(404);
        assert_eq!(head.body, b"", "{path}");
        code(&ask(&repository, Method::GET, &path).await.expect(404));
    }
    // A manifest is no blob of its repository, and a blob no manifest (bad-inputs 93).
    blob(&repository, &manifest).await.expect(404);
    ask(&repository, Method::GET, &format!("manifests/{layer}")).await.expect(404);
}

/// 2: what HEAD says is all in the catalog. With the bytes gone it says the same, and GET does not.
#[tokio::test]
async fn head_needs_no_bytes() {
    let single = Single::start().await;
    let repository = single.app().await;
    let image = Image::random(&mut Random::seeded(1), 1, 100_000);
    repository.push("v1", &image).await;
    let layer = format!("blobs/{}", image::digest(&image.blobs[1]));
    let before = ask(&repository, Method::HEAD, &layer).await.expect(200);
    let blobs = single.region.data_dir().join("blobs");
    let aside = blobs.with_extension("aside");
    std::fs::rename(&blobs, &aside).expect("the folder can be renamed");
    let after = ask(&repository, Method::HEAD, &layer).await.expect(200);
    assert_eq!(headers(&before), headers(&after));
    for path in ["manifests/v1", &format!("manifests/{}", image.digest())] {
        ask(&repository, Method::HEAD, path).await.expect(200);
        assert_eq!(ask(&repository, Method::GET, path).await.expect(200).body, image.raw);
    }
    let lost = http::try_send(repository.request(Method::GET, &layer)).await;
    assert!(lost.map_or(true, |reply| reply.status >= 500), "the test took the bytes away");
    std::fs::rename(&aside, &blobs).expect("the folder can be renamed");
    assert_eq!(ask(&repository, Method::GET, &layer).await.expect(200).body, image.blobs[1]);
}

/// 4: what a client accepts changes nothing.
#[tokio::test]
async fn accept_is_ignored() {
    let single = Single::start().await;
    let repository = single.app().await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    repository.push("v1", &image).await;
    for accept in [
        "",
        "*/*",
        "application/json",
        "text/html;q=0.9, */*;q=0.1",
        image::INDEX,
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.oci.image.manifest.v1+json;q=0",
    ] {
        let reply = http::send(repository.request(Method::GET, "manifests/v1").header("Accept", accept)).await;
        let reply = reply.expect(200);
        assert_eq!((reply.header("content-type"), &reply.body), (Some(image::IMAGE), &image.raw), "{accept}");
    }
}

/// 5, 6: the type must be one and the same, the digest that of the bytes, and 4 MiB is the limit.
#[tokio::test]
async fn what_a_manifest_must_be() {
    let single = Single::start().await;
    let repository = single.app().await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    repository.push("v1", &image).await;
    let put = async |reference: &str, media_type: Option<&str>, raw: &[u8]| {
        let mut put = repository.request(Method::PUT, &format!("manifests/{reference}"));
        if let Some(media_type) = media_type {
            put = put.header("Content-Type", media_type);
        }
        http::send(put.body(raw.to_vec())).await
    };
    put("v2", None, &image.raw).await.expect(201);
    let reply = ask(&repository, Method::HEAD, "manifests/v2").await.expect(200);
    assert_eq!(reply.header("content-type"), Some(image::IMAGE));
    let reply = put("v3", Some(image::INDEX), &image.raw).await.expect(400);
    assert_eq!(code(&reply), "MANIFEST_INVALID");
    let reply = put(&image::digest(b"other"), Some(image::IMAGE), &image.raw).await.expect(400);
    assert_eq!(code(&reply), "DIGEST_INVALID");
    // Both algorithms of one manifest: each answers with its own.
    let long = image::sha512_digest(&image.raw);
    let reply = put(&long, Some(image::IMAGE), &image.raw).await.expect(201);
    assert_eq!(reply.header("docker-content-digest"), Some(long.as_str()));
    let reply = ask(&repository, Method::GET, &format!("manifests/{long}")).await.expect(200);
    assert_eq!(reply.header("docker-content-digest"), Some(long.as_str()));

    let padded = |size: usize| {
        let mut manifest: serde_json::Value = serde_json::from_slice(&image.raw).unwrap();
        manifest["annotations"] = json!({"pad": ""});
        let pad = size - manifest.to_string().len();
        manifest["annotations"] = json!({"pad": "x".repeat(pad)});
        manifest.to_string().into_bytes()
    };
    let largest = padded(4 << 20);
    assert_eq!(largest.len(), 4 << 20);
    put("large", Some(image::IMAGE), &largest).await.expect(201);
    assert_eq!(ask(&repository, Method::GET, "manifests/large").await.expect(200).body, largest);
    let reply = put("larger", Some(image::IMAGE), &padded((4 << 20) + 1)).await.expect(413);
    assert_eq!(code(&reply), "MANIFEST_INVALID");
    ask(&repository, Method::GET, "manifests/larger").await.expect(404);
}

/// 17: `If-None-Match` saves the bytes, `If-Match` keeps a tag from being moved twice.
#[tokio::test]
async fn conditions_on_tags() {
    let single = Single::start().await;
    let repository = single.app().await;
    let mut random = Random::seeded(1);
    let (one, two) = (Image::random(&mut random, 1, 1000), Image::random(&mut random, 1, 1000));
    repository.push("v1", &one).await;
    repository.push("two", &two).await;
    let etag = ask(&repository, Method::GET, "manifests/v1").await.expect(200).header("etag").unwrap().to_owned();
    assert_eq!(etag, format!("\"{}\"", one.digest()));
    let get = async |value: &str| {
        http::send(repository.request(Method::GET, "manifests/v1").header("If-None-Match", value)).await
    };
    let same = get(&etag).await.expect(304);
    assert_eq!((same.body.as_slice(), same.header("docker-content-digest")), (&b""[..], Some(one.digest().as_str())));
    get(&format!("W/{etag}, \"other\"")).await.expect(304);
    get("\"other\"").await.expect(200);

    let put = async |header: &str, value: &str, image: &Image| {
        let put = repository.request(Method::PUT, "manifests/v1").header("Content-Type", image.media_type);
        http::send(put.header(header, value).body(image.raw.clone())).await
    };
    let reply = put("If-Match", &format!("\"{}\"", two.digest()), &two).await.expect(412);
    code(&reply);
    put("If-None-Match", "*", &two).await.expect(412);
    put("If-Match", &etag, &two).await.expect(201);
    put("If-Match", &etag, &one).await.expect(412);
    assert_eq!(repository.tag_digest("v1").await, Some(two.digest()));
}

/// 19, 21: deleting a digest takes all its tags along, deleting a tag leaves all else, and gone is gone at once.
#[tokio::test]
async fn deletes() {
    let single = Single::start().await;
    let repository = single.app().await;
    let mut random = Random::seeded(1);
    let (one, two) = (Image::random(&mut random, 1, 1000), Image::random(&mut random, 1, 1000));
    repository.push("v1", &one).await;
    for name in ["v2", "v3"] {
        tag(&repository, name, &one).await;
    }
    repository.push("other", &two).await;
    let layer = format!("blobs/{}", image::digest(&one.blobs[1]));
    // A blob that an image needs stays.
    let reply = ask(&repository, Method::DELETE, &layer).await.expect(405);
    assert_eq!(code(&reply), "UNSUPPORTED");
    ask(&repository, Method::DELETE, "manifests/v3").await.expect(202);
    ask(&repository, Method::HEAD, "manifests/v3").await.expect(404);
    ask(&repository, Method::HEAD, "manifests/v2").await.expect(200);
    ask(&repository, Method::DELETE, &format!("manifests/{}", one.digest())).await.expect(202);
    for reference in ["v1", "v2", &one.digest()] {
        ask(&repository, Method::HEAD, &format!("manifests/{reference}")).await.expect(404);
    }
    ask(&repository, Method::DELETE, &layer).await.expect(202);
    ask(&repository, Method::HEAD, &layer).await.expect(404);
    for gone in ["manifests/v3", &format!("manifests/{}", one.digest()), &layer] {
        let reply = ask(&repository, Method::DELETE, gone).await.expect(404);
        assert!(code(&reply).ends_with("_UNKNOWN"), "{gone}");
    }
    let tags = ask(&repository, Method::GET, "tags/list").await.expect(200).json();
    assert_eq!(tags["tags"], json!(["other"]));
    ask(&repository, Method::DELETE, "manifests/other").await.expect(202);
    let tags = ask(&repository, Method::GET, "tags/list").await.expect(200).json();
    assert_eq!(tags["tags"], json!([]), "a repository without tags is one");
}

/// `?tag=`: all tags or none, told back in one header.
#[tokio::test]
async fn tags_by_parameter() {
    let single = Single::start().await;
    let repository = single.app().await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    repository.push("v1", &image).await;
    let put = async |query: &str| {
        let path = format!("manifests/{}?{query}", image.digest());
        http::send(repository.request(Method::PUT, &path).header("Content-Type", image::IMAGE).body(image.raw.clone()))
            .await
    };
    let reply = put("tag=a&tag=b&tag=c").await.expect(201);
    assert_eq!(reply.header("oci-tag"), Some("a, b, c"));
    put("tag=d&tag=.bad").await.expect(400);
    assert_eq!(repository.tag_digest("d").await, None);
    for name in ["a", "b", "c"] {
        assert_eq!(repository.tag_digest(name).await, Some(image.digest()), "{name}");
    }
}

/// 16: bytes come from the region itself; nobody is sent elsewhere with or without a token in the URL.
#[tokio::test]
async fn blobs_are_not_redirected() {
    let single = Single::start().await;
    let repository = single.app().await;
    repository.push_blob(b"content").await;
    let path = format!("blobs/{}", image::digest(b"content"));
    for method in [Method::GET, Method::HEAD] {
        let reply = ask(&repository, method, &path).await.expect(200);
        assert_eq!(reply.header("location"), None);
        assert_eq!(reply.header("etag"), Some(format!("\"{}\"", image::digest(b"content")).as_str()));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
}

/// 23: what does not answer now is 503, with a time to come back. Here another program holds the catalog's write lock
/// for longer than a region waits for it.
#[tokio::test]
async fn a_busy_catalog_asks_to_come_back() {
    let single = Single::start().await;
    let repository = single.app().await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    repository.push("v1", &image).await;
    let catalog = single.region.data_dir().join("catalog.db");
    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n\
        c.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()\n";
    let mut holder = tokio::process::Command::new("python3")
        .args(["-c", script])
        .arg(&catalog)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 starts");
    let mut held = [0; 5];
    let mut said = holder.stdout.take().expect("it was asked for");
    tokio::io::AsyncReadExt::read_exact(&mut said, &mut held).await.expect("the lock is held");
    let reply = repository.put_manifest("v2", image.media_type, &image.raw).await.expect(503);
    assert!(reply.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{:?}", reply.headers);
    code(&reply);
    // Reads go on meanwhile.
    ask(&repository, Method::GET, "manifests/v1").await.expect(200);
    ask(&repository, Method::GET, "manifests/v2").await.expect(404);
    drop(holder.stdin.take());
    holder.wait().await.expect("it ends");
    let limit = std::time::Duration::from_mins(1);
    wait::until("a push after the lock", limit, || async {
        let reply = repository.put_manifest("v2", image.media_type, &image.raw).await;
        (reply.status == 201).then_some(())
    })
    .await;
}
