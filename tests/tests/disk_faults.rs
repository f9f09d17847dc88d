//! Disks that fail (F5) and disks that are full (F4): nothing is acknowledged that is not kept, the client reads what is
//! wrong, reads go on, and the region serves again by itself as soon as the disk does.

use reqwest::Method;
use tokio::sync::Mutex;
use transship_tests::fault::{Action, EIO, ENOSPC, Faults, Plan, SYNC, WRITE};
use transship_tests::image::Image;
use transship_tests::manage::User;
use transship_tests::oracle::{self, Oracle};
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::registry::Repository;
use transship_tests::volume::Volume;
use transship_tests::{http, wait};

const REPOSITORY: &str = "group/app";
/// Not even a probe's second is waited for longer.
const RECOVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// A region with an image in it.
async fn begin(region: &mut Region, admin: &User) -> (Repository, Mutex<Oracle>, Random) {
    region.start().await;
    region.manage(admin).create_namespace("group").await;
    let repository = region.registry(admin).open(REPOSITORY, "pull,push,delete").await;
    let (oracle, mut random) = (Mutex::default(), Random::for_test("disks_that_fail"));
    let image = Image::random(&mut random, 2, 100_000);
    oracle::push(&oracle, &repository, "before", &image, None).await.expect("the disk is well");
    (repository, oracle, random)
}

/// A push that must end with one of these statuses, in the shape of the registry protocol.
async fn refused(oracle: &Mutex<Oracle>, repository: &Repository, tag: &str, image: &Image, statuses: &[u16]) {
    let lost = oracle::push(oracle, repository, tag, image, None).await.expect_err("the disk does not take it");
    assert!(statuses.iter().any(|status| lost.contains(&format!(": {status} "))), "{tag}: {lost}");
    assert!(lost.contains(r#"{"errors":[{"code":"#), "{tag}: {lost}");
    assert!(!lost.contains("os error") && !lost.contains(".db"), "what is inside stays inside: {lost}");
}

/// The image from before is pulled whole.
async fn reads_go_on(repository: &Repository) {
    let get = async |path: String| {
        let reply = http::send(repository.request(Method::GET, &path)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply
    };
    let manifest = get("manifests/before".to_owned()).await.json();
    for layer in manifest["layers"].as_array().expect("an image has layers") {
        let digest = layer["digest"].as_str().expect("a layer has a digest");
        get(format!("blobs/{digest}")).await;
    }
}

async fn is_ready(region: &Region) -> bool {
    let asked = reqwest::Client::new().get(format!("{}/readyz", region.url()));
    http::try_send(asked).await.is_ok_and(|reply| reply.status == 200)
}

#[tokio::test]
async fn a_failing_disk_is_no_reason_to_lie() {
    let admin = User::named("admin");
    let faults = Faults::new();
    let mut region = Region::prepare(RegionSettings::named("region-a"), &admin).await;
    region.meet(&faults);
    let (repository, oracle, mut random) = begin(&mut region, &admin).await;
    let io = Action::Error(EIO);
    let full = Action::Error(ENOSPC);
    for (name, calls, path, action, statuses) in [
        ("blob-sync", SYNC, "/blobs/", io, &[503][..]),
        ("blob-write", WRITE, "/blobs/", io, &[503]),
        ("blob-full", WRITE, "/blobs/", full, &[507]),
        ("catalog-sync", SYNC, "catalog", io, &[503]),
        ("catalog-write", WRITE, "catalog", io, &[503]),
        ("catalog-full", WRITE, "catalog", full, &[503, 507]),
    ] {
        let image = Image::random(&mut random, 2, 300_000);
        faults.arm(&Plan { calls, path, first: 1, last: u64::MAX, action });
        refused(&oracle, &repository, name, &image, statuses).await;
        assert!(faults.seen() > 0, "{name}: no call was met");
        assert!(!region.has_died(), "{name}: the region ended");
        reads_go_on(&repository).await;
        if calls == WRITE && path == "/blobs/" {
            wait::until("a region that knows it", RECOVERY, || async { (!is_ready(&region).await).then_some(()) })
                .await;
        }
        faults.disarm();
        wait::until("a region that is ready again", RECOVERY, || async { is_ready(&region).await.then_some(()) }).await;
        oracle::push(&oracle, &repository, name, &image, None).await.expect("the disk is well again");
    }
    // A write that takes only half is no error at all.
    faults.arm(&Plan { calls: WRITE, path: "/blobs/", first: 1, last: u64::MAX, action: Action::Short });
    let image = Image::random(&mut random, 2, 300_000);
    oracle::push(&oracle, &repository, "short", &image, None).await.expect("the rest is written too");
    faults.disarm();

    region.kill9().await;
    region.start().await;
    oracle.lock().await.check(&region.registry(&admin).open(REPOSITORY, "pull,push").await).await;
}

#[tokio::test]
async fn a_full_disk_is_read_and_fills_no_more() {
    let admin = User::named("admin");
    let volume = Volume::memory(64).await;
    let mut settings = RegionSettings::named("region-a");
    settings.data_dir = Some(volume.path().join("data"));
    let mut region = Region::prepare(settings, &admin).await;
    let (repository, oracle, mut random) = begin(&mut region, &admin).await;
    for left_bytes in [0, 4096, 1 << 20] {
        let tag = format!("left-{left_bytes}");
        let image = Image::random(&mut random, 2, 2 << 20);
        volume.fill(left_bytes);
        refused(&oracle, &repository, &tag, &image, &[507]).await;
        assert!(!region.has_died(), "{tag}: the region ended");
        reads_go_on(&repository).await;
        volume.free();
        oracle::push(&oracle, &repository, &tag, &image, None).await.expect("there is room again");
    }
    region.kill9().await;
    region.start().await;
    oracle.lock().await.check(&region.registry(&admin).open(REPOSITORY, "pull,push").await).await;
    region.kill9().await;
}
