//! Lists: tags, repositories and referrers in pages, and the tag that older clients read referrers from. Numbers are
//! those of docs/quality/registry-protocol.md, "what the suite does not test".

use reqwest::Method;
use serde_json::{Value, json};
use transship_tests::http;
use transship_tests::image::{self, Image};
use transship_tests::manage::User;
use transship_tests::random::Random;
use transship_tests::registry::Repository;
use transship_tests::single::{Single, ask, code, next_page, tag};

fn strings(value: &Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|item| item.as_str().expect("of texts").to_owned()).collect()
}

/// Every page of a list of tags, from this query on.
async fn pages(repository: &Repository, query: &str) -> Vec<Vec<String>> {
    let (mut pages, mut path) = (Vec::new(), format!("tags/list{query}"));
    loop {
        let page = ask(repository, Method::GET, &path).await.expect(200);
        pages.push(strings(&page.json()["tags"]));
        let Some(next) = next_page(&page) else { return pages };
        path = next;
    }
}

/// 18: in byte order, every tag once, and the last page has no link.
#[tokio::test]
async fn tags_are_listed_in_pages() {
    let single = Single::start().await;
    let repository = single.app().await;
    let image = Image::random(&mut Random::seeded(1), 1, 1000);
    repository.push("a", &image).await;
    for name in ["a1", "B", "a-", "c", "a0"] {
        tag(&repository, name, &image).await;
    }
    let all = ["B", "a", "a-", "a0", "a1", "c"];
    assert_eq!(pages(&repository, "").await, [all]);
    for size in 1..=7 {
        let found = pages(&repository, &format!("?n={size}")).await;
        assert_eq!(found.concat(), all, "pages of {size}");
        assert_eq!(found.len(), all.len().div_ceil(size), "pages of {size}: none is empty");
    }
    // A place that is no tag, or no longer one.
    assert_eq!(pages(&repository, "?last=a").await.concat(), all[2..]);
    assert_eq!(pages(&repository, "?last=a%00").await.concat(), all[2..]);
    assert_eq!(pages(&repository, "?n=2&last=a-x").await.concat(), all[3..]);
    assert_eq!(pages(&repository, "?last=z").await.concat(), [""; 0]);
    let none = ask(&repository, Method::GET, "tags/list?n=0").await.expect(200);
    assert_eq!((none.json()["tags"].clone(), none.header("link")), (json!([]), None));
    for bad in ["n=-1", "n=abc", "n=1.5", "n=", "n=99999999999999999999", "n=1&n=2"] {
        let reply = ask(&repository, Method::GET, &format!("tags/list?{bad}")).await.expect(400);
        assert_eq!(code(&reply), "UNSUPPORTED", "{bad}");
    }
    assert_eq!(pages(&repository, "?n=5000000").await, [all]);
    // What is deleted and made between two pages moves nothing else.
    let first = ask(&repository, Method::GET, "tags/list?n=3").await.expect(200);
    ask(&repository, Method::DELETE, "manifests/a-").await.expect(202);
    tag(&repository, "A", &image).await;
    tag(&repository, "b", &image).await;
    let second = ask(&repository, Method::GET, &next_page(&first).expect("there is more")).await.expect(200);
    assert_eq!(strings(&second.json()["tags"]), ["a0", "a1", "b"]);

    // 19.
    let absent = single.registry().open("group/absent", "pull").await;
    let reply = ask(&absent, Method::GET, "tags/list").await.expect(404);
    assert_eq!(code(&reply), "NAME_UNKNOWN");
}

