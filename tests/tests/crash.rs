//! kill -9 of a region: at random moments while four clients push (F1), at every call of one push that puts something on
//! the disk (F2), and at every such call of its start (I17). After each, it starts unattended, what was acknowledged is
//! there and whole, cut sessions go on where they stand, and no bytes are left over.

use std::time::Duration;

use tokio::sync::Mutex;
use transship_tests::fault::{Faults, NAME, SYNC, WRITE};
use transship_tests::image::Image;
use transship_tests::manage::User;
use transship_tests::oracle::{self, Oracle};
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::{soak, wait};

const REPOSITORY: &str = "group/app";
/// The reaper comes each 30 s and takes 100 things a round.
const TIDY: Duration = Duration::from_mins(4);

async fn region(admin: &User, faults: Option<&Faults>) -> Region {
    let mut region = Region::prepare(RegionSettings::named("region-a"), admin).await;
    if let Some(faults) = faults {
        region.meet(faults);
    }
    region
}

/// I6, I18: the files are those of the blobs that are there, once the reaper has been.
async fn no_bytes_are_left_over(region: &Region, blobs: usize) {
    let tidy = || async { (region.blob_files().len() == blobs).then_some(()) };
    wait::until(&format!("{blobs} files for {blobs} blobs"), TIDY, tidy).await;
}

#[tokio::test]
async fn killed_at_random_times_while_four_clients_push() {
    let mut random = Random::for_test("killed_at_random_times_while_four_clients_push");
    let admin = User::named("admin");
    let mut region = region(&admin, None).await;
    region.start().await;
    region.manage(&admin).create_namespace("group").await;
    let mut all = Oracle::default();
    for round in 0..soak::rounds(12, 200) {
        let repository = region.registry(&admin).open(REPOSITORY, "pull,push,delete").await;
        let oracle = Mutex::new(Oracle::default());
        let seeds: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        let delay = random.millis(10, 2000);
        let clients = futures::future::join_all(seeds.into_iter().enumerate().map(|(client, seed)| {
            let (oracle, repository) = (&oracle, &repository);
            async move {
                let mut random = Random::seeded(seed);
                for number in 0.. {
                    let size_bytes = 1000 + usize::try_from(random.below(200_000)).expect("small");
                    let image = Image::random(&mut random, 2, size_bytes);
                    let chunk_bytes = (random.below(2) == 0).then_some(60_000);
                    let tag = format!("r{round}-c{client}-{number}");
                    oracle::push(oracle, repository, &tag, &image, chunk_bytes).await?;
                    if random.below(5) == 0 {
                        oracle::delete_tag(oracle, repository, &tag).await?;
                    }
                }
                Ok::<(), String>(())
            }
        }));
        let kill = async {
            tokio::time::sleep(delay).await;
            region.kill9().await;
        };
        let (ends, ()) = tokio::join!(clients, kill);
        for end in ends {
            let lost = end.expect_err("a client goes on until the region is gone");
            assert!(!lost.starts_with("http"), "a step was refused: {lost}");
        }
        region.start().await;
        let mut oracle = oracle.into_inner();
        oracle.check(&region.registry(&admin).open(REPOSITORY, "pull,push").await).await;
        all.absorb(oracle);
    }
    let there = all.check(&region.registry(&admin).open(REPOSITORY, "pull,push").await).await;
    assert!(all.acknowledged_tags() > 0, "nothing was pushed at all");
    no_bytes_are_left_over(&region, there.len()).await;
}

/// Pushes one image again and again, and kills the region at the first of `calls`, then at the second, until a push
/// goes through unharmed. With `most`, only so many of them, spread over all.
async fn kill_at_each(name: &str, calls: u64, most: u64) {
    let mut random = Random::for_test(name);
    let admin = User::named("admin");
    let faults = Faults::new();
    let mut region = region(&admin, Some(&faults)).await;
    region.start().await;
    region.manage(&admin).create_namespace("group").await;
    let repository = region.registry(&admin).open(REPOSITORY, "pull,push").await;
    let mut all = Oracle::default();

    let oracle = Mutex::new(Oracle::default());
    faults.count(calls);
    let image = Image::random(&mut random, 1, 30_000);
    let unharmed = oracle::push(&oracle, &repository, "unharmed", &image, Some(20_000)).await;
    unharmed.expect("nothing hinders it");
    let total = faults.seen();
    all.absorb(oracle.into_inner());
    // One blob needs at least its file, its directory and the commits of session, checkpoint and link.
    assert!(total >= 10, "only {total} calls were counted");

    let step = total.div_ceil(most);
    let mut nth = 1 + random.below(step);
    let mut killed = 0;
    loop {
        let repository = region.registry(&admin).open(REPOSITORY, "pull,push").await;
        let oracle = Mutex::new(Oracle::default());
        let image = Image::random(&mut random, 1, 30_000);
        let tag = format!("k{nth}");
        faults.kill_at(calls, nth);
        let pushed = oracle::push(&oracle, &repository, &tag, &image, Some(20_000)).await;
        let Err(lost) = pushed else {
            all.absorb(oracle.into_inner());
            break;
        };
        faults.disarm();
        wait::until("the region to be dead", Duration::from_secs(10), || {
            std::future::ready(region.has_died().then_some(()))
        })
        .await;
        assert!(!lost.starts_with("http"), "kill {nth}: a step was refused: {lost}");
        region.start().await;
        killed += 1;
        let repository = region.registry(&admin).open(REPOSITORY, "pull,push").await;
        oracle.lock().await.check(&repository).await;
        // The same push again goes through.
        let again = oracle::push(&oracle, &repository, &tag, &image, Some(20_000)).await;
        again.unwrap_or_else(|lost| panic!("kill {nth}: the second push: {lost}"));
        let mut oracle = oracle.into_inner();
        oracle.check(&repository).await;
        all.absorb(oracle);
        nth += step;
    }
    faults.disarm();
    assert!(killed >= total / step / 2, "killed {killed} times, in steps of {step} over {total} calls");
    let there = all.check(&region.registry(&admin).open(REPOSITORY, "pull,push").await).await;
    no_bytes_are_left_over(&region, there.len()).await;
}

#[tokio::test]
async fn killed_at_every_sync_and_rename_of_a_push() {
    kill_at_each("killed_at_every_sync_and_rename_of_a_push", SYNC | NAME, soak::rounds(40, 1000)).await;
}

/// Torn writes: between any two of them the file, or the log of the database, is half there.
#[tokio::test]
async fn killed_at_writes_of_a_push() {
    kill_at_each("killed_at_writes_of_a_push", WRITE, soak::rounds(10, 1000)).await;
}

/// I17: the first start, and each recovery, is itself killed one step further on, until one gets through.
#[tokio::test]
async fn killed_at_every_step_of_its_start() {
    let admin = User::named("admin");
    let faults = Faults::new();
    let mut region = region(&admin, Some(&faults)).await;
    let mut nth = 1;
    loop {
        faults.kill_at(SYNC | NAME, nth);
        if region.try_start().await.is_ok() {
            break;
        }
        nth += 1;
    }
    faults.disarm();
    assert!(nth > 5, "a first start has more than {nth} steps");
    region.manage(&admin).create_namespace("group").await;
    let image = Image::random(&mut Random::seeded(1), 1, 30_000);
    region.registry(&admin).push(REPOSITORY, "v1", &image).await;
    region.kill9().await;
    region.start().await;
    assert_eq!(region.registry(&admin).pull(REPOSITORY, "v1").await.digest, image.digest());
}
