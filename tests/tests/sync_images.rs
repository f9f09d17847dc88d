//! `sync_images`, row by row: the table of contract 3.5 in its order, the rules of 3.4, the order of the checks, and
//! the other reading of the answer (3.1) behind its setting.

use std::time::Duration;

use serde_json::{Value, json};
use transship_tests::http::{self, Reply};
use transship_tests::image::Image;
use transship_tests::manage::{Sync, User, repository_path};
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD, SOURCE, TARGET};
use transship_tests::random::Random;
use transship_tests::wait;
use transship_tests::wan::WanSettings;

const HERE: &str = "group/app";
const THERE: &str = "sdsad/app";
const LIMIT: Duration = Duration::from_mins(1);

fn image(seed: u64) -> Image {
    Image::random(&mut Random::seeded(seed), 2, 20_000)
}

/// Pushes one image for each tag.
async fn push(pair: &Pair, tags: &[(&str, &Image)]) {
    let repository = pair.source_registry().open(HERE, "pull,push").await;
    for (tag, image) in tags {
        repository.push(tag, image).await;
    }
}

async fn sync(pair: &Pair, sync: &Sync<'_>) -> Vec<String> {
    pair.manage().sync(GROUP, "app", sync).await
}

/// The array of the answer, and how many tags it says are still under way.
async fn sync_open(pair: &Pair, sync: &Sync<'_>) -> (Value, Option<String>) {
    let reply = pair.manage().sync_images(GROUP, "app", sync).await.expect(200);
    (reply.json(), reply.header("x-transship-open").map(str::to_owned))
}

async fn status_of(pair: &Pair, tag: &str) -> Option<String> {
    pair.manage().job_status(GROUP, "app", tag).await
}

async fn target_digest(pair: &Pair, tag: &str) -> Option<String> {
    pair.target_registry().tag_digest(THERE, tag).await
}

/// A call with a body as it is, valid or not, to `group/app` or another path.
async fn raw_call(pair: &Pair, path: &str, body: &[u8]) -> Reply {
    pair.manage().call_raw("POST", &format!("{path}/sync_images"), Some(body)).await
}

/// Wants a refusal with this status and code, and that no job came of it.
async fn refused(pair: &Pair, reply: Reply, status: u16, code: &str) -> String {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.error_code(), code, "{}", reply.text());
    if let Some(jobs) = pair.manage().try_jobs(GROUP, "app").await {
        assert_eq!(jobs, [], "a refused call made jobs");
    }
    reply.error_message()
}

#[tokio::test]
async fn every_tag_copied() {
    let pair = Pair::start(PairSettings::default()).await;
    let (one, two) = (image(1), image(2));
    push(&pair, &[("one", &one), ("two", &two)]).await;
    // A tag that is named twice counts once.
    assert_eq!(sync(&pair, &Sync::of(&["one", "two", "one"])).await, [""; 0]);
    let jobs = pair.manage().jobs(GROUP, "app").await;
    assert_eq!(jobs.len(), 2);
    assert!(jobs.iter().all(|job| job.status == "success"), "{jobs:?}");
    for (tag, image) in [("one", &one), ("two", &two)] {
        assert_eq!(pair.target_registry().pull(THERE, tag).await, pair.source_registry().pull(HERE, tag).await);
        assert_eq!(target_digest(&pair, tag).await, Some(image.digest()));
    }
}

#[tokio::test]
async fn some_failed() {
    let pair = Pair::start(PairSettings::default()).await;
    push(&pair, &[("good", &image(1)), ("best", &image(2))]).await;
    // The answer is in the order of the request.
    let answer = sync(&pair, &Sync::of(&["zz-none", "good", "aa-none", "best"])).await;
    assert_eq!(answer, ["zz-none", "aa-none"]);
    assert_eq!(status_of(&pair, "good").await.as_deref(), Some("success"));
    assert_eq!(status_of(&pair, "zz-none").await.as_deref(), Some("failed"));
    assert!(target_digest(&pair, "best").await.is_some());
}

