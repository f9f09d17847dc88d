//! The main job with PostgreSQL under both regions instead of SQLite, the same binary and the same calls.
//! `scripts/with-postgres.sh` starts the server.

use std::time::Duration;

use transship_tests::image::{self, Image};
use transship_tests::manage::{Job, Sync, User};
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD};
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::single::blob;
use transship_tests::upload::{Session, acknowledged};
use transship_tests::wan::WanSettings;
use transship_tests::{clients, http, postgres, wait};

const HERE: &str = "group/app";
const THERE: &str = "sdsad/app";

async fn settings() -> PairSettings {
    let mut settings = PairSettings::default();
    settings.source.catalog_url = Some(postgres::fresh_database().await);
    settings.target.catalog_url = Some(postgres::fresh_database().await);
    settings
}

#[tokio::test]
async fn the_main_job() {
    let pair = Pair::start(settings().await).await;
    let mut random = Random::seeded(1);
    let (old, new) = (Image::random(&mut random, 3, 100_000), Image::random(&mut random, 3, 100_000));
    let index = Image::index(vec![old.clone(), new.clone()]);
    let source = pair.source_registry();
    source.push(HERE, "v1", &old).await;
    source.push(HERE, "multi", &index).await;
    let manage = pair.manage();
    assert_eq!(manage.sync(GROUP, "app", &Sync::of(&["v1", "none", "multi"])).await, ["none"]);
    for tag in ["v1", "multi"] {
        assert_eq!(pair.target_registry().pull(THERE, tag).await, source.pull(HERE, tag).await);
    }
    assert_eq!(manage.sync(GROUP, "app", &Sync::of(&["v1"])).await, [""; 0]);
    assert_eq!(manage.job_status(GROUP, "app", "v1").await.as_deref(), Some("existed"));
    source.push(HERE, "v1", &new).await;
    assert_eq!(manage.sync(GROUP, "app", &Sync::of(&["v1"])).await, ["v1"]);
    assert_eq!(manage.sync(GROUP, "app", &Sync::of(&["v1"]).replacing()).await, [""; 0]);
    assert_eq!(pair.target_registry().tag_digest(THERE, "v1").await, Some(new.digest()));
    // The facts are in the database and nowhere else.
    let data: Vec<_> =
        std::fs::read_dir(pair.source.data_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!data.iter().any(|name| name.to_string_lossy().contains("sqlite")), "{data:?}");
}

#[tokio::test]
async fn jobs_go_on_after_kill_9() {
    let mut random = Random::for_test("jobs_go_on_after_kill_9");
    let mut settings = settings().await.over(WanSettings { mbit: 8, ..WanSettings::default() });
    settings.source.sync_wait_seconds = 0;
    let mut pair = Pair::start(settings).await;
    let images: Vec<(String, Image)> =
        (0..10).map(|number| (format!("v{number}"), Image::random(&mut random, 2, 150_000))).collect();
    for (tag, image) in &images {
        pair.source_registry().push(HERE, tag, image).await;
    }
    let tags: Vec<&str> = images.iter().map(|(tag, _)| tag.as_str()).collect();
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&tags)).await, [""; 0]);
    for source in [true, false, true] {
        tokio::time::sleep(random.millis(100, 900)).await;
        let region = if source { &mut pair.source } else { &mut pair.target };
        region.kill9().await;
        region.start().await;
    }
    let manage = pair.manage();
    let ended = || async {
        let jobs = manage.try_jobs(GROUP, "app").await?;
        jobs.iter().all(Job::is_final).then_some(jobs)
    };
    let jobs = wait::until("every job to end", Duration::from_mins(4), ended).await;
    assert!(
        jobs.len() == 10 && jobs.iter().all(|job| matches!(job.status.as_str(), "success" | "existed")),
        "{jobs:?}"
    );
    for (tag, image) in &images {
        assert_eq!(pair.target_registry().pull(THERE, tag).await.digest, image.digest());
    }
}

#[tokio::test]
async fn a_second_start_finds_what_the_first_one_made() {
    let mut pair = Pair::start(settings().await).await;
    pair.source.terminate().await;
    pair.source.start().await;
    let answer = pair.manage().call("GET", &format!("/v2/manage/namespaces/{GROUP}"), None).await.expect(200).json();
    assert_eq!(answer["name"], GROUP);
    // The account was made once, at the first start.
    let answer = pair.target.manage(&pair.admin).call("GET", "/v2/manage/namespaces", None).await.expect(200).json();
    assert_eq!(answer["namespaces"][0]["name"], SDSAD, "{answer}");
    assert_eq!(answer["namespaces"].as_array().map(Vec::len), Some(1));
}

