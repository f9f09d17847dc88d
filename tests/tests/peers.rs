//! What a region may ask of another, and what one that was taken over may not. Trust between regions, in ARCHITECTURE.md.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use transship_tests::fault::{Action, EIO, Faults, Plan, SYNC};
use transship_tests::http::{self, Reply};
use transship_tests::image::{self, Image};
use transship_tests::manage::{Sync, User, repository_path};
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD, SOURCE, TARGET};
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::region_token::{claims, signed};
use transship_tests::registry::Repository;

/// A call between regions, with a token on it.
async fn call(region: &Region, path: &str, token: &str, body: &Value) -> Reply {
    let post = http::client().post(format!("{}/transship/v1/{path}", region.url())).bearer_auth(token);
    http::send(post.header("Content-Type", "application/json").body(body.to_string())).await
}

/// Exchanges a region token.
async fn exchange(target: &Region, token: &str, repository: &str) -> Reply {
    let (namespace, repository) = repository.split_once('/').expect("an organization and a repository");
    call(target, "token", token, &json!({"namespace": namespace, "repository": repository})).await
}

fn prepare(repository: &str, blobs: &[String]) -> Value {
    let (namespace, repository) = repository.split_once('/').expect("an organization and a repository");
    json!({"namespace": namespace, "repository": repository, "tag": "v1", "digest": image::digest(b"root"),
        "category": "other", "description": "", "blobs": blobs, "manifests": []})
}

fn image() -> Image {
    Image::random(&mut Random::seeded(11), 2, 3000)
}

/// Copies a tag as a user and gives back what the call answered.
async fn copy(pair: &Pair, user: &User, tag: &str) -> Reply {
    pair.source.manage(user).sync_images(GROUP, "app", &Sync::of(&[tag])).await
}

#[tokio::test]
async fn an_ordinary_token_opens_no_call_between_regions() {
    let pair = Pair::start(PairSettings::default()).await;
    let secret = image();
    pair.target_registry().push("sdsad/secret", "v1", &secret).await;
    let blob = image::digest(&secret.blobs[1]);
    let token = pair.target_registry().ask_token("repository:sdsad/ci:pull,push").await.expect(200).json();
    let token = token["token"].as_str().expect("a token");
    let asked = prepare("sdsad/ci", std::slice::from_ref(&blob));
    call(&pair.target, "prepare", token, &asked).await.expect(403);
    let withdrawal = json!({"namespace": "sdsad", "repository": "ci", "tag": "v1", "digest": image::digest(b"root"), "before": null});
    call(&pair.target, "withdraw", token, &withdrawal).await.expect(403);
    exchange(&pair.target, token, "sdsad/ci").await.expect(401);
    call(&pair.target, "blob", token, &json!({})).await.expect(401);
    let ci = Repository::with_token(&pair.target.url(), "sdsad/ci", token);
    http::send(ci.request(Method::HEAD, &format!("blobs/{blob}"))).await.expect(404);
}