#[tokio::test]
async fn all_failed_and_a_tag_that_is_not_there() {
    let pair = Pair::start(PairSettings::default()).await;
    push(&pair, &[("good", &image(1))]).await;
    assert_eq!(sync(&pair, &Sync::of(&["none", "nothing"])).await, ["none", "nothing"]);
    assert_eq!(status_of(&pair, "none").await.as_deref(), Some("failed"));
    // Nothing was copied, so nothing was made there.
    let path = repository_path(SDSAD, "app");
    pair.target.manage(&pair.admin).call("GET", &path, None).await.expect(404);
}

#[tokio::test]
async fn the_same_digest_is_there_already() {
    let pair = Pair::start(PairSettings::default()).await;
    push(&pair, &[("v1", &image(1))]).await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, [""; 0]);
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, [""; 0]);
    assert_eq!(status_of(&pair, "v1").await.as_deref(), Some("existed"));
    assert_eq!(sync(&pair, &Sync::of(&["v1"]).replacing()).await, [""; 0]);
    assert_eq!(status_of(&pair, "v1").await.as_deref(), Some("existed"));
}

#[tokio::test]
async fn another_digest_is_there() {
    let pair = Pair::start(PairSettings::default()).await;
    let (old, new) = (image(1), image(2));
    push(&pair, &[("v1", &old)]).await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, [""; 0]);
    push(&pair, &[("v1", &new)]).await;
    // override=false: refused, and the target stays as it is.
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, ["v1"]);
    assert_eq!(status_of(&pair, "v1").await.as_deref(), Some("failed"));
    assert_eq!(target_digest(&pair, "v1").await, Some(old.digest()));
    // override left out means the same.
    let body = json!({"imageTag": ["v1"], "remoteRegionId": TARGET, "remoteNamespace": SDSAD}).to_string();
    let answer = raw_call(&pair, &repository_path(GROUP, "app"), body.as_bytes()).await.expect(200).json();
    assert_eq!(answer, json!(["v1"]));
    assert_eq!(target_digest(&pair, "v1").await, Some(old.digest()));
    // override=true: moved.
    assert_eq!(sync(&pair, &Sync::of(&["v1"]).replacing()).await, [""; 0]);
    assert_eq!(status_of(&pair, "v1").await.as_deref(), Some("success"));
    assert_eq!(target_digest(&pair, "v1").await, Some(new.digest()));
    // The old image lost its name, not its bytes.
    assert_eq!(pair.target_registry().pull(THERE, &old.digest()).await.digest, old.digest());
}

#[tokio::test]
async fn the_target_region_is_unreachable() {
    let mut pair = Pair::start(PairSettings::waiting(2)).await;
    push(&pair, &[("v1", &image(1)), ("v2", &image(2))]).await;
    pair.target.kill9().await;
    let (answer, open) = sync_open(&pair, &Sync::of(&["v2", "v1", "none"])).await;
    assert_eq!((answer, open.as_deref()), (json!(["v2", "v1", "none"]), Some("2")), "nothing of it is there");
    for tag in ["v1", "v2"] {
        let status = status_of(&pair, tag).await.unwrap();
        assert!(matches!(status.as_str(), "waiting" | "running"), "{tag}: {status}");
    }
    pair.target.start().await;
    for tag in ["v1", "v2"] {
        let done = || async { status_of(&pair, tag).await.filter(|status| status == "success") };
        wait::until("the job to succeed", LIMIT, done).await;
    }
    let (answer, open) = sync_open(&pair, &Sync::of(&["v2", "v1"])).await;
    assert_eq!((answer, open.as_deref()), (json!([]), Some("0")));
}

/// A target that stays away: the job's own time ends it.
#[tokio::test]
async fn the_target_region_stays_unreachable() {
    let mut settings = PairSettings::default();
    settings.source.replication = vec!["job_timeout_seconds = 2".to_owned()];
    let mut pair = Pair::start(settings).await;
    push(&pair, &[("v1", &image(1))]).await;
    pair.target.kill9().await;
    let (answer, open) = sync_open(&pair, &Sync::of(&["v1"])).await;
    assert_eq!((answer, open.as_deref()), (json!(["v1"]), Some("0")));
    assert_eq!(status_of(&pair, "v1").await.as_deref(), Some("timeout"));
}