/// Two processes of one region, with one database and one directory: an upload goes on in the other at every step, and so does
/// its closing when the answer was lost.
#[tokio::test]
async fn an_upload_moves_between_processes() {
    let admin = User::named("admin");
    let mut settings = RegionSettings::named("cn-north-4");
    settings.catalog_url = Some(postgres::fresh_database().await);
    let mut first = Region::prepare(settings.clone(), &admin).await;
    first.start().await;
    first.manage(&admin).create_namespace(GROUP).await;
    settings.data_dir = Some(first.data_dir());
    let mut second = Region::prepare(settings, &admin).await;
    second.start().await;
    let (here, there) =
        (first.registry(&admin).open(HERE, "pull,push").await, second.registry(&admin).open(HERE, "pull,push").await);

    let bytes = Random::seeded(1).bytes(3_000_000);
    let digest = image::digest(&bytes);
    let session = Session::start(&here).await.unwrap();
    acknowledged(session.patch(&there, Some(0), &bytes[..1_000_000]), 202).await.unwrap();
    assert_eq!(session.offset(&here).await, Some(1_000_000));
    acknowledged(session.patch(&here, Some(1_000_000), &bytes[1_000_000..2_000_000]), 202).await.unwrap();
    session.finish_from(&there, &bytes, 2_000_000).await.unwrap();
    for repository in [&here, &there] {
        assert_eq!(blob(repository, &digest).await.expect(200).body, bytes);
        assert_eq!(session.offset(repository).await, None, "a closed session is gone");
        // The answer may have been lost: any process gives it again.
        acknowledged(session.put(repository, &digest, None, &[]), 201).await.unwrap();
    }
}

/// Beside an embedded catalog `rekey` is refused while a process serves; of this one nobody knows who serves it.
#[tokio::test]
async fn a_process_whose_key_was_replaced_ends_and_the_next_one_goes_on() {
    let admin = User::named("admin");
    let mut settings = RegionSettings::named("cn-north-4");
    settings.catalog_url = Some(postgres::fresh_database().await);
    let mut region = Region::prepare(settings, &admin).await;
    region.start().await;
    region.manage(&admin).create_namespace(GROUP).await;
    region.admin(&["rekey"]).await;
    // Stored with the old key, it could never be opened again.
    let made =
        region.command(&["admin", "access-key", "create", "--account", "demo", "--user", "admin"]).output().await;
    assert!(made.unwrap().status.success(), "a command that reads the new key may");
    region.wait_for_log("secrets.key was replaced while this process ran").await;
    while !region.has_died() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    region.start().await;
    assert_eq!(region.manage(&admin).call("GET", "/v2/manage/namespaces", None).await.status, 200);
}

/// The last row of contract 3.5: when the region's own store is broken, the answer is an internal error in the API's
/// shape, the region is not ready, and it comes back by itself.
#[tokio::test]
async fn the_database_goes_away_and_comes_back() {
    let url = postgres::fresh_database().await;
    let admin = User::named("admin");
    let mut alone = RegionSettings::named("cn-north-4");
    alone.catalog_url = Some(url.clone());
    let mut region = Region::prepare(alone, &admin).await;
    region.start().await;
    let manage = region.manage(&admin);
    manage.create_namespace(GROUP).await;
    manage.create_repository(GROUP, "app").await;
    let server = transship_tests::environment::required("TRANSSHIP_TEST_POSTGRES", "scripts/with-postgres.sh");
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    let psql = async |sql: String| {
        clients::must(clients::command("psql", &["--quiet", "--no-psqlrc", "--dbname", &server, "--command", &sql]))
            .await
    };
    let ready = async || http::send(http::client().get(format!("{}/readyz", region.url()))).await.status;
    let list = async || manage.call("GET", "/v2/manage/namespaces", None).await;
    assert_eq!((ready().await, list().await.status), (200, 200));

    psql(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    psql(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    let reply = manage.sync_images(GROUP, "app", &Sync::of(&["v1"])).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (500, "5001101"), "{}", reply.text());
    let message = reply.error_message();
    assert!(
        !message.contains("postgres") && !message.contains(&name),
        "the caller is told what is not theirs: {message}"
    );
    // Asked often by load balancers, so the region may remember its answer for a moment.
    let not_ready = || async { (ready().await == 503).then_some(()) };
    wait::until("the region to say that it is not ready", Duration::from_secs(10), not_ready).await;
    http::send(http::client().get(format!("{}/livez", region.url()))).await.expect(200);

    psql(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    let back = || async { (ready().await == 200 && list().await.status == 200).then_some(()) };
    wait::until("the region to be ready again", Duration::from_mins(1), back).await;
}