/// bad-inputs 95, tenancy H5: the catalog shows what its reader may pull from, in pages of the same kind.
#[tokio::test]
async fn repositories_are_listed_in_pages() {
    let user = User::named("reader");
    let single = Single::start_with(&[], &[&user]).await;
    let manage = single.region.manage(&single.admin);
    let id = single.region.user_id(&user).await;
    for namespace in ["alpha", "alpha-b"] {
        manage.create_namespace(namespace).await;
    }
    for (namespace, name) in [("group", "b"), ("group", "a"), ("alpha", "x"), ("alpha-b", "y"), ("group", "secret")] {
        manage.create_repository(namespace, name).await;
    }
    single.publish("b").await;
    manage.grant_namespace("alpha-b", &[(&id, &user.name, 1)]).await;
    manage.grant_repository("alpha", "x", &[(&id, &user.name, 1)]).await;
    let all = ["alpha-b/y", "alpha/x", "group/a", "group/b", "group/secret"];
    for (registry, expected) in [
        (single.registry(), &all[..]),
        (single.region.registry(&user), &["alpha-b/y", "alpha/x", "group/b"][..]),
        (single.region.anonymous(), &["group/b"][..]),
    ] {
        let token = registry.ask_token("").await.expect(200).json()["token"].as_str().expect("a token").to_owned();
        for size in 1..=6 {
            let (mut seen, mut path) = (Vec::new(), format!("/v2/_catalog?n={size}"));
            loop {
                let page = http::send(single.request(Method::GET, &path).bearer_auth(&token)).await.expect(200);
                seen.extend(strings(&page.json()["repositories"]));
                let Some(link) = page.header("link") else { break };
                path = link.split(['<', '>']).nth(1).expect("a link has a target").to_owned();
            }
            assert_eq!(seen, expected, "pages of {size}");
        }
    }
}

/// Pushes something that refers to `subject`, with an annotation of so many bytes.
async fn refer(repository: &Repository, subject: &Image, kind: &str, number: usize, bytes: usize) -> String {
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": image::digest(b"{}"), "size": 2});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": image::IMAGE, "artifactType": kind, "config": empty, "layers": [],
        "subject": {"mediaType": subject.media_type, "digest": subject.digest(), "size": subject.raw.len()},
        "annotations": {"number": number.to_string(), "pad": "x".repeat(bytes)},
    });
    let raw = manifest.to_string().into_bytes();
    let digest = image::digest(&raw);
    let reply = repository.put_manifest(&digest, image::IMAGE, &raw).await.expect(201);
    assert_eq!(reply.header("oci-subject"), Some(subject.digest().as_str()));
    digest
}

/// Every referrer that the API tells, and on how many pages.
async fn referrers(repository: &Repository, path: &str) -> (Vec<String>, usize) {
    let (mut found, mut path, mut count) = (Vec::new(), path.to_owned(), 0);
    loop {
        let page = ask(repository, Method::GET, &path).await.expect(200);
        assert_eq!(page.header("content-type"), Some(image::INDEX));
        assert_eq!(page.header("oci-filters-applied").is_some(), path.contains("artifactType="), "{path}");
        let index = page.json();
        assert_eq!((index["schemaVersion"].as_i64(), index["mediaType"].as_str()), (Some(2), Some(image::INDEX)));
        assert!(page.body.len() <= 5 << 20, "a page of {} bytes", page.body.len());
        for entry in index["manifests"].as_array().expect("entries") {
            found.push(entry["digest"].as_str().expect("a digest").to_owned());
        }
        count += 1;
        let Some(next) = next_page(&page) else { return (found, count) };
        path = next;
    }
}

/// 20: filters, pages by number and by size, and deletes.
#[tokio::test]
async fn referrers_are_listed_in_pages() {
    let single = Single::start().await;
    let repository = single.app().await;
    let mut random = Random::seeded(1);
    let subject = Image::random(&mut random, 1, 1000);
    let list = format!("referrers/{}", subject.digest());
    // Nothing refers to what nobody has pushed, also in a repository that does not exist.
    assert_eq!(referrers(&repository, &list).await, (Vec::new(), 1));
    repository.push_blob(b"{}").await;
    let (sbom, signature) = ("application/vnd.sbom", "application/vnd.signature+json");
    let mut expected = Vec::new();
    for number in 0..120 {
        expected.push(refer(&repository, &subject, if number % 3 == 0 { sbom } else { signature }, number, 0).await);
    }
    let sboms: Vec<String> = expected.iter().step_by(3).cloned().collect();
    let sorted = |mut digests: Vec<String>| {
        digests.sort_unstable();
        digests
    };
    assert_eq!(referrers(&repository, &list).await, (sorted(expected.clone()), 2));
    assert_eq!(referrers(&repository, &format!("{list}?artifactType={sbom}")).await, (sorted(sboms), 1));
    // The plus sign is one, also where a form would read a space.
    let (found, _) = referrers(&repository, &format!("{list}?artifactType=application/vnd.signature%2Bjson")).await;
    assert_eq!(found.len(), 80);
    for odd in ["x%0d%0aEvil:%201", "%22%3E", "%00", &"y".repeat(4000)] {
        let reply = ask(&repository, Method::GET, &format!("{list}?artifactType={odd}")).await.expect(200);
        assert_eq!(reply.json()["manifests"], json!([]), "{odd}");
        assert_eq!(reply.header("evil"), None);
    }
    // A filter that is not known is none.
    let reply = ask(&repository, Method::GET, &format!("{list}?platform=linux")).await.expect(200);
    assert_eq!(reply.header("oci-filters-applied"), None);
    for bad in ["v1", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let reply = ask(&repository, Method::GET, &format!("referrers/{bad}")).await.expect(400);
        assert_eq!(code(&reply), "DIGEST_INVALID", "{bad}");
    }

    // The subject comes, and goes again: what refers to it stays. What is deleted is gone at once.
    repository.push("v1", &subject).await;
    ask(&repository, Method::DELETE, &format!("manifests/{}", subject.digest())).await.expect(202);
    let gone = expected.pop().expect("there are many");
    ask(&repository, Method::DELETE, &format!("manifests/{gone}")).await.expect(202);
    assert_eq!(referrers(&repository, &list).await.0, sorted(expected));

    // Large ones: a page ends before it is larger than clients take.
    let heavy = Image::random(&mut random, 1, 1000);
    for number in 0..3 {
        refer(&repository, &heavy, sbom, number, 1_500_000).await;
    }
    let (found, count) = referrers(&repository, &format!("referrers/{}", heavy.digest())).await;
    assert_eq!((found.len(), count), (3, 2));
}