#[tokio::test]
async fn the_target_region_is_too_slow() {
    let link = WanSettings { mbit: 1, ..WanSettings::default() };
    let mut settings = PairSettings::default().over(link);
    settings.source.replication = vec!["job_timeout_seconds = 3".to_owned()];
    let pair = Pair::start(settings).await;
    let big = Image::random(&mut Random::seeded(1), 2, 2_000_000);
    push(&pair, &[("big", &big)]).await;
    assert_eq!(sync(&pair, &Sync::of(&["big"])).await, ["big"]);
    assert_eq!(status_of(&pair, "big").await.as_deref(), Some("timeout"));
    assert_eq!(target_digest(&pair, "big").await, None);
}

#[tokio::test]
async fn still_running_when_the_wait_ends() {
    let link = WanSettings { mbit: 8, ..WanSettings::default() };
    let pair = Pair::start(PairSettings::waiting(1).over(link)).await;
    let big = Image::random(&mut Random::seeded(1), 3, 1_500_000);
    push(&pair, &[("big", &big)]).await;
    let (answer, open) = sync_open(&pair, &Sync::of(&["big", "none"])).await;
    assert_eq!((answer, open.as_deref()), (json!(["big", "none"]), Some("1")), "what is still running is not there");
    let status = status_of(&pair, "big").await.unwrap();
    assert!(matches!(status.as_str(), "waiting" | "running"), "{status}");
    assert_eq!(target_digest(&pair, "big").await, None, "the tag is there before the image is whole");
    let done = || async { status_of(&pair, "big").await.filter(|status| status == "success") };
    wait::until("the job to finish in the background", LIMIT, done).await;
    assert_eq!(pair.target_registry().pull(THERE, "big").await.digest, big.digest());
}

#[tokio::test]
async fn no_wait_at_all() {
    let pair = Pair::start(PairSettings::waiting(0)).await;
    push(&pair, &[("v1", &image(1))]).await;
    let (answer, open) = sync_open(&pair, &Sync::of(&["v1", "none"])).await;
    assert_eq!((answer, open), (json!([]), None), "with no wait nothing is known of any tag");
    let done = || async {
        let jobs = pair.manage().jobs(GROUP, "app").await;
        jobs.iter().all(transship_tests::manage::Job::is_final).then_some(jobs)
    };
    let mut jobs = wait::until("both jobs to end", LIMIT, done).await;
    jobs.sort_by(|a, b| a.tag.cmp(&b.tag));
    let told: Vec<(&str, &str)> = jobs.iter().map(|job| (job.tag.as_str(), job.status.as_str())).collect();
    assert_eq!(told, [("none", "failed"), ("v1", "success")]);
}

#[tokio::test]
async fn region_and_organizations_that_are_not_there() {
    let pair = Pair::start(PairSettings::default()).await;
    push(&pair, &[("v1", &image(1))]).await;
    let manage = pair.manage();
    let base = Sync::of(&["v1"]);
    let reply = manage.sync_images(GROUP, "app", &Sync { region: "cn-moon-1", ..base.clone() }).await;
    let message = refused(&pair, reply, 400, "4000014").await;
    assert!(message.contains("cn-moon-1"), "{message}");
    let reply = manage.sync_images(GROUP, "app", &Sync { namespace: "nowhere", ..base.clone() }).await;
    let message = refused(&pair, reply, 404, "4040058").await;
    assert!(message.contains("nowhere") && message.contains(TARGET), "{message}");
    let reply = manage.sync_images("nowhere", "app", &base).await;
    let message = refused(&pair, reply, 404, "4040058").await;
    assert!(message.contains("nowhere") && message.contains(SOURCE), "{message}");
    let reply = manage.sync_images(GROUP, "other", &base).await;
    refused(&pair, reply, 404, "4040113").await;
    // A copy onto itself.
    let reply = manage.sync_images(GROUP, "app", &Sync { region: SOURCE, namespace: GROUP, ..base }).await;
    refused(&pair, reply, 400, "4000014").await;
}

