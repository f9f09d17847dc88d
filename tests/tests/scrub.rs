//! Bytes that rot: a region finds them by itself, never gives them out once it knows, and gets them back from a peer or
//! from the next push (F30), also when it is killed again and again (F6). And `transship fsck`, which sees the same from
//! the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use transship_tests::fault::{Faults, SYNC};
use transship_tests::image::{self, Image};
use transship_tests::manage::Sync;
use transship_tests::pair::{GROUP, Pair, PairSettings};
use transship_tests::random::Random;
use transship_tests::region::Region;
use transship_tests::registry::Repository;
use transship_tests::single::{APP, Single};
use transship_tests::{http, soak, wait};

const HERE: &str = "group/app";
const THERE: &str = "sdsad/app";
/// Rounds begin each second here; a busy machine makes them wait.
const LIMIT: Duration = Duration::from_mins(2);
/// Every blob each second, and a peer asked again each second.
const BUSY: &str = "[scrub]\nbytes_per_second = 1000000000\ninterval_seconds = 1\nrepair_interval_seconds = 1";
/// A round takes a second or two, so that most kills hit one.
const STEADY: &str = "[scrub]\nbytes_per_second = 2000000\ninterval_seconds = 1\nrepair_interval_seconds = 1";
/// No rounds, and no repairs worth mentioning: what is wrong stays so.
const IDLE: &str = "[scrub]\nbytes_per_second = 0\nrepair_interval_seconds = 86400";

/// The file that holds these bytes. Names say nothing, so every file of that size is looked at.
fn file_of(region: &Region, bytes: &[u8]) -> PathBuf {
    files(region)
        .into_iter()
        .find(|path| std::fs::read(path).is_ok_and(|found| found == bytes))
        .expect("a file holds it")
}