/// Whoever has the key of a peer gets for a copy what a copy needs, and that once.
#[tokio::test]
async fn the_token_of_a_region_opens_one_repository_for_a_copy_and_nothing_else() {
    let mut pair = Pair::start(PairSettings::default()).await;
    let (target, image) = (&pair.target, image());
    for repository in ["sdsad/app", "sdsad/other"] {
        pair.target_registry().push(repository, "v1", &image).await;
    }
    let proof = signed(&pair.source, &claims(&pair.source, target, "admin", "sdsad/app")).await;
    exchange(target, &proof, "sdsad/other").await.expect(401);
    let reply = exchange(target, &proof, "sdsad/app").await.expect(200).json();
    assert!(reply["expires_in"].as_u64().expect("a number") <= 300, "{reply}");
    let token = reply["token"].as_str().expect("a token").to_owned();

    let app = Repository::with_token(&target.url(), "sdsad/app", &token);
    let other = Repository::with_token(&target.url(), "sdsad/other", &token);
    let (manifest, blob) = (image.digest(), image::digest(&image.blobs[0]));
    for (method, path, status) in [
        (Method::HEAD, "manifests/v1".to_owned(), 200),
        (Method::HEAD, format!("blobs/{blob}"), 200),
        (Method::POST, "blobs/uploads/".to_owned(), 202),
        (Method::GET, "manifests/v1".to_owned(), 403),
        (Method::GET, format!("blobs/{blob}"), 403),
        (Method::GET, format!("referrers/{manifest}"), 403),
        (Method::GET, "tags/list".to_owned(), 403),
        (Method::DELETE, "manifests/v1".to_owned(), 401),
        (Method::DELETE, format!("blobs/{blob}"), 401),
    ] {
        let request = app.request(method.clone(), &path).header("Content-Length", "0");
        assert_eq!(http::send(request).await.status, status, "{method} {path}");
        let elsewhere = http::send(other.request(method.clone(), &path).header("Content-Length", "0")).await;
        assert_eq!(elsewhere.status, 401, "{method} {path} of another repository");
    }
    let catalog = http::client().get(format!("{}/v2/_catalog", target.url())).bearer_auth(&token);
    http::send(catalog).await.expect(403);
    let manage = http::client().get(format!("{}/v2/manage/namespaces", target.url())).header("X-Auth-Token", &token);
    http::send(manage).await.expect(401);

    // Once, whichever process it meets.
    assert!(exchange(target, &proof, "sdsad/app").await.expect(401).text().contains("used before"));
    pair.target.kill9().await;
    pair.target.start().await;
    let again = exchange(&pair.target, &proof, "sdsad/app").await.expect(401);
    assert!(again.text().contains("used before"), "{}", again.text());

    // Five minutes, whatever it says.
    for (issued, expires) in [(0, 3600), (1800, 2100)] {
        let mut long = claims(&pair.source, &pair.target, "admin", "sdsad/app");
        let now = long["iat"].as_i64().expect("a time");
        (long["iat"], long["exp"]) = (json!(now + issued), json!(now + expires));
        exchange(&pair.target, &signed(&pair.source, &long).await, "sdsad/app").await.expect(401);
    }
    // And it ends at once when the entry of its region says so.
    http::send(app.request(Method::HEAD, "manifests/v1")).await.expect(200);
    pair.target.set_peer_lines(&["administrators = true", "accept = false"]);
    pair.target.hang_up().await;
    http::send(app.request(Method::HEAD, "manifests/v1")).await.expect(401);
}

/// A power cut must not make a region forget a token that it has taken: it is back before the token is old.
#[tokio::test]
async fn a_region_token_is_used_only_when_that_is_on_the_disk() {
    let mut pair = Pair::start(PairSettings::default()).await;
    let faults = Faults::new();
    pair.target.terminate().await;
    pair.target.meet(&faults);
    pair.target.start().await;
    let target = &pair.target;
    let proof = async || signed(&pair.source, &claims(&pair.source, target, "admin", "sdsad/app")).await;
    let (first, second, third) = (proof().await, proof().await, proof().await);
    exchange(target, &first, "sdsad/app").await.expect(200);
    faults.arm(&Plan { calls: SYNC, path: "catalog", first: 1, last: u64::MAX, action: Action::Error(EIO) });
    exchange(target, &second, "sdsad/app").await.expect(503);
    assert!(faults.seen() > 0, "nothing was synced");
    faults.disarm();
    exchange(target, &third, "sdsad/app").await.expect(200);
}