#[tokio::test]
async fn own_region_and_another_organization() {
    let pair = Pair::start(PairSettings::default()).await;
    let (old, new) = (image(1), image(2));
    push(&pair, &[("v1", &old)]).await;
    pair.manage().create_namespace("copies").await;
    let here = Sync { region: SOURCE, namespace: "copies", ..Sync::of(&["v1", "none"]) };
    assert_eq!(sync(&pair, &here).await, ["none"]);
    assert_eq!(pair.source_registry().pull("copies/app", "v1").await, pair.source_registry().pull(HERE, "v1").await);
    push(&pair, &[("v1", &new)]).await;
    assert_eq!(sync(&pair, &here).await, ["v1", "none"]);
    assert_eq!(sync(&pair, &here.replacing()).await, ["none"]);
    assert_eq!(pair.source_registry().tag_digest("copies/app", "v1").await, Some(new.digest()));
}

#[tokio::test]
async fn bodies_that_are_refused() {
    let pair = Pair::start(PairSettings::default()).await;
    push(&pair, &[("v1", &image(1))]).await;
    let good = json!({"imageTag": ["v1"], "remoteRegionId": TARGET, "remoteNamespace": SDSAD, "override": true});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    let without = |field: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        body.to_string()
    };
    let mut cases = vec![
        (with("imageTag", json!([])), "4001014"),
        (with("remoteRegionId", json!("")), "4001014"),
        (with("remoteNamespace", json!("")), "4001014"),
        ("{}".to_owned(), "4001014"),
        (with("imageTag", json!(["bad tag"])), "4009021"),
        (with("imageTag", json!(["v1", "-v2"])), "4009021"),
        (with("imageTag", json!(["v1", ""])), "4009021"),
        (with("imageTag", json!(["x".repeat(129)])), "4009021"),
        (with("imageTag", json!("v1")), "4000014"),
        (with("imageTag", json!([1])), "4000014"),
        (with("imageTag", json!({"0": "v1"})), "4000014"),
        (with("remoteRegionId", json!(208)), "4000014"),
        (with("remoteNamespace", json!(["sdsad"])), "4000014"),
        (with("override", json!("true")), "4000014"),
        (with("override", json!(1)), "4000014"),
        ("[]".to_owned(), "4000014"),
        (String::new(), "4001018"),
        ("no JSON".to_owned(), "4001018"),
        (good.to_string() + "x", "4001018"),
    ];
    for field in ["imageTag", "remoteRegionId", "remoteNamespace"] {
        cases.push((without(field), "4001014"));
    }
    for (body, code) in cases {
        let reply = raw_call(&pair, &repository_path(GROUP, "app"), body.as_bytes()).await;
        let text = reply.text();
        assert_eq!((reply.status, reply.error_code().as_str()), (400, code), "{body} was answered {text}");
    }
    assert_eq!(pair.manage().jobs(GROUP, "app").await, []);
    // An unknown field is nobody's business.
    let reply = raw_call(&pair, &repository_path(GROUP, "app"), with("more", json!(1)).as_bytes()).await;
    assert_eq!(reply.expect(200).json(), json!([]));
}

#[tokio::test]
async fn too_many_tags() {
    let mut settings = PairSettings::default();
    settings.source.sync_max_tags = 3;
    let pair = Pair::start(settings).await;
    push(&pair, &[("v1", &image(1))]).await;
    let reply = pair.manage().sync_images(GROUP, "app", &Sync::of(&["v1", "v2", "v3", "v4"])).await;
    let message = refused(&pair, reply, 400, "4000014").await;
    assert!(message.contains('3'), "the limit is not in: {message}");
    // Distinct tags are what counts.
    assert_eq!(sync(&pair, &Sync::of(&["v1", "v1", "v2", "v2", "v3"])).await, ["v2", "v3"]);
}