fn files(region: &Region) -> Vec<PathBuf> {
    let shards = std::fs::read_dir(region.data_dir().join("blobs")).expect("the blobs have a folder");
    let shards = shards.flatten().filter(|entry| entry.path().is_dir());
    let files = shards.flat_map(|shard| std::fs::read_dir(shard.path()).into_iter().flatten().flatten());
    files.map(|entry| entry.path()).collect()
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("the file is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).expect("the file is writable");
}

fn truncate(path: &Path) {
    let length = std::fs::metadata(path).expect("the file is there").len();
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("the file is writable");
    file.set_len(length / 2).expect("a file can be cut");
}

async fn status(repository: &Repository, method: Method, digest: &str) -> u16 {
    // A file that is cut short while it is sent breaks the connection, which is no answer either.
    http::try_send(repository.request(method, &format!("blobs/{digest}"))).await.map_or(0, |reply| reply.status)
}

/// Waits until the blob is not given out any more.
async fn is_out_of_service(repository: &Repository, digest: &str) {
    let gone = || async { (status(repository, Method::HEAD, digest).await == 404).then_some(()) };
    wait::until(&format!("{digest} to be out of service"), LIMIT, gone).await;
    assert_eq!(status(repository, Method::GET, digest).await, 404);
}

async fn is_whole_again(repository: &Repository, bytes: &[u8]) {
    let path = format!("blobs/{}", image::digest(bytes));
    let whole = || async {
        let reply = http::try_send(repository.request(Method::GET, &path)).await.ok()?;
        (reply.status == 200 && reply.body == bytes).then_some(())
    };
    wait::until("the blob to be whole again", LIMIT, whole).await;
}

/// `transship fsck --json` with these flags: its exit code, the kinds of what it found, and its last line.
async fn fsck(region: &Region, flags: &[&str]) -> (i32, Vec<String>, Value) {
    let mut command = region.command(&[&["fsck", "--json"], flags].concat());
    let output = command.output().await.expect("the binary starts");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect();
    let report = lines.pop().unwrap_or_else(|| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    let mut found: Vec<String> =
        lines.iter().map(|line| line["problem"].as_str().unwrap_or_default().to_owned()).collect();
    found.sort_unstable();
    (output.status.code().expect("it ends by itself"), found, report)
}

fn settings(source: &str, target: &str) -> PairSettings {
    let mut settings = PairSettings::default();
    settings.source.sections.push(source.to_owned());
    settings.target.sections.push(target.to_owned());
    settings
}

#[tokio::test]
async fn wrong_bytes_come_back_from_a_peer() {
    let mut random = Random::for_test("wrong_bytes_come_back_from_a_peer");
    let mut pair = Pair::start(settings(IDLE, BUSY)).await;
    let image = Image::random(&mut random, 3, 300_000);
    pair.source_registry().push(HERE, "v1", &image).await;
    assert_eq!(pair.manage().sync(GROUP, "app", &Sync::of(&["v1"])).await, [""; 0]);
    let there = pair.target_registry().open(THERE, "pull").await;
    there.pull("v1").await;

    // With the peer away, what is damaged goes out of service and stays out.
    pair.source.terminate().await;
    let (flipped, cut, lost) = (&image.blobs[1], &image.blobs[2], &image.blobs[3]);
    let files: Vec<PathBuf> = [flipped, cut, lost].iter().map(|bytes| file_of(&pair.target, bytes)).collect();
    flip(&files[0]);
    truncate(&files[1]);
    std::fs::remove_file(&files[2]).expect("the file is there");
    for bytes in [flipped, cut, lost] {
        is_out_of_service(&there, &image::digest(bytes)).await;
    }
    // The manifest is still there, and no new one may count on what is not.
    let pusher = pair.target_registry().open(THERE, "pull,push").await;
    let refused = pusher.put_manifest("v2", image.media_type, &image.raw).await.expect(404);
    assert_eq!(refused.json()["errors"][0]["code"], "MANIFEST_BLOB_UNKNOWN");
    pair.target.wait_for_log("taken out of service").await;
    // The wrong bytes are kept as long as there are no right ones.
    assert!(files[0].exists() && files[1].exists());

    pair.source.start().await;
    for bytes in [flipped, cut, lost] {
        is_whole_again(&there, bytes).await;
    }
    assert_eq!(there.pull("v1").await.digest, image.digest());
    pair.target.wait_for_log("the bytes came from a peer").await;
}

#[tokio::test]
async fn wrong_bytes_are_replaced_by_the_next_push() {
    let mut random = Random::for_test("wrong_bytes_are_replaced_by_the_next_push");
    let pair = Pair::start(settings(BUSY, IDLE)).await;
    let image = Image::random(&mut random, 2, 100_000);
    let source = pair.source_registry();
    source.push(HERE, "v1", &image).await;
    source.push("group/other", "v1", &image).await;
    let repository = source.open(HERE, "pull,push").await;
    let layer = &image.blobs[1];
    flip(&file_of(&pair.source, layer));
    is_out_of_service(&repository, &image::digest(layer)).await;
    let other = source.open("group/other", "pull").await;
    assert_eq!(status(&other, Method::GET, &image::digest(layer)).await, 404);
    // A client sees that it is missing, and sends it; it is back for everybody who links it.
    source.push(HERE, "v1", &image).await;
    assert_eq!(repository.pull("v1").await.digest, image.digest());
    assert_eq!(other.pull("v1").await.digest, image.digest());
}

/// A push of content that is known answers 201 only when the content is there afterwards, although nobody has noticed yet
/// that its bytes are gone.
#[tokio::test]
async fn a_push_of_known_content_looks_at_its_bytes() {
    let mut random = Random::for_test("a_push_of_known_content_looks_at_its_bytes");
    let pair = Pair::start(settings(IDLE, IDLE)).await;
    let image = Image::random(&mut random, 2, 100_000);
    pair.source_registry().push(HERE, "v1", &image).await;
    let repository = pair.source_registry().open(HERE, "pull,push").await;
    let files: Vec<PathBuf> = image.blobs[1..].iter().map(|bytes| file_of(&pair.source, bytes)).collect();
    std::fs::remove_file(&files[0]).expect("the file is there");
    truncate(&files[1]);
    for bytes in &image.blobs[1..] {
        let again = format!("blobs/uploads/?digest={}", image::digest(bytes));
        http::send(repository.request(Method::POST, &again).body(bytes.clone())).await.expect(201);
    }
    assert_eq!(repository.pull("v1").await.digest, image.digest());
    let (code, found, report) = fsck(&pair.source, &[]).await;
    assert_eq!((code, found.len()), (0, 0), "{report}");
}

/// A read that finds no bytes, or too few, is enough: nobody has to wait for the scrubber.
#[tokio::test]
async fn a_read_that_finds_nothing_takes_the_blob_out_of_service() {
    let mut random = Random::for_test("a_read_that_finds_nothing_takes_the_blob_out_of_service");
    let pair = Pair::start(settings(IDLE, IDLE)).await;
    let image = Image::random(&mut random, 2, 100_000);
    pair.source_registry().push(HERE, "v1", &image).await;
    let repository = pair.source_registry().open(HERE, "pull").await;
    let files: Vec<PathBuf> = image.blobs[1..].iter().map(|bytes| file_of(&pair.source, bytes)).collect();
    std::fs::remove_file(&files[0]).expect("the file is there");
    truncate(&files[1]);
    for bytes in &image.blobs[1..] {
        let digest = image::digest(bytes);
        assert_eq!(status(&repository, Method::GET, &digest).await, 404);
        assert_eq!(status(&repository, Method::HEAD, &digest).await, 404);
    }
}

#[tokio::test]
async fn fsck_finds_what_is_wrong() {
    let mut random = Random::for_test("fsck_finds_what_is_wrong");
    let mut pair = Pair::start(settings(IDLE, IDLE)).await;
    let image = Image::random(&mut random, 3, 50_000);
    pair.source_registry().push(HERE, "v1", &image).await;
    // Beside the running region.
    let (code, found, report) = fsck(&pair.source, &[]).await;
    assert_eq!((code, found.len()), (0, 0), "{report}");
    assert_eq!((report["blobs"].as_u64(), report["manifests"].as_u64()), (Some(4), Some(1)), "{report}");

    pair.source.terminate().await;
    let files: Vec<PathBuf> = image.blobs[1..].iter().map(|bytes| file_of(&pair.source, bytes)).collect();
    flip(&files[0]);
    truncate(&files[1]);
    std::fs::remove_file(&files[2]).expect("the file is there");
    let orphan = pair.source.data_dir().join("blobs/ab/0123456789abcdef0123456789abcdab");
    std::fs::write(&orphan, b"nobody's").expect("the folder is writable");
    let damaged = "damaged_blob".to_owned();
    let orphaned = "orphaned_bytes".to_owned();
    // Sizes alone do not show a flipped bit.
    let quick = fsck(&pair.source, &["--quick"]).await;
    assert_eq!((quick.0, quick.1), (1, vec![damaged.clone(), damaged.clone(), orphaned.clone()]));
    let whole = vec![damaged.clone(), damaged.clone(), damaged.clone(), orphaned];
    for flags in [&[][..], &["--repair"]] {
        let (code, found, _) = fsck(&pair.source, flags).await;
        assert_eq!((code, &found), (1, &whole), "{flags:?}");
    }
    assert!(!orphan.exists() && files[0].exists(), "what nobody names is gone, what is wrong is kept");
    let (code, found, _) = fsck(&pair.source, &[]).await;
    assert_eq!((code, found), (1, vec!["quarantined_blob".to_owned(); 3]));

    // A push heals, and then all is well.
    pair.source.start().await;
    pair.source_registry().push(HERE, "v1", &image).await;
    assert_eq!(pair.source_registry().pull(HERE, "v1").await.digest, image.digest());
    // The wrong bytes are tombstones, which the region deletes by itself; they are named, so they are no problem.
    let (code, found, report) = fsck(&pair.source, &[]).await;
    assert_eq!((code, found.len()), (0, 0), "{report}");

    // Where there is no region nothing can be said, and nothing is made.
    pair.source.terminate().await;
    let data = pair.source.data_dir();
    std::fs::rename(&data, data.with_extension("away")).expect("the folder can be moved");
    let output = pair.source.command(&["fsck"]).output().await.expect("the binary starts");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(!data.exists());
}

/// How often the log says of each blob that it was taken out of service.
fn taken_out_of_service(region: &Region) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for line in region.log().lines().filter(|line| line.contains("was taken out of service")) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let digest = line["digest"].as_str().unwrap_or_else(|| panic!("no digest: {line}"));
        *times.entry(digest.to_owned()).or_default() += 1;
    }
    times
}