#[tokio::test]
async fn a_peer_acts_for_whom_and_where_its_entry_says() {
    let robot = User::named("robot");
    let mut settings = PairSettings { users: vec![robot.clone()], ..PairSettings::default() };
    settings.target.peer_lines = vec!["namespaces = [\"sds*\"]".to_owned(), "accounts = [\"de?o\"]".to_owned()];
    let mut pair = Pair::start(settings).await;
    for (region, organization, level) in [(&pair.source, GROUP, 1), (&pair.target, SDSAD, 3)] {
        let id = region.user_id(&robot).await;
        region.manage(&pair.admin).grant_namespace(organization, &[(&id, &robot.name, level)]).await;
    }
    pair.target.manage(&pair.admin).create_namespace("private").await;
    for tag in ["v1", "v2"] {
        pair.source_registry().push("group/app", tag, &image()).await;
    }
    // The default: administrators of the target are not acted for, ordinary users are.
    let refused = copy(&pair, &pair.admin, "v1").await.expect(403).text();
    assert!(refused.contains("user admin is an administrator in region cn-north-208"), "{refused}");
    assert_eq!(copy(&pair, &robot, "v1").await.expect(200).json(), json!([]));
    let proof = signed(&pair.source, &claims(&pair.source, &pair.target, "robot", "private/app")).await;
    let refused = exchange(&pair.target, &proof, "private/app").await.expect(403).text();
    assert!(refused.contains("organization private (namespaces)"), "{refused}");

    // It still gets nothing once it may not write at all, and images go there all the same.
    pair.target.set_peer_lines(&["administrators = true", "accept = false"]);
    pair.target.hang_up().await;
    let refused = copy(&pair, &robot, "v2").await.expect(403).text();
    assert!(refused.contains("accept = false"), "{refused}");
    pair.target_registry().push("sdsad/back", "v1", &image()).await;
    let back = Sync { tags: &["v1"], region: SOURCE, namespace: GROUP, replace: false };
    assert_eq!(pair.target.manage(&pair.admin).sync(SDSAD, "back", &back).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_region_key_is_replaced_without_an_interruption_and_a_wrong_one_is_told_on_both_sides() {
    let mut pair = Pair::start(PairSettings::default()).await;
    for tag in ["v1", "v2", "v3", "v4"] {
        pair.source_registry().push("group/app", tag, &image()).await;
    }
    let done = json!([]);
    assert_eq!(copy(&pair, &pair.admin, "v1").await.expect(200).json(), done);
    let old = pair.source.public_key().await;
    let run =
        async |source: &Region, arguments: &[&str]| transship_tests::clients::must(source.command(arguments)).await;
    // A table: its heading, then the file and the public key.
    let prepared = pair.source.admin(&["rekey", "--region", "--prepare"]).await;
    let next = prepared.split_whitespace().next_back().expect("the key stands last").to_owned();
    assert_ne!(next, old.trim());
    pair.target.pin(SOURCE, &[old.trim().to_owned(), next.clone()]);
    pair.target.hang_up().await;
    assert_eq!(copy(&pair, &pair.admin, "v2").await.expect(200).json(), done, "with the old key");
    pair.source.terminate().await;
    pair.source.admin(&["rekey", "--region"]).await;
    pair.source.start().await;
    assert_eq!(copy(&pair, &pair.admin, "v3").await.expect(200).json(), done, "with the new key");

    // Had the old one alone stayed pinned:
    pair.target.pin(SOURCE, &[old.trim().to_owned()]);
    pair.target.hang_up().await;
    let refused = copy(&pair, &pair.admin, "v4").await.expect(403).text();
    let seen = run(&pair.source, &["region-key", "--fingerprint"]).await.trim().to_owned();
    assert!(refused.contains("not pinned for region cn-north-4") && refused.contains(&seen), "{refused}");
    pair.target.wait_for_log(&format!("fingerprint {seen}, pinned SHA256:")).await;
    pair.source.wait_for_log("the peer does not believe this region").await;
    // A stranger learns nothing, not even whether the region is known.
    let nobody = exchange(&pair.target, "a.b.c", "sdsad/app").await.expect(401).text();
    assert!(!nobody.contains("SHA256") && !nobody.contains("not pinned"), "{nobody}");

    // Had the old one been seen by others (docs/operations.md):
    pair.target.set_peer_lines(&["administrators = true", "accept = false", "repair = false"]);
    pair.target.hang_up().await;
    let proof = signed(&pair.source, &claims(&pair.source, &pair.target, "admin", "sdsad/app")).await;
    exchange(&pair.target, &proof, "sdsad/app").await.expect(401);
    pair.target.pin(SOURCE, &[next]);
    pair.target.hang_up().await;
    let refused = copy(&pair, &pair.admin, "v4").await.expect(403).text();
    assert!(refused.contains("accept = false"), "{refused}");
    pair.target.set_peer_lines(&["administrators = true"]);
    pair.target.hang_up().await;
    assert_eq!(copy(&pair, &pair.admin, "v4").await.expect(200).json(), done, "with the new key alone");
}

#[tokio::test]
async fn the_own_key_as_that_of_a_peer_is_refused_at_the_start() {
    let admin = User::named("admin");
    let mut region = Region::prepare(RegionSettings::named(TARGET), &admin).await;
    let other = Region::prepare(RegionSettings::named(SOURCE), &admin).await;
    region.trust(&other, &other.url()).await;
    let own = region.public_key().await.trim().to_owned();
    region.pin(SOURCE, &[own]);
    assert!(region.try_start().await.is_err());
    assert!(region.log().contains("public_key is the key of this region itself"), "{}", region.log());
}

/// An organization that was deleted and made again by somebody else is another one.
#[tokio::test]
async fn a_token_does_not_open_an_organization_that_somebody_else_made_again() {
    let (admin, stranger) = (User::named("admin"), User::named("stranger"));
    let mut region = Region::prepare(RegionSettings::named(SOURCE), &admin).await;
    region.start().await;
    region.terminate().await;
    region.admin(&["account", "create", "--name", "elsewhere"]).await;
    region.add_user("elsewhere", &stranger).await;
    region.start().await;
    region.manage(&admin).create_namespace("team").await;
    let image = image();
    region.registry(&admin).push("team/app", "v1", &image).await;
    let old = region.registry(&admin).open("team/app", "pull,push,delete").await;
    old.pull("v1").await;
    let manage = region.manage(&admin);
    manage.call("DELETE", &repository_path("team", "app"), None).await.expect(204);
    manage.call("DELETE", "/v2/manage/namespaces/team", None).await.expect(204);
    region.manage(&stranger).create_namespace("team").await;

    let (manifest, blob) = (image.digest(), image::digest(&image.blobs[0]));
    // The answers are the same before and after the new owner has pushed.
    let mut seen: BTreeMap<String, u16> = BTreeMap::new();
    for round in 0..2 {
        for (method, path) in [
            (Method::GET, "manifests/v1".to_owned()),
            (Method::HEAD, format!("manifests/{manifest}")),
            (Method::GET, format!("blobs/{blob}")),
            (Method::GET, format!("referrers/{manifest}")),
            (Method::GET, "tags/list".to_owned()),
            (Method::POST, "blobs/uploads/".to_owned()),
            (Method::POST, format!("blobs/uploads/?mount={blob}&from=team/app")),
            (Method::DELETE, "manifests/v1".to_owned()),
            (Method::DELETE, format!("blobs/{blob}")),
        ] {
            let reply = http::send(old.request(method.clone(), &path).header("Content-Length", "0")).await;
            assert_eq!(reply.status, 401, "{method} {path}, round {round}");
            assert!(reply.header("www-authenticate").is_some_and(|value| value.contains("invalid_token")), "{path}");
            seen.insert(format!("{method} {path}"), reply.status);
        }
        let put = old.put_manifest("v2", image.media_type, &image.raw).await;
        assert_eq!(put.status, 401, "round {round}");
        if round == 0 {
            region.registry(&stranger).push("team/app", "v1", &image).await;
        }
    }
    assert_eq!(seen.len(), 9);
    region.registry(&stranger).pull("team/app", "v1").await;
}
