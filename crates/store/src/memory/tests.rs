use std::sync::Arc;

use bytes::Bytes;

use super::MemoryStore;
use crate::suite::Bench;
use crate::{BlobStore, Location, StoreErrorKind};

struct Memory(MemoryStore);

impl Bench for Memory {
    fn open(&self) -> Arc<dyn BlobStore> {
        Arc::new(self.0.clone())
    }

    fn crash(&self) {
        self.0.cut_power();
    }
}

crate::store_suite!(Memory(MemoryStore::new()));

#[tokio::test]
async fn full_store_refuses_and_goes_on_when_there_is_room() {
    let store = MemoryStore::with_capacity(1000);
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    writer.write(Bytes::from(vec![1; 600])).await.unwrap();
    let checkpoint = writer.checkpoint().await.unwrap();
    assert!(writer.write(Bytes::from(vec![2; 401])).await.unwrap_err().is_no_space());
    // The writer fails for ever, even when there is room again.
    store.set_capacity(1001);
    assert!(writer.write(Bytes::from(vec![2; 1])).await.unwrap_err().is_no_space());
    assert!(writer.finish().await.unwrap_err().is_no_space());

    let mut writer = store.resume(&location, &checkpoint).await.unwrap();
    writer.write(Bytes::from(vec![2; 401])).await.unwrap();
    assert!(store.probe().await.unwrap_err().is_no_space());
    assert_eq!(writer.finish().await.unwrap(), 1001);
    store.delete(&location).await.unwrap();
    assert_eq!(store.used_bytes(), 0);
    store.probe().await.unwrap();
}

#[tokio::test]
async fn power_cut_takes_what_was_not_durable() {
    let store = MemoryStore::new();
    let (nothing, something) = (Location::fresh(), Location::fresh());
    let mut first = store.create(&nothing).await.unwrap();
    first.write(Bytes::from_static(b"lost")).await.unwrap();
    let mut second = store.create(&something).await.unwrap();
    second.write(Bytes::from_static(b"kept")).await.unwrap();
    let checkpoint = second.checkpoint().await.unwrap();
    second.write(Bytes::from_static(b"lost")).await.unwrap();

    store.cut_power();
    assert_eq!(store.used_bytes(), 4);
    assert_eq!(store.list(None, 10).await.unwrap(), std::slice::from_ref(&something));
    assert_eq!(first.finish().await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert_eq!(second.finish().await.unwrap_err().kind(), StoreErrorKind::Io);
    let writer = store.resume(&something, &checkpoint).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), 4);
}

#[tokio::test]
async fn living_writer_keeps_others_out() {
    let store = MemoryStore::new();
    let location = Location::fresh();
    let mut writer = store.create(&location).await.unwrap();
    let checkpoint = writer.checkpoint().await.unwrap();
    assert_eq!(store.resume(&location, &checkpoint).await.unwrap_err().kind(), StoreErrorKind::Busy);
    drop(writer);
    store.resume(&location, &checkpoint).await.unwrap();
}