/// F6, I17: a scrub that is killed again and again, at random moments and inside its own commits, finds every blob that
/// is wrong and none that is right.
#[tokio::test]
async fn scrubbing_outlives_kill_9() {
    let mut random = Random::for_test("scrubbing_outlives_kill_9");
    let mut single = Single::start_with(&[STEADY], &[]).await;
    let faults = Faults::new();
    single.region.terminate().await;
    single.region.meet(&faults);
    single.region.start().await;
    let images: Vec<Image> = (0..4).map(|_| Image::random(&mut random, 3, 200_000)).collect();
    for (number, image) in images.iter().enumerate() {
        single.registry().push(APP, &format!("v{number}"), image).await;
    }
    let blobs: Vec<&Vec<u8>> = images.iter().flat_map(|image| &image.blobs).collect();
    let mut damaged: Vec<&Vec<u8>> = Vec::new();
    let mut times_damaged = BTreeMap::<String, usize>::new();
    let rounds = soak::rounds(6, 100);
    for round in 0..rounds {
        let whole: Vec<&Vec<u8>> = blobs.iter().copied().filter(|blob| !damaged.contains(blob)).collect();
        let pick = random.below(whole.len() as u64);
        let victim = whole[usize::try_from(pick).expect("small")];
        let file = file_of(&single.region, victim);
        match random.below(3) {
            0 => flip(&file),
            1 => truncate(&file),
            _ => std::fs::remove_file(&file).expect("the file is there"),
        }
        damaged.push(victim);
        *times_damaged.entry(image::digest(victim)).or_default() += 1;
        if round % 2 == 0 {
            tokio::time::sleep(random.millis(0, 1500)).await;
            single.region.kill9().await;
        } else {
            // Nobody else writes: what is synced is the beginning of a round, its end, or a quarantine.
            faults.kill_at(SYNC, 1 + random.below(6));
            let region = &mut single.region;
            let died = || std::future::ready(region.has_died().then_some(()));
            wait::until("a commit of the scrubber", LIMIT, died).await;
            faults.disarm();
        }
        single.region.start().await;
        let repository = single.app().await;
        for blob in blobs.iter().filter(|blob| !damaged.contains(blob)) {
            let reply = http::send(repository.request(Method::GET, &format!("blobs/{}", image::digest(blob)))).await;
            assert!(reply.expect(200).body == **blob, "round {round}: other bytes");
        }
        if round % 3 == 2 || round + 1 == rounds {
            for blob in &damaged {
                is_out_of_service(&repository, &image::digest(blob)).await;
            }
            let (code, found, report) = fsck(&single.region, &[]).await;
            assert_eq!((code, found), (1, vec!["quarantined_blob".to_owned(); damaged.len()]), "{report}");
            // The same pushes again heal everything.
            damaged.clear();
            for (number, image) in images.iter().enumerate() {
                let tag = format!("v{number}");
                single.registry().push(APP, &tag, image).await;
                assert_eq!(repository.pull(&tag).await.digest, image.digest());
            }
        }
    }
    // A kill may fall between a commit and its line in the log, so a line may be missing and none may be too many.
    let taken = taken_out_of_service(&single.region);
    assert!(!taken.is_empty(), "nothing was found");
    for (digest, times) in taken {
        let allowed = times_damaged.get(&digest).copied().unwrap_or_default();
        assert!(times <= allowed, "{digest} was damaged {allowed} times and taken out of service {times} times");
    }
    let (code, found, report) = fsck(&single.region, &[]).await;
    assert_eq!((code, found.len()), (0, 0), "{report}");
}
