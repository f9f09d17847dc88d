use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{BUFFER_BYTES, BlobPath, Disk, EARLY_SYNC_BYTES, FLUSH_BYTES, FsWriter, OpenFile, make_room};
use crate::fs::spare::{Memory, Share};
use crate::{BlobWriter, Location, StoreError, StoreErrorKind};

/// A writer to a device: `/dev/full` has no room, and `/dev/null` cannot be synced.
fn writer_to(device: &str, directory: &Path) -> Box<FsWriter> {
    let path =
        BlobPath { location: Location::fresh(), directory: directory.to_owned(), file: Path::new(device).to_owned() };
    let file = OpenOptions::new().write(true).open(device).unwrap();
    Box::new(FsWriter::created(path, file, share()))
}

fn share() -> Share {
    Memory::default().share()
}

fn is_poisoned(error: &StoreError) -> bool {
    matches!(error, StoreError::Poisoned { .. })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn full_disk_is_told_and_poisons_the_writer() {
    let mut writer = writer_to("/dev/full", Path::new("/dev"));
    let error = async {
        // A later call than the failed write reports the failure.
        loop {
            writer.write(Bytes::from(vec![1; FLUSH_BYTES])).await?;
        }
        #[expect(unreachable_code, reason = "it gives the block its type")]
        Ok::<(), StoreError>(())
    };
    let error = error.await.unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
    assert!(error.to_string().starts_with("writing /dev/full: no space left: "), "{error}");
    for error in [
        writer.write(Bytes::new()).await.unwrap_err(),
        writer.write(Bytes::from_static(b"x")).await.unwrap_err(),
        writer.checkpoint().await.unwrap_err(),
        writer.checkpoint().await.unwrap_err(),
        writer.finish().await.unwrap_err(),
    ] {
        assert!(is_poisoned(&error) && error.is_no_space(), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn full_disk_is_told_at_the_checkpoint() {
    let mut writer = writer_to("/dev/full", Path::new("/dev"));
    writer.write(Bytes::from_static(b"a few bytes")).await.unwrap();
    assert!(writer.checkpoint().await.unwrap_err().is_no_space());
    assert!(is_poisoned(&writer.finish().await.unwrap_err()));
}

#[tokio::test]
async fn failed_sync_poisons_the_writer() {
    let mut writer = writer_to("/dev/null", Path::new("/dev"));
    writer.write(Bytes::from(vec![1; 3 * BUFFER_BYTES])).await.unwrap();
    let error = writer.checkpoint().await.unwrap_err();
    assert!(error.to_string().starts_with("syncing /dev/null: "), "{error}");
    for error in [
        writer.checkpoint().await.unwrap_err(),
        writer.write(Bytes::from_static(b"x")).await.unwrap_err(),
        writer.finish().await.unwrap_err(),
    ] {
        assert!(is_poisoned(&error), "{error}");
        assert_eq!(error.kind(), StoreErrorKind::Io);
        assert!(error.to_string().contains("syncing /dev/null: "), "{error} does not say why");
    }
    // A blob is not finished without a sync either.
    let error = writer_to("/dev/null", Path::new("/dev")).finish().await.unwrap_err();
    assert!(error.to_string().starts_with("syncing /dev/null: "), "{error}");
}

/// The writes themselves succeed there; only the sync beside them can fail.
#[tokio::test]
async fn a_failed_early_sync_poisons_the_writer() {
    let mut writer = writer_to("/dev/null", Path::new("/dev"));
    let pieces = usize::try_from(4 * EARLY_SYNC_BYTES).unwrap() / BUFFER_BYTES;
    let mut failed = None;
    for _ in 0..pieces {
        if let Err(error) = writer.write(Bytes::from(vec![1; BUFFER_BYTES])).await {
            failed = Some(error);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let error = failed.expect("a write reports it, long before a checkpoint");
    assert!(error.to_string().contains("syncing /dev/null: "), "{error}");
    assert!(is_poisoned(&writer.checkpoint().await.unwrap_err()));
    assert!(is_poisoned(&writer.finish().await.unwrap_err()));
}

#[tokio::test]
async fn name_is_synced_before_anything_is_called_durable() {
    let directory = tempfile::tempdir().unwrap();
    for is_finish in [false, true] {
        let file = directory.path().join(is_finish.to_string());
        let handle = File::create_new(&file).unwrap();
        // The directory to sync does not exist.
        let path = BlobPath { location: Location::fresh(), directory: directory.path().join("absent"), file };
        let mut writer = Box::new(FsWriter::created(path, handle, share()));
        let error = if is_finish { writer.finish().await.err() } else { writer.checkpoint().await.err() };
        let error = error.unwrap().to_string();
        assert!(error.starts_with("syncing ") && error.contains("/absent: "), "{error}");
    }
}

#[tokio::test]
async fn cancelled_call_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("blob");
    let handle = File::create_new(&file).unwrap();
    let path = BlobPath { location: Location::fresh(), directory: directory.path().to_owned(), file: file.clone() };
    let mut writer = Box::new(FsWriter::created(path, handle, share()));
    let bytes: Vec<u8> = (0..4 * BUFFER_BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let bytes = Bytes::from(bytes);
    while writer.offset_bytes() < bytes.len() as u64 {
        let taken = usize::try_from(writer.offset_bytes()).unwrap();
        // Polled once and dropped, wherever it happens to wait.
        tokio::select! {
            biased;
            result = writer.write(bytes.slice(taken..)) => result.unwrap(),
            () = std::future::ready(()) => {}
        }
    }
    tokio::select! {
        biased;
        result = writer.checkpoint() => drop(result.unwrap()),
        () = std::future::ready(()) => {}
    }
    assert_eq!(writer.finish().await.unwrap(), bytes.len() as u64);
    assert!(std::fs::read(&file).unwrap() == bytes, "the file differs");
}

#[tokio::test]
async fn idle_writer_holds_no_thread() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("blob");
    let handle = File::create_new(&file).unwrap();
    let path = BlobPath { location: Location::fresh(), directory: directory.path().to_owned(), file };
    let mut writer = FsWriter::created(path, handle, share());
    writer.write(Bytes::from(vec![1; FLUSH_BYTES])).await.unwrap();
    assert!(matches!(writer.disk, Disk::Working(_)), "a write begins as soon as there is enough");
    writer.settle().await.unwrap();
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    assert!(matches!(writer.disk, Disk::Idle(_)), "a few bytes wait for more");
}

#[test]
fn buffers_keep_to_their_bound() {
    let mut buffer = Vec::new();
    while buffer.len() < BUFFER_BYTES {
        let more = 700_001.min(BUFFER_BYTES - buffer.len());
        make_room(&mut buffer, more);
        buffer.extend(std::iter::repeat_n(0, more));
        assert!(buffer.capacity() <= BUFFER_BYTES, "{} bytes", buffer.capacity());
    }
}

#[test]
fn what_the_page_cache_drops_follows_the_memory_of_the_machine() {
    const GIB: u64 = 1 << 30;
    let folder = tempfile::tempdir().unwrap();
    let says = |kib: u64| std::fs::write(folder.path().join("meminfo"), format!("MemAvailable: {kib} kB\n")).unwrap();
    let location = Location::fresh();
    let path = BlobPath { location, directory: folder.path().to_owned(), file: folder.path().join("blob") };
    let share = Memory::seen_in(folder.path(), folder.path()).share();
    let file = Arc::new(File::create(&path.file).unwrap());
    let mut file = OpenFile { path, file, share, spare: Vec::new() };
    let mut dropped = |size_bytes| file.range_to_drop(size_bytes, 0).map(|(offset, length)| (offset, length.get()));
    says(20 << 20);
    assert_eq!(dropped(4 * GIB), None, "there is memory for all of it");
    says(5 << 20);
    assert_eq!(dropped(4 * GIB), Some((2 * GIB, 2 * GIB)), "its second half");
    says(1 << 10);
    assert_eq!(dropped(4 * GIB), Some((GIB, 3 * GIB)));
    assert_eq!(dropped(GIB), None);
}
