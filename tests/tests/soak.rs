//! A region at work for a long time (workload W9): build servers push (W3), images go to another region (W7), old ones are
//! deleted. `make test` works for half a minute and checks what is true; `make soak` for 20 minutes, and then also what
//! grows: memory and open files.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use reqwest::Method;
use transship_tests::http;
use transship_tests::manage::Sync;
use transship_tests::pair::{GROUP, Pair, PairSettings, SDSAD};
use transship_tests::random::Random;
use transship_tests::region::Region;
use transship_tests::workload::{CiPush, Counts, Shape};
use transship_tests::{soak, wait};

const SHORT: Duration = Duration::from_secs(30);
/// Small enough that half a minute on a busy machine sees every kind of step many times.
const SMALL: Shape = Shape { median_bytes: 16 << 10, max_bytes: 1 << 20, pool: 12, repositories: 3 };
/// As large as a build server's, but for the few layers that would fill the disk of a test machine.
const LARGE: Shape = Shape { median_bytes: 300 << 10, max_bytes: 16 << 20, pool: 40, repositories: 6 };
const CLIENTS: u64 = 6;
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(5);
/// What the median of the last quarter may have over that of the second: caches fill up, and a leak of one small object a
/// push is many times this after 20 minutes.
const GROWTH_KIB: u64 = 16 << 10;
/// Connections of the harness that close a little later.
const SPARE_FILES: usize = 16;

/// W7: an image a round goes to the other region, and each fifth time under a tag that is there with something else.
async fn sync(pair: &Pair, push: &CiPush, mut random: Random, until: Instant) -> u64 {
    let (here, there) = (format!("{GROUP}/sync"), format!("{SDSAD}/sync"));
    let (source, target) = (pair.source_registry(), pair.target_registry());
    let mut kept: VecDeque<String> = VecDeque::new();
    let mut rounds = 0;
    while Instant::now() < until {
        let tag = if rounds % 5 == 4 { "moving".to_owned() } else { format!("s{rounds}") };
        let image = push.image(&mut random);
        source.push(&here, &tag, &image).await;
        let answer = pair.manage().sync(GROUP, "sync", &Sync::of(&[&tag]).replacing()).await;
        assert_eq!(answer, [""; 0], "I8: {tag} was not copied");
        assert_eq!(target.pull(&there, &tag).await, source.pull(&here, &tag).await, "I8: {tag}");
        if tag != "moving" {
            kept.push_back(image.digest());
        }
        if kept.len() > 3 {
            let path = format!("manifests/{}", kept.pop_front().expect("there are some"));
            for (registry, repository) in [(&source, &here), (&target, &there)] {
                let repository = registry.open(repository, "pull,delete").await;
                http::send(repository.request(Method::DELETE, &path)).await.expect(202);
                http::send(repository.request(Method::GET, &path)).await.expect(404);
            }
        }
        rounds += 1;
    }
    rounds
}

/// Resident memory of a region, every few seconds.
async fn watch(region: &Region, until: Instant) -> Vec<u64> {
    let mut samples = Vec::new();
    while Instant::now() < until {
        samples.push(region.resident_memory_kib());
        tokio::time::sleep(SAMPLE).await;
    }
    samples
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[tokio::test]
async fn a_region_works_for_a_long_time() {
    let seed = soak::seed("a_region_works_for_a_long_time");
    let mut random = Random::seeded(seed);
    let pair = Pair::start(PairSettings::default()).await;
    let shape = if soak::is_long() { LARGE } else { SMALL };
    let push = CiPush::new(pair.source_registry(), GROUP, shape, seed);
    let idle_files = [pair.source.open_files(), pair.target.open_files()];

    let until = Instant::now() + soak::duration(SHORT);
    let clients = (0..CLIENTS).map(|number| push.client(number, Random::seeded(random.bits()), until));
    let clients: Vec<_> = clients.collect();
    let (counts, synced, source, target) = tokio::join!(
        futures::future::join_all(clients),
        sync(&pair, &push, Random::seeded(seed ^ 1), until),
        watch(&pair.source, until),
        watch(&pair.target, until),
    );
    let sum = |of: fn(&Counts) -> u64| counts.iter().map(of).sum::<u64>();
    println!(
        "{} images pushed (layers: {} there, {} mounted, {} uploaded), {} deleted, {} repeated, {synced} copied",
        sum(|c| c.pushed),
        sum(|c| c.found),
        sum(|c| c.mounted),
        sum(|c| c.uploaded),
        sum(|c| c.deleted),
        sum(|c| c.repeated),
    );
    push.check().await;
    // A run that does not meet every kind of step says nothing.
    assert!(sum(|c| c.pushed) > 0 && synced > 0, "nothing was done");
    assert!(sum(|c| c.found) > 0 && sum(|c| c.uploaded) > 0, "no layer was shared, or none was new");

    for ((region, samples), idle) in [(&pair.source, &source), (&pair.target, &target)].into_iter().zip(idle_files) {
        println!("memory of {} in KiB, every {} s: {samples:?}", region.id(), SAMPLE.as_secs());
        if soak::is_long() {
            let quarter = samples.len() / 4;
            let (early, late) = (median(&samples[quarter..2 * quarter]), median(&samples[3 * quarter..]));
            assert!(late <= early + GROWTH_KIB, "memory of {} grew from {early} to {late} KiB", region.id());
        }
        // Connections close when their clients are gone and their idle time is over.
        let closed = || async { (region.open_files() <= idle + SPARE_FILES).then_some(()) };
        let what = format!("{} to close its files, {idle} of them when idle", region.id());
        wait::until(&what, Duration::from_mins(3), closed).await;
    }
}
