//! What nobody needs goes away while everybody works: writers that share layers, a round each second, graces of 0, kill -9,
//! two processes on one catalog; and what is deleted is gone for every reader at once (F6, F7, F8, I3, I5, I18).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::task::JoinSet;
use transship_tests::http::{self, Reply};
use transship_tests::image::{self, Image};
use transship_tests::manage::User;
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::registry::{Registry, Repository};
use transship_tests::{postgres, soak, wait};

const GROUP: &str = "group";
const APP: &str = "group/app";
const WRITERS: u64 = 8;
const SHARED_LAYERS: u64 = 50;
/// Two rounds and a tidying; a busy machine some more.
const LIMIT: Duration = Duration::from_mins(2);

const EAGER: &str =
    "[collection]\ninterval_seconds = 1\nunlink_grace_seconds = 0\nsweep_grace_seconds = 0\npause_milliseconds = 0";

/// Everything at once: the worst that can be configured.
fn eager(id: &str) -> RegionSettings {
    let mut settings = RegionSettings::named(id);
    settings.sections = vec![EAGER.to_owned()];
    settings
}

/// The same, but a push has a minute between its blobs and its manifest.
fn patient(id: &str) -> RegionSettings {
    let mut settings = RegionSettings::named(id);
    settings.sections = vec![
        EAGER.replace("unlink_grace_seconds = 0", "unlink_grace_seconds = 60"),
        "[limits]\nupload_expiry_seconds = 60".to_owned(),
    ];
    settings
}

async fn start(settings: RegionSettings) -> (Region, User) {
    let admin = User::named("admin");
    let mut region = Region::prepare(settings, &admin).await;
    region.start().await;
    region.manage(&admin).create_namespace(GROUP).await;
    (region, admin)
}

/// How many files there are with bytes of blobs or uploads.
fn files(data_dir: &Path) -> usize {
    let shards = std::fs::read_dir(data_dir.join("blobs")).expect("a region has a store");
    let shards = shards.map(|entry| entry.expect("the store can be listed").path()).filter(|path| path.is_dir());
    // A file may go between the two looks.
    shards.map(|shard| std::fs::read_dir(shard).map_or(0, Iterator::count)).sum()
}

async fn wait_for_files(region: &Region, count: usize) {
    let data_dir = region.data_dir();
    let reached = || async { (files(&data_dir) == count).then_some(()) };
    wait::until(&format!("{count} files of bytes"), LIMIT, reached).await;
}

async fn delete(repository: &Repository, path: &str) -> Reply {
    http::send(repository.request(Method::DELETE, path)).await
}

async fn get(repository: &Repository, path: &str) -> Reply {
    http::send(repository.request(Method::GET, path)).await
}

/// A push as clients do it: what is there is not sent. `None` when the answer is that a blob went meanwhile, which a
/// client answers by pushing again; or when the region was killed.
async fn try_push(repository: &Repository, tag: &str, image: &Image) -> Option<()> {
    for blob in &image.blobs {
        let digest = image::digest(blob);
        let head = http::try_send(repository.request(Method::HEAD, &format!("blobs/{digest}"))).await.ok()?;
        if head.status != 200 {
            let post = repository.request(Method::POST, &format!("blobs/uploads/?digest={digest}"));
            let post = post.header("Content-Type", "application/octet-stream").body(blob.clone());
            http::try_send(post).await.ok()?.expect(201);
        }
    }
    let put = repository.request(Method::PUT, &format!("manifests/{tag}"));
    let reply = http::try_send(put.header("Content-Type", image.media_type).body(image.raw.clone())).await.ok()?;
    if reply.status == 201 {
        return Some(());
    }
    assert!(
        reply.status == 404 && reply.text().contains("MANIFEST_BLOB_UNKNOWN"),
        "{}: {}",
        reply.status,
        reply.text()
    );
    None
}

/// One writer's tag: pushes an image of some shared layers, checks it, deletes the one before, until `stop`.
async fn write(
    registry: Registry,
    number: u64,
    shared: Arc<Vec<Vec<u8>>>,
    mut random: Random,
    stop: Arc<AtomicBool>,
) -> u64 {
    let tag = format!("writer-{number}");
    let (mut old, mut pushed, mut repeated): (Option<String>, u64, u64) = (None, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        // A token lives for five minutes.
        let repository = registry.open(APP, "pull,push,delete").await;
        for _ in 0..20 {
            if stop.load(Ordering::Relaxed) {
                return pushed;
            }
            let mut layers: Vec<Vec<u8>> =
                (0..4).map(|_| shared[usize::try_from(random.below(SHARED_LAYERS)).expect("a few")].clone()).collect();
            layers.push(random.bytes(300));
            let image = Image::of(layers);
            while try_push(&repository, &tag, &image).await.is_none() {
                repeated += 1;
                assert!(repeated < 10_000, "writer {number} gets no image through");
            }
            pushed += 1;
            assert_eq!(repository.pull(&tag).await.digest, image.digest());
            if let Some(old) = old.replace(image.digest()) {
                delete(&repository, &format!("manifests/{old}")).await.expect(202);
                get(&repository, &format!("manifests/{old}")).await.expect(404);
            }
            assert_eq!(repository.pull(&tag).await.digest, image.digest());
        }
    }
    pushed
}

