//! The queue of replication jobs as its users meet it: accounts that share it (I12), targets that are away for long (I11),
//! and what is told about a job.

use std::time::Duration;

use serde_json::Value;
use transship_tests::image::Image;
use transship_tests::manage::{Job, Manage, Sync, User, repository_path};
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD, SOURCE, TARGET};
use transship_tests::random::Random;
use transship_tests::wait;

const LIMIT: Duration = Duration::from_mins(2);

fn image(seed: u64) -> Image {
    Image::random(&mut Random::seeded(seed), 2, 20_000)
}

async fn ended(manage: &Manage, namespace: &str, tag: &str) -> String {
    let ended = || async {
        let jobs = manage.try_jobs(namespace, "app").await?;
        jobs.into_iter().find(|job| job.tag == tag).filter(Job::is_final).map(|job| job.status)
    };
    wait::until("the job to end", LIMIT, ended).await
}

#[tokio::test]
async fn one_tag_does_not_wait_for_hundreds_of_another_account() {
    let mut settings = PairSettings::waiting(0);
    settings.source.replication = vec!["slots_per_region = 1".to_owned()];
    let mut pair = Pair::start(settings).await;
    let other = User::named("other");
    pair.source.terminate().await;
    pair.source.admin(&["account", "create", "--name", "elsewhere"]).await;
    pair.source.add_user("elsewhere", &other).await;
    pair.source.start().await;
    let (mine, theirs) = (pair.manage(), pair.source.manage(&other));
    mine.create_namespace("copies").await;
    theirs.create_namespace("theirs").await;
    theirs.create_namespace("their-copies").await;
    pair.source_registry().push("group/app", "v1", &image(1)).await;
    pair.source.registry(&other).push("theirs/app", "v1", &image(2)).await;

    let many: Vec<String> = (0..500).map(|number| format!("none-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let within = |namespace| Sync { region: SOURCE, namespace, ..Sync::of(&["v1"]) };
    assert_eq!(mine.sync(GROUP, "app", &Sync { tags: &many, ..within("copies") }).await, [""; 0]);
    assert_eq!(theirs.sync("theirs", "app", &within("their-copies")).await, [""; 0]);
    assert_eq!(ended(&theirs, "theirs", "v1").await, "success");
    let jobs = mine.jobs(GROUP, "app").await;
    let open = jobs.iter().filter(|job| !job.is_final()).count();
    assert!(open > 0, "the one tag waited for all {}", jobs.len());
}

#[tokio::test]
async fn a_silent_target_holds_its_own_slots_only() {
    let mut settings = PairSettings::waiting(0);
    settings.source.replication = vec!["slots_per_region = 1".to_owned()];
    let pair = Pair::start(settings).await;
    let manage = pair.manage();
    manage.create_namespace("copies").await;
    pair.source_registry().push("group/app", "v1", &image(1)).await;
    pair.source_registry().push("group/app", "v2", &image(2)).await;
    pair.target.freeze().await;
    assert_eq!(manage.sync(GROUP, "app", &Sync::of(&["v1"])).await, [""; 0]);
    let here = Sync { region: SOURCE, namespace: "copies", ..Sync::of(&["v2"]) };
    assert_eq!(manage.sync(GROUP, "app", &here).await, [""; 0]);
    assert_eq!(ended(&manage, GROUP, "v2").await, "success");
    let status = manage.job_status(GROUP, "app", "v1").await;
    assert!(matches!(status.as_deref(), Some("waiting" | "running")), "{status:?}");
    pair.target.thaw().await;
    assert_eq!(ended(&manage, GROUP, "v1").await, "success");
}

#[tokio::test]
async fn an_outage_uses_up_no_attempts() {
    let mut settings = PairSettings::waiting(1);
    settings.source.replication = vec!["max_attempts = 1".to_owned()];
    let mut pair = Pair::start(settings).await;
    pair.source_registry().push("group/app", "v1", &image(1)).await;
    pair.target.kill9().await;
    let reply = pair.manage().sync_images(GROUP, "app", &Sync::of(&["v1"])).await.expect(200);
    assert_eq!((reply.json(), reply.header("x-transship-open")), (serde_json::json!(["v1"]), Some("1")));
    pair.source.wait_for_log("the target or the catalog is still away").await;
    pair.target.start().await;
    assert_eq!(ended(&pair.manage(), GROUP, "v1").await, "success");
    let reply = pair.manage().sync_images(GROUP, "app", &Sync::of(&["v1"])).await.expect(200);
    assert_eq!((reply.json(), reply.header("x-transship-open")), (serde_json::json!([]), Some("0")));
}

/// The line of the source's log that tells the end of a tag's job.
fn end_in_log(pair: &Pair, tag: &str) -> Value {
    let log = pair.source.log();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_tag = |line: &Value| line["message"] == "job ended" && line["span"]["tag"] == tag;
    lines.find(of_tag).unwrap_or_else(|| panic!("no end of {tag} in {log}"))
}

fn assert_says_whose_it_was(line: &Value) {
    for (field, value) in [("account", "demo"), ("repository", "group/app"), ("region", TARGET), ("namespace", SDSAD)] {
        assert_eq!(line["span"][field], value, "{line}");
    }
}

#[tokio::test]
async fn a_failed_job_is_a_warning_that_says_whose_it_was() {
    let pair = Pair::start(PairSettings::default()).await;
    pair.source_registry().push("group/app", "v1", &image(1)).await;
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["none", "v1"])).await, ["none"]);
    let (none, v1) = (end_in_log(&pair, "none"), end_in_log(&pair, "v1"));
    assert_eq!((&none["level"], &v1["level"]), (&"WARN".into(), &"INFO".into()));
    assert_says_whose_it_was(&none);
}

