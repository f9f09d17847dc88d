//! What must hold when things break: kill -9 of either region at random points, a target that is down and comes up,
//! twenty identical calls at once, a tag that moves in mid-copy, a link that is cut. Every test prints its seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use transship_tests::image::Image;
use transship_tests::manage::{Job, Sync};
use transship_tests::pair::{GROUP, Pair, PairSettings};
use transship_tests::random::Random;
use transship_tests::registry::Registry;
use transship_tests::wait;
use transship_tests::wan::WanSettings;

const HERE: &str = "group/app";
const THERE: &str = "sdsad/app";
/// Leases have to run out, and back-offs to pass.
const LIMIT: Duration = Duration::from_mins(4);
/// A link slow enough that a replication of 20 tags takes some seconds.
const SLOW: WanSettings = WanSettings { delay_ms: 5, mbit: 8, cut_after_bytes: 0, cuts: 0 };

/// Twenty images that share a layer, pushed to the source.
async fn push_twenty(pair: &Pair, random: &mut Random) -> BTreeMap<String, Image> {
    let shared = random.bytes(500_000);
    let repository = pair.source_registry().open(HERE, "pull,push").await;
    let mut images = BTreeMap::new();
    for number in 0..20 {
        let (tag, image) = (format!("v{number}"), Image::of(vec![shared.clone(), random.bytes(150_000)]));
        repository.push(&tag, &image).await;
        images.insert(tag, image);
    }
    images
}

/// Waits until the source says that every job has ended, and gives them back.
async fn all_ended(pair: &Pair) -> Vec<Job> {
    let manage = pair.manage();
    let ended = || async {
        let jobs = manage.try_jobs(GROUP, "app").await?;
        jobs.iter().all(Job::is_final).then_some(jobs)
    };
    wait::until("every job to end", LIMIT, ended).await
}

/// Every job succeeded, one for each tag, and every image is in the target, whole.
async fn all_there(pair: &Pair, images: &BTreeMap<String, Image>) {
    let jobs = all_ended(pair).await;
    assert_eq!(jobs.len(), images.len(), "{jobs:?}");
    for job in &jobs {
        // A job that was killed after its last step finds its work done.
        assert!(matches!(job.status.as_str(), "success" | "existed"), "{job:?}");
    }
    let target = pair.target_registry().open(THERE, "pull").await;
    for (tag, image) in images {
        assert_eq!(target.pull(tag).await.digest, image.digest(), "{tag}");
    }
}

/// Pulls every tag that the target has: whatever is named there must be whole.
async fn what_is_there_is_whole(target: &Registry, images: &BTreeMap<String, Image>) {
    let repository = target.open(THERE, "pull").await;
    for (tag, image) in images {
        if let Some(digest) = repository.tag_digest(tag).await {
            assert_eq!(digest, image.digest(), "{tag}");
            repository.pull(tag).await;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Source,
    Target,
    Either,
}

/// Replicates twenty tags and kills a region five times meanwhile, each time after a random while.
async fn replicate_under_kills(name: &str, victim: Victim) {
    let mut random = Random::for_test(name);
    let mut pair = Pair::start(PairSettings::waiting(0).over(SLOW)).await;
    let images = push_twenty(&pair, &mut random).await;
    let tags: Vec<&str> = images.keys().map(String::as_str).collect();
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&tags)).await, [""; 0]);
    for round in 0..5 {
        tokio::time::sleep(random.millis(20, 1500)).await;
        let source = victim == Victim::Source || (victim == Victim::Either && random.below(2) == 0);
        let region = if source { &mut pair.source } else { &mut pair.target };
        region.kill9().await;
        tokio::time::sleep(random.millis(0, 400)).await;
        region.start().await;
        what_is_there_is_whole(&pair.target_registry(), &images).await;
        if round == 0 {
            let jobs = pair.manage().jobs(GROUP, "app").await;
            assert!(!jobs.iter().all(Job::is_final), "the kill came too late to mean anything: {jobs:?}");
        }
    }
    all_there(&pair, &images).await;
}

#[tokio::test]
async fn the_source_is_killed_at_random_points() {
    replicate_under_kills("the_source_is_killed_at_random_points", Victim::Source).await;
}

#[tokio::test]
async fn the_target_is_killed_at_random_points() {
    replicate_under_kills("the_target_is_killed_at_random_points", Victim::Target).await;
}

#[tokio::test]
async fn either_is_killed_at_random_points() {
    replicate_under_kills("either_is_killed_at_random_points", Victim::Either).await;
}

#[tokio::test]
async fn the_target_is_down_and_comes_up() {
    let mut random = Random::for_test("the_target_is_down_and_comes_up");
    let mut pair = Pair::start(PairSettings::waiting(1)).await;
    let images = push_twenty(&pair, &mut random).await;
    let tags: Vec<&str> = images.keys().map(String::as_str).collect();
    pair.target.terminate().await;
    // Nothing is given up so soon, and nothing is there.
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&tags)).await, tags);
    let jobs = pair.manage().jobs(GROUP, "app").await;
    assert!(jobs.len() == 20 && !jobs.iter().any(Job::is_final), "{jobs:?}");
    tokio::time::sleep(random.millis(500, 3000)).await;
    pair.target.start().await;
    all_there(&pair, &images).await;
}

