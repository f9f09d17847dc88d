//! A region at work for a long time (workload W9): build servers push (W3), images go to another region (W7), old ones are
//! deleted, and collection takes away what nothing needs, all the while. `make test` works for half a minute and checks what
//! is true, and that no byte is left behind; `make soak` for 20 minutes, and then also what grows: memory and open files.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use transship_tests::http;
use transship_tests::image::Image;
use transship_tests::manage::Sync;
use transship_tests::pair::{GROUP, Pair, PairSettings};
use transship_tests::random::Random;
use transship_tests::region::Region;
use transship_tests::registry::Repository;
use transship_tests::workload::{CiPush, Counts, Own, Shape};
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
/// The longest grace, some rounds of collection, and a busy machine.
const COLLECTION_LIMIT: Duration = Duration::from_mins(5);
const HERE: &str = "group/sync";
const THERE: &str = "sdsad/sync";
/// Connections of the harness that close a little later.
const SPARE_FILES: usize = 16;

/// Collection in the source takes each layer away the moment that nothing names it: pushes are repeated then. In the target,
/// where jobs push, it waits for the shortest time that an operator may set.
fn collection(unlink_grace_seconds: u32) -> Vec<String> {
    let interval_seconds = if soak::is_long() { 30 } else { 2 };
    vec![format!(
        "[limits]\nupload_expiry_seconds = 60\n[collection]\ninterval_seconds = {interval_seconds}\n\
         unlink_grace_seconds = {unlink_grace_seconds}\nsweep_grace_seconds = 0"
    )]
}

/// Pushes until no layer is collected between its upload and the manifest.
async fn push_repeatedly(repository: &Repository, tag: &str, image: &Image) {
    for _ in 0..20 {
        for blob in &image.blobs {
            repository.push_blob(blob).await;
        }
        let reply = repository.put_manifest(tag, image.media_type, &image.raw).await;
        if reply.status != 404 || !reply.text().contains("MANIFEST_BLOB_UNKNOWN") {
            reply.expect(201);
            return;
        }
    }
    panic!("{tag} was refused 20 times in a row because of a layer that had just been there")
}

/// W7: an image a round goes to the other region, and each fifth time under a tag that is there with something else. Gives
/// back how many, and the digests that are in both regions at the end.
async fn sync(pair: &Pair, push: &CiPush, mut random: Random, until: Instant) -> (u64, Vec<String>) {
    let (source, target) = (pair.source_registry(), pair.target_registry());
    let (mut kept, mut moving): (VecDeque<String>, Option<String>) = (VecDeque::new(), None);
    let mut rounds = 0;
    while Instant::now() < until {
        let tag = if rounds % 5 == 4 { "moving".to_owned() } else { format!("s{rounds}") };
        let image = push.image(&mut random);
        push_repeatedly(&source.open(HERE, "pull,push").await, &tag, &image).await;
        let answer = pair.manage().sync(GROUP, "sync", &Sync::of(&[&tag]).replacing()).await;
        assert_eq!(answer, [""; 0], "I8: {tag} was not copied");
        assert_eq!(target.pull(THERE, &tag).await, source.pull(HERE, &tag).await, "I8: {tag}");
        // What a tag has left, and what is old, is deleted in both regions.
        let mut old = Vec::new();
        if tag == "moving" {
            old.extend(moving.replace(image.digest()));
        } else {
            kept.push_back(image.digest());
        }
        if kept.len() > 3 {
            old.extend(kept.pop_front());
        }
        for path in old.iter().map(|digest| format!("manifests/{digest}")) {
            for (registry, repository) in [(&source, HERE), (&target, THERE)] {
                let repository = registry.open(repository, "pull,delete").await;
                http::send(repository.request(Method::DELETE, &path)).await.expect(202);
                http::send(repository.request(Method::GET, &path)).await.expect(404);
            }
        }
        rounds += 1;
    }
    (rounds, kept.into_iter().chain(moving).collect())
}

/// Waits until a region's store has the bytes that are needed, and no more.
async fn nothing_is_left_behind(region: &Region, needed: &BTreeMap<String, usize>) {
    let needed_bytes: u64 = needed.values().map(|size| *size as u64).sum();
    let clean = || async { (stored_bytes(&region.data_dir().join("blobs")) == needed_bytes).then_some(()) };
    let what = format!("the store of {} to have {needed_bytes} bytes", region.id());
    wait::until(&what, COLLECTION_LIMIT, clean).await;
}

/// Bytes of all blobs. A file may go while this looks, and then it does not count.
fn stored_bytes(store: &Path) -> u64 {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().collect::<Vec<_>>();
    let folders = entries(store).into_iter().map(|entry| entry.path()).filter(|path| path.is_dir());
    folders.flat_map(|folder| entries(&folder)).filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
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
    let mut settings = PairSettings::default();
    settings.source.sections = collection(0);
    settings.target.sections = collection(60);
    let pair = Pair::start(settings).await;
    let shape = if soak::is_long() { LARGE } else { SMALL };
    let push = CiPush::new(pair.source_registry(), GROUP, shape, seed);
    let idle_files = [pair.source.open_files(), pair.target.open_files()];

    let until = Instant::now() + soak::duration(SHORT);
    let clients = (0..CLIENTS).map(|number| push.client(number, Random::seeded(random.bits()), until));
    let clients: Vec<_> = clients.collect();
    let (clients, (synced, copies), source, target) = tokio::join!(
        futures::future::join_all(clients),
        sync(&pair, &push, Random::seeded(seed ^ 1), until),
        watch(&pair.source, until),
        watch(&pair.target, until),
    );
    let (counts, left): (Vec<Counts>, Vec<Vec<Own>>) = clients.into_iter().unzip();
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
    let mut needed = [push.check(left.concat()).await, BTreeMap::new()];
    let ends = [(pair.source_registry(), HERE), (pair.target_registry(), THERE)];
    for ((registry, repository), needed) in ends.into_iter().zip(&mut needed) {
        for digest in &copies {
            let mut parts = registry.pull(repository, digest).await.parts;
            parts.remove(digest);
            needed.extend(parts);
        }
    }
    tokio::join!(nothing_is_left_behind(&pair.source, &needed[0]), nothing_is_left_behind(&pair.target, &needed[1]),);
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
