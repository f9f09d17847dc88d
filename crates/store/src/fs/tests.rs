use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::TryStreamExt as _;
use tempfile::TempDir;

use super::{FsStore, LOCK_PATIENCE, MARKER, PROBE};
use crate::suite::Bench;
use crate::{BlobStore, Location, StoreErrorKind};

struct Directory(TempDir);

impl Bench for Directory {
    fn open(&self) -> Arc<dyn BlobStore> {
        Arc::new(FsStore::open(self.0.path()).unwrap())
    }
}

crate::store_suite!(Directory(tempfile::tempdir().unwrap()));

fn store() -> (TempDir, FsStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = FsStore::open(directory.path()).unwrap();
    (directory, store)
}

async fn put(store: &FsStore, bytes: &'static [u8]) -> Location {
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    writer.write(Bytes::from_static(bytes)).await.unwrap();
    writer.finish().await.unwrap();
    location
}

#[tokio::test]
async fn location_is_the_file_name() {
    let (directory, store) = store();
    let location = put(&store, b"abc").await;
    assert_eq!(fs::read(directory.path().join(location.as_str())).unwrap(), b"abc");
    assert_eq!(store.directory(), directory.path());
}

#[tokio::test]
async fn directory_is_made_with_those_above_it() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a/b/c");
    let store = FsStore::open(&deep).unwrap();
    let location = put(&store, b"abc").await;
    drop(store);
    let store = FsStore::open(&deep).unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), [location]);
    assert!(!deep.join(PROBE).exists(), "opening leaves nothing behind");
}

#[test]
fn unusable_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = FsStore::open(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join(MARKER), "transship blobs 2\n").unwrap();
    let error = FsStore::open(&other).unwrap_err().to_string();
    assert!(error.contains("transship blobs 2") && error.contains(MARKER), "{error}");
}

#[test]
fn directory_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write everywhere.
    if fs::write(directory.path().join("file"), "").is_ok() {
        return;
    }
    let error = FsStore::open(directory.path()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Io);
    assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
}

#[test]
fn marker_that_a_crash_cut_short_is_no_obstacle() {
    let (directory, _) = store();
    fs::write(directory.path().join(MARKER), "").unwrap();
    FsStore::open(directory.path()).unwrap();
}

/// The volume was unmounted: its blobs must not be reported as absent, nor new ones be written to the empty mount
/// point.
#[tokio::test]
async fn lost_volume_is_no_missing_blob() {
    let (directory, store) = store();
    let location = put(&store, b"abc").await;
    let mut writer = store.create(&Location::fresh()).await.unwrap();
    let checkpoint = writer.checkpoint().await.unwrap();
    fs::remove_dir_all(directory.path()).unwrap();
    fs::create_dir(directory.path()).unwrap();
    for error in [
        store.read(&location, None).await.err(),
        store.create(&Location::fresh()).await.err(),
        store.resume(&location, &checkpoint).await.err(),
        store.delete(&location).await.err(),
        store.list(None, 10).await.err(),
        store.probe().await.err(),
    ] {
        let error = error.unwrap();
        assert_eq!(error.kind(), StoreErrorKind::Io, "{error}");
        assert!(error.to_string().contains(MARKER), "{error}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn tidied_directory_is_made_again() {
    let (directory, store) = store();
    let location = Location::fresh();
    fs::remove_dir(directory.path().join(location.parts().unwrap().0)).unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), []);
    let writer = store.create(&location).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), 0);
    assert_eq!(store.list(None, 10).await.unwrap(), [location]);
}

#[tokio::test]
async fn strange_files_are_not_listed() {
    let (directory, store) = store();
    let location = put(&store, b"abc").await;
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    fs::write(directory.path().join("00/notes.txt"), "").unwrap();
    fs::write(directory.path().join("README"), "").unwrap();
    assert_eq!(store.list(None, 10).await.unwrap(), [location]);
}

#[tokio::test]
async fn living_writer_keeps_others_out() {
    let (_directory, store) = store();
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    let checkpoint = writer.checkpoint().await.unwrap();
    let begun = Instant::now();
    let error = store.resume(&location, &checkpoint).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Busy);
    assert!(begun.elapsed() >= LOCK_PATIENCE, "it waits for a writer that is about to go");
    drop(writer);
    store.resume(&location, &checkpoint).await.unwrap();
}

/// The bytes of a deleted file would be lost, so they are never reported as durable.
#[tokio::test]
async fn writer_of_a_deleted_blob_is_told() {
    let (_directory, store) = store();
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    store.delete(&location).await.unwrap();
    assert_eq!(writer.checkpoint().await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert_eq!(writer.finish().await.unwrap_err().kind(), StoreErrorKind::NotFound);
}

#[tokio::test]
async fn file_that_somebody_else_wrote_to_is_not_finished() {
    let (directory, store) = store();
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    fs::write(directory.path().join(location.as_str()), "foreign bytes").unwrap();
    let error = writer.finish().await.unwrap_err();
    assert!(error.to_string().contains("13 bytes, not the 3"), "{error}");
}

#[tokio::test]
async fn blob_that_becomes_shorter_ends_with_an_error() {
    let (directory, store) = store();
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    writer.write(Bytes::from(vec![1; 2_000_000])).await.unwrap();
    writer.finish().await.unwrap();
    let mut pieces = store.read(&location, None).await.unwrap();
    pieces.try_next().await.unwrap().unwrap();
    let path = directory.path().join(location.as_str());
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(700_000).unwrap();
    let rest: Result<Vec<Bytes>, _> = pieces.try_collect().await;
    let error = rest.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Io);
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}