#[tokio::test]
async fn a_drained_source_goes_on_after_its_restart() {
    let mut random = Random::for_test("a_drained_source_goes_on_after_its_restart");
    let mut pair = Pair::start(PairSettings::waiting(0).over(SLOW)).await;
    let images = push_twenty(&pair, &mut random).await;
    let tags: Vec<&str> = images.keys().map(String::as_str).collect();
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&tags)).await, [""; 0]);
    tokio::time::sleep(random.millis(500, 1500)).await;
    pair.source.terminate().await;
    pair.source.start().await;
    // The leases were given back: nothing waits for one to run out.
    let start = Instant::now();
    all_there(&pair, &images).await;
    assert!(start.elapsed() < Duration::from_secs(25), "the jobs took {:?} after the restart", start.elapsed());
}

#[tokio::test]
async fn twenty_identical_calls_send_the_image_once() {
    let mut random = Random::for_test("twenty_identical_calls_send_the_image_once");
    let pair = Pair::start(PairSettings::default().over(WanSettings { mbit: 40, ..SLOW })).await;
    let image = Image::random(&mut random, 3, 700_000);
    pair.source_registry().push(HERE, "v1", &image).await;
    let manage = pair.manage();
    let sync = Sync::of(&["v1"]);
    let calls = (0..20).map(|_| manage.sync(GROUP, "app", &sync));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer, [""; 0]);
    }
    let jobs = pair.manage().jobs(GROUP, "app").await;
    let succeeded = jobs.iter().filter(|job| job.status == "success").count();
    assert_eq!(succeeded, 1, "{jobs:?}");
    assert!(jobs.iter().all(|job| matches!(job.status.as_str(), "success" | "existed")), "{jobs:?}");
    assert_eq!(pair.target_registry().pull(THERE, "v1").await.digest, image.digest());
    let Pair { wan, source: _source, target: _target, .. } = pair;
    let up = wan.unwrap().stop().await.up_bytes;
    // Some requests ride on it, each far below the size of a layer.
    let limit = image.size_bytes() as u64 + 300_000;
    assert!(up < limit, "{up} bytes went to the target for an image of {} bytes", image.size_bytes());
}

#[tokio::test]
async fn a_tag_moves_in_mid_copy() {
    let mut random = Random::for_test("a_tag_moves_in_mid_copy");
    let pair = Pair::start(PairSettings::waiting(0).over(SLOW)).await;
    let (old, new) = (Image::random(&mut random, 3, 700_000), Image::random(&mut random, 3, 100_000));
    let source = pair.source_registry();
    source.push(HERE, "v1", &old).await;
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v1"])).await, [""; 0]);
    let running = || async {
        let status = pair.manage().job_status(GROUP, "app", "v1").await?;
        (status == "running").then_some(())
    };
    wait::until("the job to run", Duration::from_secs(20), running).await;
    tokio::time::sleep(random.millis(100, 1000)).await;
    source.push(HERE, "v1", &new).await;
    let jobs = all_ended(&pair).await;
    assert_eq!(jobs.iter().map(|job| job.status.as_str()).collect::<Vec<_>>(), ["success"]);
    // The job copies what the tag named when it ran, and that is whole.
    let there = pair.target_registry().pull(THERE, "v1").await.digest;
    assert!(there == old.digest() || there == new.digest(), "{there} is neither the old nor the new image");
    assert_eq!(there, old.digest(), "the tag was resolved before it moved");
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v1"]).replacing()).await, [""; 0]);
    all_ended(&pair).await;
    assert_eq!(pair.target_registry().pull(THERE, "v1").await.digest, new.digest());
}

#[tokio::test]
async fn the_link_is_cut_in_mid_blob() {
    let mut random = Random::for_test("the_link_is_cut_in_mid_blob");
    let cuts = WanSettings { cut_after_bytes: 300_000 + random.below(900_000), cuts: 3, ..WanSettings::default() };
    let pair = Pair::start(PairSettings::waiting(60).over(cuts)).await;
    let image = Image::random(&mut random, 3, 3_000_000);
    pair.source_registry().push(HERE, "v1", &image).await;
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v1"])).await, [""; 0]);
    let jobs = all_ended(&pair).await;
    assert_eq!(jobs.iter().map(|job| job.status.as_str()).collect::<Vec<_>>(), ["success"]);
    assert_eq!(pair.target_registry().pull(THERE, "v1").await.digest, image.digest());
}

/// I1: what was acknowledged is there after kill -9, and what was not is whole or not there.
#[tokio::test]
async fn a_region_is_killed_while_it_is_pushed_to() {
    let mut random = Random::for_test("a_region_is_killed_while_it_is_pushed_to");
    let mut pair = Pair::start(PairSettings::default()).await;
    let mut acknowledged: BTreeMap<String, Image> = BTreeMap::new();
    for round in 0..6 {
        let registry = pair.source_registry();
        let images: Vec<Image> = (0..200).map(|_| Image::random(&mut random, 2, 30_000)).collect();
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        // Ends with a panic when the region dies under it, as it is to do.
        let work = tokio::spawn(async move {
            let repository = registry.open(HERE, "pull,push").await;
            for (number, image) in images.into_iter().enumerate() {
                let tag = format!("r{round}-{number}");
                repository.push(&tag, &image).await;
                if sender.send((tag, image)).is_err() {
                    break;
                }
            }
        });
        tokio::time::sleep(random.millis(50, 900)).await;
        pair.source.kill9().await;
        let _ = work.await;
        while let Some((tag, image)) = receiver.recv().await {
            acknowledged.insert(tag, image);
        }
        pair.source.start().await;
        let repository = pair.source_registry().open(HERE, "pull").await;
        for (tag, image) in &acknowledged {
            assert_eq!(repository.pull(tag).await.digest, image.digest(), "{tag}");
        }
    }
    assert!(!acknowledged.is_empty(), "nothing was pushed at all");
}
