//! Power cuts (F3): catalog and blobs lie on an ext4 in a file that is copied at random moments while clients push. A
//! region that starts on the copy has everything that was acknowledged before the copy began, whole (I1, I2, I7).
//! Needs root: `scripts/setup.sh volumes`.

use tokio::sync::Mutex;
use transship_tests::fault::{Action, Faults, Plan, SYNC};
use transship_tests::image::Image;
use transship_tests::manage::User;
use transship_tests::oracle::{self, Oracle};
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::soak;
use transship_tests::volume::Volume;

const REPOSITORY: &str = "group/app";
/// Holds what the clients push in all rounds.
const VOLUME_MIB: u64 = 512;

async fn region_on(volume: &Volume, admin: &User) -> Region {
    let mut settings = RegionSettings::named("region-a");
    settings.data_dir = Some(volume.path().join("data"));
    Region::prepare(settings, admin).await
}

/// Pushes images until told to stop; after that a push may be cut, as by a power cut.
async fn push_until(
    stop: &tokio::sync::watch::Receiver<bool>,
    oracle: &Mutex<Oracle>,
    region: &Region,
    admin: &User,
    name: &str,
    mut random: Random,
) {
    let repository = region.registry(admin).open(REPOSITORY, "pull,push,delete").await;
    for number in 0.. {
        if *stop.borrow() {
            return;
        }
        let size_bytes = 1000 + usize::try_from(random.below(100_000)).expect("small");
        let image = Image::random(&mut random, 2, size_bytes);
        let chunk_bytes = (random.below(2) == 0).then_some(40_000);
        let tag = format!("{name}-{number}");
        let pushed = oracle::push(oracle, &repository, &tag, &image, chunk_bytes).await;
        pushed.expect("the region itself lives");
        if random.below(5) == 0 {
            oracle::delete_tag(oracle, &repository, &tag).await.expect("the region itself lives");
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_power_cut() {
    let mut random = Random::for_test("what_was_acknowledged_outlives_a_power_cut");
    let admin = User::named("admin");
    let volume = Volume::ext4(VOLUME_MIB).await;
    let mut region = region_on(&volume, &admin).await;
    region.start().await;
    region.manage(&admin).create_namespace("group").await;
    let oracle = Mutex::new(Oracle::default());
    let mut acknowledged = 0;
    for round in 0..soak::rounds(4, 60) {
        let (stopper, stop) = tokio::sync::watch::channel(false);
        let names: Vec<String> = (0..3).map(|client| format!("r{round}-c{client}")).collect();
        let clients =
            names.iter().map(|name| push_until(&stop, &oracle, &region, &admin, name, Random::seeded(random.bits())));
        let clients = futures::future::join_all(clients.collect::<Vec<_>>());
        let delay = random.millis(100, 2500);
        let cut = async {
            tokio::time::sleep(delay).await;
            // A copy of a file that is being written would be of no single moment.
            region.freeze().await;
            let before = oracle.lock().await.clone().after_power_cut();
            let after = volume.after_power_cut().await;
            region.thaw().await;
            stopper.send(true).expect("the clients listen");
            (before, after)
        };
        let (_, (mut before, after)) = tokio::join!(clients, cut);
        acknowledged = before.acknowledged_tags();
        let mut survivor = region_on(&after, &admin).await;
        survivor.start().await;
        before.check(&survivor.registry(&admin).open(REPOSITORY, "pull,push").await).await;
        let empty = Volume::empty_files(&after.path().join("data").join("blobs"));
        assert_eq!(empty, Vec::<std::path::PathBuf>::new(), "files whose bytes were lost");
        survivor.kill9().await;
    }
    assert!(acknowledged > 0, "nothing was pushed at all");
    region.kill9().await;
}

/// Pushes an image, cuts the power as soon as it is acknowledged, and gives what the survivor lacks.
async fn lost_in_a_cut(region: &Region, volume: &Volume, admin: &User, tag: &str, image: &Image) -> Option<String> {
    let repository = region.registry(admin).open(REPOSITORY, "pull,push").await;
    let oracle = Mutex::new(Oracle::default());
    oracle::push(&oracle, &repository, tag, image, None).await.expect("the region itself lives");
    region.freeze().await;
    let after = volume.after_power_cut().await;
    region.thaw().await;
    let mut survivor = region_on(&after, admin).await;
    survivor.start().await;
    let mut before = oracle.into_inner().after_power_cut();
    let repository = survivor.registry(admin).open(REPOSITORY, "pull,push").await;
    // In a task of its own, so that its panic is an answer.
    let checked = tokio::spawn(async move { before.check(&repository).await }).await;
    survivor.kill9().await;
    let panicked = checked.err()?.into_panic();
    Some(*panicked.downcast::<String>().expect("a check says what is wrong"))
}

/// The proof above can fail: on a disk that only says it has synced, the bytes of a blob, or the facts about it, are not
/// there after the cut, and the check says so.
#[tokio::test]
async fn a_disk_that_lies_about_syncs_is_found_out() {
    let mut random = Random::for_test("a_disk_that_lies_about_syncs_is_found_out");
    let admin = User::named("admin");
    let volume = Volume::ext4(VOLUME_MIB).await;
    let faults = Faults::new();
    let mut region = region_on(&volume, &admin).await;
    region.meet(&faults);
    region.start().await;
    region.manage(&admin).create_namespace("group").await;
    let mut image = || Image::random(&mut random, 2, 60_000);
    let honest = lost_in_a_cut(&region, &volume, &admin, "honest", &image()).await;
    assert_eq!(honest, None, "the disk did not lie yet");
    for path in ["/blobs/", "catalog"] {
        let mut losses = Vec::new();
        for cut in 0..3 {
            faults.arm(&Plan { calls: SYNC, path, first: 1, last: u64::MAX, action: Action::Skip });
            losses.extend(lost_in_a_cut(&region, &volume, &admin, &format!("lied-{cut}"), &image()).await);
            assert!(faults.seen() > 0, "nothing below {path} was synced at all");
        }
        assert!(!losses.is_empty(), "no sync of {path} was done, and nothing is missing");
        assert!(losses.iter().all(|loss| loss.starts_with("I1: ")), "{path}: {losses:?}");
        // What is pushed after the lie is durable again.
        faults.disarm();
        let honest = lost_in_a_cut(&region, &volume, &admin, "honest-again", &image()).await;
        assert_eq!(honest, None, "after {path}");
    }
    region.kill9().await;
}