#[tokio::test]
async fn credentials_that_are_refused() {
    let pair = Pair::start(PairSettings::default()).await;
    push(&pair, &[("v1", &image(1))]).await;
    let path = format!("{}/sync_images", repository_path(GROUP, "app"));
    let body = Sync::of(&["v1"]).body();
    let bare = http::client().post(format!("{}{path}", pair.source.url())).body(body.to_string());
    refused(&pair, http::send(bare).await, 401, "4010000").await;
    let token = http::client().post(format!("{}{path}", pair.source.url())).header("X-Auth-Token", "no token");
    refused(&pair, http::send(token.body(body.to_string())).await, 401, "4010000").await;
    let wrong_secret = User { secret_key: "another".to_owned(), ..pair.admin.clone() };
    let reply = pair.source.manage(&wrong_secret).call("POST", &path, Some(body.clone())).await;
    refused(&pair, reply, 401, "APIGW.0301").await;
    let reply = pair.source.manage(&User::named("stranger")).call("POST", &path, Some(body)).await;
    refused(&pair, reply, 401, "APIGW.0301").await;
}

#[tokio::test]
async fn too_many_jobs_are_queued() {
    let mut settings = PairSettings::waiting(0);
    settings.source.replication = vec!["max_open_jobs_per_account = 5".to_owned()];
    let mut pair = Pair::start(settings).await;
    push(&pair, &[("v1", &image(1))]).await;
    // With the target gone, jobs stay open.
    pair.target.kill9().await;
    assert_eq!(sync(&pair, &Sync::of(&["a", "b", "c", "v1"])).await, [""; 0]);
    let reply = pair.manage().sync_images(GROUP, "app", &Sync::of(&["x1", "x2", "x3", "x4", "x5", "x6"])).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (429, "4090023"), "{}", reply.text());
    let jobs = pair.manage().jobs(GROUP, "app").await;
    assert_eq!(jobs.len(), 4, "a refused call made jobs: {jobs:?}");
}

/// One user for each side of the permission check, and one for neither.
#[tokio::test]
async fn permissions_that_are_missing() {
    let users: Vec<User> = ["both", "source-only", "target-only", "nobody"].map(User::named).to_vec();
    let pair = Pair::start(PairSettings { users: users.clone(), ..PairSettings::default() }).await;
    push(&pair, &[("v1", &image(1))]).await;
    for (number, user) in users.iter().enumerate() {
        let (reads, writes) = (number == 0 || number == 1, number == 0 || number == 2);
        if reads {
            let id = pair.source.user_id(user).await;
            pair.manage().grant_namespace(GROUP, &[(&id, &user.name, 1)]).await;
        }
        // Read in the target is not enough there.
        let id = pair.target.user_id(user).await;
        let level = if writes { 3 } else { 1 };
        pair.target.manage(&pair.admin).grant_namespace(SDSAD, &[(&id, &user.name, level)]).await;
    }
    for user in &users[1..] {
        let reply = pair.source.manage(user).sync_images(GROUP, "app", &Sync::of(&["v1"])).await;
        refused(&pair, reply, 403, "4030170").await;
    }
    assert_eq!(pair.source.manage(&users[0]).sync(GROUP, "app", &Sync::of(&["v1"])).await, [""; 0]);
}