/// 20: the fallback tag, read and written by a client that knows nothing else.
#[tokio::test]
async fn the_referrers_tag_is_kept_in_step() {
    let single = Single::start().await;
    let repository = single.app().await;
    let subject = Image::random(&mut Random::seeded(1), 1, 1000);
    repository.push("v1", &subject).await;
    repository.push_blob(b"{}").await;
    let name = subject.digest().replace(':', "-");
    ask(&repository, Method::GET, &format!("manifests/{name}")).await.expect(404);
    let by_api = refer(&repository, &subject, "application/vnd.sbom", 1, 0).await;

    let read = ask(&repository, Method::GET, &format!("manifests/{name}")).await.expect(200);
    let head = ask(&repository, Method::HEAD, &format!("manifests/{name}")).await.expect(200);
    let digest = image::digest(&read.body);
    for reply in [&read, &head] {
        assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(reply.header("content-type"), Some(image::INDEX));
    }
    let again = ask(&repository, Method::GET, &format!("manifests/{digest}")).await.expect(200);
    assert_eq!(again.body, read.body);
    assert_eq!(read.json()["manifests"][0]["digest"], json!(by_api));
    assert_eq!(strings(&ask(&repository, Method::GET, "tags/list").await.expect(200).json()["tags"]), ["v1"]);

    // The client pushes its own, adds it to what it read, and puts that back if nobody was faster.
    let mine = refer(&repository, &subject, "application/vnd.signature", 2, 0).await;
    let seen = ask(&repository, Method::GET, &format!("manifests/{name}")).await.expect(200);
    let mut index = seen.json();
    let note = json!({"note": "mine"});
    index["annotations"] = note.clone();
    let put = async |etag: &str| {
        let put = repository.request(Method::PUT, &format!("manifests/{name}")).header("If-Match", etag);
        http::send(put.header("Content-Type", image::INDEX).body(index.to_string())).await
    };
    put("\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"").await.expect(412);
    put(seen.header("etag").expect("an entity tag")).await.expect(201);
    put(seen.header("etag").expect("an entity tag")).await.expect(412);
    let (told, _) = referrers(&repository, &format!("referrers/{}", subject.digest())).await;
    let mut both = vec![by_api, mine];
    both.sort_unstable();
    assert_eq!(told, both);

    // Later ones show at the tag, and what the client wrote is not lost.
    let later = refer(&repository, &subject, "application/vnd.sbom", 3, 0).await;
    let read = ask(&repository, Method::GET, &format!("manifests/{name}")).await.expect(200).json();
    assert_eq!(read["annotations"], note);
    let listed: Vec<&str> =
        read["manifests"].as_array().unwrap().iter().map(|m| m["digest"].as_str().unwrap()).collect();
    assert_eq!(listed.len(), 3);
    assert!(listed.contains(&later.as_str()), "{listed:?}");
}
