use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::{Fault, FaultyStore, Operation};
use crate::suite::Bench;
use crate::{BlobStore, Location, MemoryStore, StoreErrorKind};

struct Faultless(MemoryStore);

impl Bench for Faultless {
    fn open(&self) -> Arc<dyn BlobStore> {
        Arc::new(FaultyStore::new(Arc::new(self.0.clone())))
    }

    fn crash(&self) {
        self.0.cut_power();
    }
}

crate::store_suite!(Faultless(MemoryStore::new()));

fn faulty() -> FaultyStore {
    FaultyStore::new(Arc::new(MemoryStore::new()))
}

#[tokio::test]
async fn each_call_fails_as_planned() {
    let store = faulty();
    let location = Location::fresh();
    store.fail(Operation::Create, 2, Fault::Io);
    let mut writer = store.create(&location).await.unwrap();
    assert_eq!(store.create(&Location::fresh()).await.unwrap_err().kind(), StoreErrorKind::Io);
    store.create(&Location::fresh()).await.unwrap();
    assert_eq!(store.calls(Operation::Create), 3);

    store.fail(Operation::Write, 3, Fault::NoSpace);
    for _ in 0..2 {
        writer.write(Bytes::from_static(b"0123456789")).await.unwrap();
    }
    let checkpoint = writer.checkpoint().await.unwrap();
    assert!(writer.write(Bytes::from_static(b"0123456789")).await.unwrap_err().is_no_space());
    assert_eq!(writer.offset_bytes(), 25, "half of it came through");
    // As with every writer, all calls after the first failure fail, and they are not counted.
    assert!(writer.write(Bytes::new()).await.unwrap_err().is_no_space());
    assert!(writer.checkpoint().await.unwrap_err().is_no_space());
    assert!(writer.finish().await.unwrap_err().is_no_space());
    assert_eq!(store.calls(Operation::Write), 3);

    store.fail(Operation::Resume, 1, Fault::Io);
    assert_eq!(store.resume(&location, &checkpoint).await.unwrap_err().kind(), StoreErrorKind::Io);
    let writer = store.resume(&location, &checkpoint).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), 20);

    for operation in [Operation::Delete, Operation::List, Operation::Probe, Operation::Presign] {
        store.fail(operation, 1, Fault::Io);
    }
    assert!(store.delete(&location).await.is_err());
    assert!(store.list(None, 1).await.is_err());
    assert!(store.probe().await.is_err());
    assert!(store.presign(&location, std::time::Duration::ZERO).await.is_err());
    assert!(store.read(&location, None).await.is_ok());
}

#[tokio::test]
async fn failures_last_until_they_are_healed() {
    let store = faulty();
    store.fail_from(Operation::Probe, 2, Fault::NoSpace);
    store.probe().await.unwrap();
    for _ in 0..3 {
        assert!(store.probe().await.unwrap_err().is_no_space());
    }
    store.clone().heal();
    store.probe().await.unwrap();
}

#[tokio::test]
async fn checkpoints_and_finishes_fail_and_can_be_repeated() {
    let inner = MemoryStore::new();
    let store = FaultyStore::new(Arc::new(inner.clone()));
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    let checkpoint = writer.checkpoint().await.unwrap();
    writer.write(Bytes::from_static(b"abc")).await.unwrap();
    store.fail(Operation::Checkpoint, 1, Fault::Io);
    assert!(writer.checkpoint().await.is_err());
    assert!(writer.checkpoint().await.is_err(), "a failed sync is not tried again");
    drop(writer);
    for (fault, expected) in [(Fault::Io, ""), (Fault::NoSpace, ""), (Fault::LostAnswer, "abc")] {
        store.fail(Operation::Finish, 1, fault);
        let mut writer = store.resume(&location, &checkpoint).await.unwrap();
        writer.write(Bytes::from_static(b"abc")).await.unwrap();
        assert!(writer.finish().await.is_err());
        // Only completed work survives.
        inner.cut_power();
        let pieces: Vec<Bytes> = store.read(&location, None).await.unwrap().try_collect().await.unwrap();
        assert_eq!(pieces.concat(), expected.as_bytes(), "{fault:?}");
    }
}

#[tokio::test]
async fn reads_fail_at_the_beginning_or_in_the_middle() {
    let store = faulty();
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    writer.write(Bytes::from(vec![7; 1_000_000])).await.unwrap();
    writer.finish().await.unwrap();

    store.fail(Operation::Read, 1, Fault::Io);
    assert!(store.read(&location, None).await.is_err());
    store.fail(Operation::ReadPiece, 3, Fault::Io);
    let mut pieces = store.read(&location, None).await.unwrap();
    pieces.try_next().await.unwrap().unwrap();
    pieces.try_next().await.unwrap().unwrap();
    assert_eq!(pieces.try_next().await.unwrap_err().kind(), StoreErrorKind::Io);
    assert!(pieces.try_next().await.unwrap().is_none(), "nothing comes after an error");
}