/// Each check fails together with all that come after it that can: the earliest one answers.
#[tokio::test]
async fn checks_run_in_their_order() {
    let users = vec![User::named("reader"), User::named("stranger")];
    let mut settings = PairSettings { users: users.clone(), ..PairSettings::default() };
    settings.source.sync_max_tags = 1;
    let pair = Pair::start(settings).await;
    push(&pair, &[("v1", &image(1))]).await;
    let reader_id = pair.source.user_id(&users[0]).await;
    pair.manage().grant_namespace(GROUP, &[(&reader_id, "reader", 1)]).await;
    let (reader, stranger) = (pair.source.manage(&users[0]), pair.source.manage(&users[1]));
    let outlaw = pair.source.manage(&User { secret_key: "wrong".to_owned(), ..users[0].clone() });

    let body = |region: &str, namespace: &str| {
        json!({"imageTag": ["v1", "v2"], "remoteRegionId": region, "remoteNamespace": namespace}).to_string()
    };
    let bad_body = "{".to_owned();
    let elsewhere = body("cn-moon-1", "nowhere");
    let app = repository_path(GROUP, "app");
    let cases = [
        ("credentials", &outlaw, repository_path("Bad", "app"), bad_body.clone(), 401, "APIGW.0301"),
        ("organization's name", &stranger, repository_path("Bad", "app"), bad_body.clone(), 400, "4001028"),
        ("repository's name", &stranger, repository_path(GROUP, "App"), bad_body.clone(), 400, "4001029"),
        ("body", &pair.manage(), repository_path("nowhere", "app"), bad_body, 400, "4001018"),
        ("source organization", &pair.manage(), repository_path("nowhere", "app"), elsewhere.clone(), 404, "4040058"),
        ("source repository", &pair.manage(), repository_path(GROUP, "none"), elsewhere.clone(), 404, "4040113"),
        ("permission on the source", &stranger, app.clone(), elsewhere.clone(), 403, "4030170"),
        ("region", &reader, app.clone(), elsewhere, 400, "4000014"),
        ("target organization", &pair.manage(), app.clone(), body(TARGET, "nowhere"), 404, "4040058"),
        ("permission in the target", &reader, app.clone(), body(TARGET, SDSAD), 403, "4030170"),
        ("number of tags", &pair.manage(), app, body(TARGET, SDSAD), 400, "4000014"),
    ];
    for (what, caller, path, body, status, code) in cases {
        let reply = caller.call_raw("POST", &format!("{path}/sync_images"), Some(body.as_bytes())).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (status, code), "{what}: {}", reply.text());
    }
    assert_eq!(pair.manage().jobs(GROUP, "app").await, []);
}

/// The seed's samples as printed name no repository: Python sends the placeholders, Go sends nothing.
#[tokio::test]
async fn paths_of_the_samples_as_printed() {
    let pair = Pair::start(PairSettings::default()).await;
    for path in ["/v2/manage/namespaces/%7Bnamespace%7D/repos/%7Brepository%7D", "/v2/manage/namespaces//repos/"] {
        let reply = raw_call(&pair, path, Sync::of(&["V1"]).body().to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (400, "4001028"), "{path}: {}", reply.text());
    }
}

/// A repository with a slash, in each spelling that a client has for it (1.2).
#[tokio::test]
async fn a_repository_with_a_slash_in_every_spelling() {
    let pair = Pair::start(PairSettings::default()).await;
    let image = image(1);
    pair.source_registry().push("group/team/app", "v1", &image).await;
    let body = Sync::of(&["v1"]).body().to_string();
    for spelling in ["team$app", "team%24app", "team%2Fapp", "team/app"] {
        let path = format!("/v2/manage/namespaces/{GROUP}/repos/{spelling}");
        let answer = raw_call(&pair, &path, body.as_bytes()).await;
        assert_eq!(answer.expect(200).json(), json!([]), "{spelling}");
    }
    let jobs = pair.manage().jobs(GROUP, "team/app").await;
    assert_eq!(jobs.len(), 4);
    assert_eq!(pair.target_registry().tag_digest("sdsad/team/app", "v1").await, Some(image.digest()));
}

/// Reading B: the answer lists the tags that got there.
#[tokio::test]
async fn the_other_reading_of_the_answer() {
    let mut settings = PairSettings::default();
    settings.source.sync_images_response = "succeeded";
    let pair = Pair::start(settings).await;
    push(&pair, &[("good", &image(1)), ("best", &image(2))]).await;
    assert_eq!(sync(&pair, &Sync::of(&["none", "good", "best"])).await, ["good", "best"]);
    assert_eq!(sync(&pair, &Sync::of(&["none"])).await, [""; 0]);
    assert_eq!(sync(&pair, &Sync::of(&["best", "none", "good"])).await, ["best", "good"], "what was there is there");
    let (answer, open) = sync_open(&pair, &Sync::of(&["good"])).await;
    assert_eq!((answer, open.as_deref()), (json!(["good"]), Some("0")));
}