/// A blob that is deleted while somebody reads it is read to its end.
#[tokio::test]
async fn reader_keeps_a_deleted_blob() {
    let (_directory, store) = store();
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    writer.write(Bytes::from(vec![1; 2_000_000])).await.unwrap();
    writer.finish().await.unwrap();
    let pieces = store.read(&location, None).await.unwrap();
    store.delete(&location).await.unwrap();
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), 2_000_000);
}

/// Many more idle writers and readers than the runtime has blocking threads.
#[test]
fn idle_clients_hold_no_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (_directory, store) = store();
        let large = Location::fresh();
        let mut writer = store.create(&large).await.unwrap();
        writer.write(Bytes::from(vec![1; 1_000_000])).await.unwrap();
        writer.finish().await.unwrap();
        let mut idle = Vec::new();
        for _ in 0..40 {
            let mut writer = store.create(&Location::fresh()).await.unwrap();
            writer.write(Bytes::from(vec![1; 300_000])).await.unwrap();
            let mut pieces = store.read(&large, None).await.unwrap();
            pieces.try_next().await.unwrap().unwrap();
            idle.push((writer, pieces));
        }
        let location = put(&store, b"abc").await;
        store.delete(&location).await.unwrap();
        store.probe().await.unwrap();
        for (writer, pieces) in idle {
            assert_eq!(writer.finish().await.unwrap(), 300_000);
            pieces.try_collect::<Vec<_>>().await.unwrap();
        }
    });
}

#[tokio::test]
async fn a_store_is_opened_unchanged_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    FsStore::open_unchanged(directory.path().join("absent")).unwrap_err();
    FsStore::open_unchanged(directory.path()).unwrap_err();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "something was made");
    let location = put(&FsStore::open(directory.path()).unwrap(), b"abc").await;
    let store = FsStore::open_unchanged(directory.path()).unwrap();
    assert_eq!(store.read(&location, None).await.unwrap().try_next().await.unwrap().unwrap(), "abc");
}

/// A real full disk: the test below runs again in a user namespace of its own, on a tmpfs of 4 MiB. Where the machine
/// does not allow such a namespace, nothing is tested here; `/dev/full` is tested in any case.
#[cfg(target_os = "linux")]
#[test]
fn full_disk_on_a_small_tmpfs() {
    let directory = tempfile::tempdir().unwrap();
    let in_namespace = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script]);
        command.arg(directory.path()).arg(std::env::current_exe().unwrap());
        command.output()
    };
    let mount = "mount -t tmpfs -o size=4m tmpfs \"$0\"";
    if !in_namespace(mount).is_ok_and(|output| output.status.success()) {
        eprintln!("not tested: no mount namespace here");
        return;
    }
    let run = format!("{mount}; cd \"$0\"; touch tmpfs; \"$1\" --exact fs::tests::on_a_small_tmpfs --ignored");
    let output = in_namespace(&run).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "run by full_disk_on_a_small_tmpfs"]
async fn on_a_small_tmpfs() {
    if !Path::new("tmpfs").exists() {
        return;
    }
    let store = FsStore::open("blobs").unwrap();
    let kept = Location::fresh();
    let mut writer = store.create(&kept).await.unwrap();
    writer.write(Bytes::from(vec![1; 1_000_000])).await.unwrap();
    let checkpoint = writer.checkpoint().await.unwrap();
    // It fills up, at some write or at the end.
    let filled = async {
        for _ in 0..10 {
            writer.write(Bytes::from(vec![2; 1_000_000])).await?;
        }
        writer.checkpoint().await
    };
    let error = filled.await.unwrap_err();
    assert!(error.is_no_space(), "{error}");
    assert!(writer.finish().await.unwrap_err().is_no_space());

    // Writes fail, and existing blobs can be read.
    assert!(store.probe().await.unwrap_err().is_no_space());
    let mut other = store.create(&Location::fresh()).await.unwrap();
    other.write(Bytes::from_static(b"x")).await.unwrap();
    assert!(other.finish().await.unwrap_err().is_no_space());
    let pieces: Vec<Bytes> = store.read(&kept, Some(0..1_000_000)).await.unwrap().try_collect().await.unwrap();
    assert!(pieces.concat() == vec![1; 1_000_000], "the durable bytes differ");

    // Resuming frees the discarded bytes, so there is space without a restart.
    let mut writer = store.resume(&kept, &checkpoint).await.unwrap();
    store.probe().await.unwrap();
    writer.write(Bytes::from(vec![3; 1_000_000])).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), 2_000_000);

    // A full disk is also reported at start-up.
    let rest = fs::File::create("rest").unwrap();
    let mut rest = std::io::BufWriter::new(rest);
    while std::io::Write::write_all(&mut rest, &[0; 4096]).is_ok() {}
    assert!(FsStore::open("blobs").unwrap_err().is_no_space());
}