/// Reads the writers' tags all the time: a tag that stays where it is has all its parts.
async fn read(registry: Registry, mut random: Random, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let repository = registry.open(APP, "pull").await;
        for _ in 0..50 {
            let tag = format!("writer-{}", random.below(WRITERS));
            let Some(digest) = repository.tag_digest(&tag).await else { continue };
            let manifest = get(&repository, &format!("manifests/{digest}")).await;
            let mut missing: Vec<String> = Vec::new();
            if manifest.status == 200 {
                for layer in manifest.json()["layers"].as_array().expect("an image has layers") {
                    let layer = layer["digest"].as_str().expect("a layer has a digest").to_owned();
                    let reply = get(&repository, &format!("blobs/{layer}")).await;
                    match reply.status {
                        200 => assert_eq!(image::digest(&reply.body), layer),
                        404 => missing.push(layer),
                        status => panic!("{status}: {}", reply.text()),
                    }
                }
            } else {
                manifest.expect(404);
                missing.push(digest.clone());
            }
            // Deleted by its writer, after the tag had moved on.
            assert!(
                missing.is_empty() || repository.tag_digest(&tag).await.as_ref() != Some(&digest),
                "{tag} still points at {digest}, which lacks {missing:?}"
            );
        }
    }
}

/// Writers and a reader for some time, spread over the regions, which are processes on one catalog and one store.
async fn storm(name: &str, regions: &mut [Region], admin: &User) {
    let mut random = Random::for_test(name);
    let shared: Arc<Vec<Vec<u8>>> = Arc::new((0..SHARED_LAYERS).map(|_| random.bytes(2000)).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let registries: Vec<Registry> = regions.iter().map(|region| region.registry(admin)).collect();
    let registry = |number: u64| registries[usize::try_from(number).expect("a few") % registries.len()].clone();
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let random = Random::seeded(random.bits());
        writers.spawn(write(registry(number), number, Arc::clone(&shared), random, Arc::clone(&stop)));
    }
    let reader = tokio::spawn(read(registry(1), Random::seeded(random.bits()), Arc::clone(&stop)));
    let begun = Instant::now();
    let limit = soak::duration(Duration::from_secs(20));
    while begun.elapsed() < limit && writers.len() == usize::try_from(WRITERS).expect("a few") {
        tokio::select! {
            // None ends before it is told to, unless it has found something.
            Some(ended) = writers.join_next() => drop(ended.expect("a writer found something")),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
    stop.store(true, Ordering::Relaxed);
    let pushed: u64 = writers.join_all().await.into_iter().sum();
    reader.await.expect("the reader found something");
    assert!(pushed >= 20, "only {pushed} images were pushed");
    for region in regions.iter() {
        assert!(region.log().contains("collected what nothing needs"), "{} has collected nothing", region.id());
    }
    let repository = regions[0].registry(admin).open(APP, "pull,push,delete").await;
    for number in 0..WRITERS {
        repository.pull(&format!("writer-{number}")).await;
    }
    // Without its images the store is empty again.
    delete_repository(&regions[0], admin, "app").await;
    wait_for_files(&regions[0], 0).await;
}

async fn delete_repository(region: &Region, admin: &User, repository: &str) {
    let path = format!("/v2/manage/namespaces/{GROUP}/repos/{repository}");
    let reply = region.manage(admin).call("DELETE", &path, None).await;
    assert!(matches!(reply.status, 200 | 204), "{}: {}", reply.status, reply.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_layers_while_everything_is_collected() {
    let (region, admin) = start(eager("cn-north-4")).await;
    storm("shared_layers_while_everything_is_collected", &mut [region], &admin).await;
}

/// The same with two processes, which both collect, on one PostgreSQL and one directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_collect_at_once() {
    let mut settings = eager("cn-north-4");
    settings.catalog_url = Some(postgres::fresh_database().await);
    let (first, admin) = start(settings.clone()).await;
    settings.data_dir = Some(first.data_dir());
    let mut second = Region::prepare(settings, &admin).await;
    second.start().await;
    storm("two_processes_collect_at_once", &mut [first, second], &admin).await;
}

/// kill -9 in the middle of pushes, deletions and collections: what was acknowledged is there, what was deleted is not, and
/// nothing is left over in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_collects() {
    let mut random = Random::for_test("killed_while_it_collects");
    let (mut region, admin) = start(eager("cn-north-4")).await;
    let shared: Vec<Vec<u8>> = (0..8).map(|_| random.bytes(2000)).collect();
    let count = AtomicU64::new(0);
    let (mut kept, mut gone) = (Vec::new(), BTreeSet::new());
    for _ in 0..soak::rounds(10, 200) {
        let repository = region.registry(&admin).open(APP, "pull,push,delete").await;
        // Pushes and deletes, one after the other, until the region does not answer any more.
        let work = async {
            loop {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let layer = |random: &mut Random| shared[usize::try_from(random.below(8)).expect("a few")].clone();
                let image = Image::of(vec![layer(&mut random), layer(&mut random), random.bytes(500)]);
                let tag = format!("v{number}");
                while try_push(&repository, &tag, &image).await.is_none() {
                    if http::try_send(repository.request(Method::GET, "tags/list")).await.is_err() {
                        return;
                    }
                }
                kept.push((tag, image));
                if kept.len() > 3 {
                    let (tag, image) = kept.remove(0);
                    let request = repository.request(Method::DELETE, &format!("manifests/{}", image.digest()));
                    match http::try_send(request).await {
                        Ok(reply) => drop(reply.expect(202)),
                        // Perhaps deleted, perhaps not.
                        Err(_) => return,
                    }
                    gone.insert((tag, image.digest()));
                }
            }
        };
        let pause = Random::seeded(count.load(Ordering::Relaxed)).millis(200, 1500);
        tokio::select! {
            () = work => panic!("the region ended by itself"),
            () = tokio::time::sleep(pause) => {}
        }
        region.kill9().await;
        region.start().await;
        let repository = region.registry(&admin).open(APP, "pull,push,delete").await;
        for (tag, image) in &kept {
            assert_eq!(repository.pull(tag).await.digest, image.digest());
        }
        for (tag, digest) in gone.iter().rev().take(20) {
            get(&repository, &format!("manifests/{digest}")).await.expect(404);
            get(&repository, &format!("manifests/{tag}")).await.expect(404);
        }
    }
    assert!(!gone.is_empty(), "nothing was deleted");
    delete_repository(&region, &admin, "app").await;
    wait_for_files(&region, 0).await;
}

/// A mount whose source is deleted before the manifest comes. With a grace the image is whole; without one it is whole or
/// the client is told to push again.
#[tokio::test]
async fn the_source_of_a_mount_is_deleted() {
    let mut random = Random::for_test("the_source_of_a_mount_is_deleted");
    for (settings, is_eager) in [(patient("cn-north-4"), false), (eager("cn-north-4"), true)] {
        let (region, admin) = start(settings).await;
        let registry = region.registry(&admin);
        let (mut whole, mut refused) = (0, 0);
        for round in 0..soak::rounds(12, 100) {
            let image = Image::random(&mut random, 2, 1000);
            let source = registry.open("group/source", "pull,push").await;
            while try_push(&source, "v1", &image).await.is_none() {}
            let both = format!("repository:group/source:pull repository:{APP}:pull,push");
            let answer = registry.ask_token(&both).await.expect(200).json();
            let token = answer["token"].as_str().expect("a token").to_owned();
            let source = Repository::with_token(&region.url(), "group/source", &token);
            let target = Repository::with_token(&region.url(), APP, &token);
            for blob in &image.blobs {
                let digest = image::digest(blob);
                http::send(source.request(Method::HEAD, &format!("blobs/{digest}"))).await.expect(200);
                let mount = format!("blobs/uploads/?mount={digest}&from=group/source");
                http::send(target.request(Method::POST, &mount)).await.expect(201);
            }
            delete_repository(&region, &admin, "source").await;
            // Up to a round and a bit more.
            tokio::time::sleep(random.millis(0, 1300)).await;
            let tag = format!("v{round}");
            let reply = target.put_manifest(&tag, image.media_type, &image.raw).await;
            if reply.status == 201 {
                assert_eq!(target.pull(&tag).await.digest, image.digest());
                whole += 1;
            } else {
                assert!(is_eager && reply.status == 404, "{}: {}", reply.status, reply.text());
                assert!(reply.text().contains("MANIFEST_BLOB_UNKNOWN"), "{}", reply.text());
                get(&target, &format!("manifests/{tag}")).await.expect(404);
                refused += 1;
            }
            // What is not there any more is not mounted: an upload begins.
            let gone = image::digest(&random.bytes(10));
            let mount = format!("blobs/uploads/?mount={gone}&from=group/source");
            http::send(target.request(Method::POST, &mount)).await.expect(202);
        }
        assert!(whole > 0 || refused > 0);
        delete_repository(&region, &admin, "app").await;
        wait_for_files(&region, 0).await;
    }
}

/// After the answer to a delete nobody finds the thing any more, in neither API.
#[tokio::test]
async fn deleted_things_are_gone_at_once() {
    let (region, admin) = start(patient("cn-north-4")).await;
    let manage = region.manage(&admin);
    let mut random = Random::seeded(5);
    let image = Image::random(&mut random, 1, 1000);
    let signature = Image::signature_of(&image, b"signed");
    let repository = region.registry(&admin).open(APP, "pull,push,delete").await;
    for tag in ["v1", "v2"] {
        repository.push(tag, &image).await;
    }
    repository.push(&signature.digest(), &signature).await;
    let tags = async || {
        let reply = get(&repository, "tags/list").await.expect(200).json();
        let listed = manage.call("GET", "/v2/manage/namespaces/group/repos/app/tags", None).await.expect(200).json();
        let v2: Vec<String> = names(&reply["tags"], serde_json::Value::as_str);
        let mut v3: Vec<String> = names(&listed, |tag| tag["Tag"].as_str());
        v3.sort();
        assert_eq!(v2, v3, "{listed}");
        v2
    };
    assert_eq!(tags().await, ["v1", "v2"]);

    // A tag alone: its manifest stays.
    delete(&repository, "manifests/v1").await.expect(202);
    for method in [Method::GET, Method::HEAD] {
        http::send(repository.request(method, "manifests/v1")).await.expect(404);
    }
    delete(&repository, "manifests/v1").await.expect(404);
    assert_eq!(tags().await, ["v2"]);
    let layer = format!("blobs/{}", image::digest(&image.blobs[1]));
    delete(&repository, &layer).await.expect(405);
    get(&repository, &layer).await.expect(200);

    // A manifest with its tags; who refers to it stays, and is found.
    let by_digest = format!("manifests/{}", image.digest());
    delete(&repository, &by_digest).await.expect(202);
    for path in [by_digest.as_str(), "manifests/v2"] {
        get(&repository, path).await.expect(404);
    }
    delete(&repository, &by_digest).await.expect(404);
    assert_eq!(tags().await, [""; 0]);
    assert_eq!(repository.referrers(&image.digest()).await, [signature.digest()]);
    delete(&repository, &format!("manifests/{}", signature.digest())).await.expect(202);
    assert_eq!(repository.referrers(&image.digest()).await, [""; 0]);

    // The management API's way to delete a tag.
    repository.push("v3", &image).await;
    let path = "/v2/manage/namespaces/group/repos/app/tags/v3";
    let reply = manage.call("DELETE", path, None).await;
    assert!(matches!(reply.status, 200 | 204), "{}", reply.text());
    get(&repository, "manifests/v3").await.expect(404);
    assert_eq!(tags().await, [""; 0]);

    // A whole repository, with an upload under way.
    let started = http::send(repository.request(Method::POST, "blobs/uploads/").header("Content-Length", "0")).await;
    let location = started.expect(202).header("location").expect("a session has a location").to_owned();
    let session = location.rsplit_once("/blobs/").expect("a session is a blob to be").1.to_owned();
    let session = format!("blobs/{session}");
    http::send(repository.request(Method::PATCH, &session).body(random.bytes(5000))).await.expect(202);
    repository.push("v4", &image).await;
    delete_repository(&region, &admin, "app").await;
    for path in ["manifests/v4", by_digest.as_str(), layer.as_str(), "tags/list", session.as_str()] {
        get(&repository, path).await.expect(404);
    }
    manage.call("GET", "/v2/manage/namespaces/group/repos/app", None).await.expect(404);
    let listed = manage.call("GET", "/v2/manage/repos", None).await.expect(200).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(0), "{listed}");
    wait_for_files(&region, 0).await;
    get(&repository, &layer).await.expect(404);
}

fn names(list: &serde_json::Value, name: impl Fn(&serde_json::Value) -> Option<&str>) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|entry| name(entry).map(str::to_owned)).collect()
}