/// Its last run has no time to do anything.
#[tokio::test]
async fn so_is_a_job_that_timed_out() {
    let mut settings = PairSettings::default();
    settings.source.replication = vec!["job_timeout_seconds = 1".to_owned()];
    let mut pair = Pair::start(settings).await;
    pair.source_registry().push("group/app", "v1", &image(1)).await;
    pair.target.kill9().await;
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v1"])).await, ["v1"]);
    let end = end_in_log(&pair, "v1");
    assert_eq!((&end["level"], &end["state"]), (&"WARN".into(), &"timeout".into()), "{end}");
    assert_says_whose_it_was(&end);
}

#[tokio::test]
async fn administrators_read_the_jobs_of_a_deleted_repository() {
    let users = vec![User::named("reader")];
    let pair = Pair::start(PairSettings { users: users.clone(), ..PairSettings::default() }).await;
    let id = pair.source.user_id(&users[0]).await;
    pair.manage().grant_namespace(GROUP, &[(&id, "reader", 1)]).await;
    pair.source_registry().push("group/app", "v1", &image(1)).await;
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v1"])).await, [""; 0]);
    let reader = pair.source.manage(&users[0]);
    assert_eq!(reader.jobs(GROUP, "app").await.len(), 1);
    pair.manage().call("DELETE", &repository_path(GROUP, "app"), None).await;
    let jobs = pair.manage().jobs(GROUP, "app").await;
    assert_eq!(jobs.iter().map(|job| job.status.as_str()).collect::<Vec<_>>(), ["success"]);
    let filter = "/sync_job?filter=limit%3A%3A10%7Coffset%3A%3A0";
    let path = format!("{}{filter}", repository_path(GROUP, "app"));
    assert_eq!(reader.call("GET", &path, None).await.expect(404).error_code(), "4040113");
    // Another repository has the name: its readers read nothing of the old one.
    pair.source_registry().push("group/app", "v2", &image(2)).await;
    assert_eq!(pair.manage().jobs(GROUP, "app").await.len(), 1);
    assert_eq!(reader.jobs(GROUP, "app").await, []);
}