#[tokio::test]
async fn the_other_reading_counts_what_is_still_under_way_too() {
    let mut settings = PairSettings::waiting(1);
    settings.source.sync_images_response = "succeeded";
    let mut pair = Pair::start(settings).await;
    push(&pair, &[("v1", &image(1))]).await;
    pair.target.kill9().await;
    let (answer, open) = sync_open(&pair, &Sync::of(&["v1", "none"])).await;
    assert_eq!((answer, open.as_deref()), (json!([]), Some("1")), "one has failed");
}

/// 3.4: an index goes with all its manifests, and what refers to it goes too.
#[tokio::test]
async fn an_index_goes_whole_with_its_signature() {
    let pair = Pair::start(PairSettings::default()).await;
    let index = Image::index(vec![image(1), image(2), image(3)]);
    let signature = Image::signature_of(&index, b"signed");
    push(&pair, &[("multi", &index), (&signature.digest(), &signature)]).await;
    assert_eq!(sync(&pair, &Sync::of(&["multi"])).await, [""; 0]);
    let target = pair.target_registry().open(THERE, "pull").await;
    let there = target.pull("multi").await;
    assert_eq!(there, pair.source_registry().pull(HERE, "multi").await);
    // Three manifests with a config and two layers each, and the index.
    assert_eq!(there.parts.len(), 13);
    assert_eq!(target.referrers(&index.digest()).await, [signature.digest()]);
    assert_eq!(target.pull(&signature.digest()).await.digest, signature.digest());
}

/// 3.4: the target repository is made, private, with category and description of the source.
#[tokio::test]
async fn the_target_repository_is_made_like_the_source() {
    let pair = Pair::start(PairSettings::default()).await;
    let body = json!({"repository": "app", "is_public": true, "category": "database", "description": "the main one"});
    pair.manage().call("POST", &format!("/v2/manage/namespaces/{GROUP}/repos"), Some(body)).await.expect(200);
    push(&pair, &[("v1", &image(1))]).await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, [""; 0]);
    let path = repository_path(SDSAD, "app");
    let made = pair.target.manage(&pair.admin).call("GET", &path, None).await.expect(200).json();
    assert_eq!(made["is_public"], false, "{made}");
    assert_eq!(made["category"], "database", "{made}");
    assert_eq!(made["description"], "the main one", "{made}");
}

/// 3.4: layers that the target has are not sent again, whether in this repository or in another one.
#[tokio::test]
async fn what_the_target_has_is_not_sent() {
    let pair = Pair::start(PairSettings::default().over(WanSettings::default())).await;
    let mut random = Random::seeded(1);
    let shared = random.bytes(1_000_000);
    let first = Image::of(vec![shared.clone(), random.bytes(10_000)]);
    let second = Image::of(vec![shared.clone(), random.bytes(10_000)]);
    let third = Image::of(vec![shared, random.bytes(10_000)]);
    push(&pair, &[("v1", &first), ("v2", &second)]).await;
    pair.source_registry().push("group/other", "v3", &third).await;
    assert_eq!(sync(&pair, &Sync::of(&["v1"])).await, [""; 0]);
    assert_eq!(sync(&pair, &Sync::of(&["v2"])).await, [""; 0]);
    assert_eq!(pair.manage().sync(GROUP, "other", &Sync::of(&["v3"])).await, [""; 0]);
    assert_eq!(sync(&pair, &Sync::of(&["v1"]).replacing()).await, [""; 0]);
    assert_eq!(pair.target_registry().pull("sdsad/other", "v3").await.digest, third.digest());
    let Pair { wan, source: _source, target: _target, .. } = pair;
    let up = wan.unwrap().stop().await.up_bytes;
    assert!(up < 1_250_000, "{up} bytes went to the target, and 1 030 000 are new there");
}
