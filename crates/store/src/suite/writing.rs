//! Blobs read back as they were written, and locations are written once.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::{Bench, assert_same, create, get, pattern, put, try_get, write_all};
use crate::StoreErrorKind;

/// Sizes around the edge of every buffer.
pub async fn blobs_of_many_sizes_come_back(bench: &dyn Bench) {
    let store = bench.open();
    let edges = [1, 256 * 1024, 1024 * 1024, 5 * 1024 * 1024];
    for size_bytes in edges.into_iter().flat_map(|edge| [edge - 1, edge, edge + 1]) {
        let bytes = pattern(size_bytes as u64, size_bytes);
        let location = put(&store, &bytes).await;
        assert_same(&get(&store, &location).await, &bytes);
    }
    // One frame much larger than any buffer, and many of one byte.
    let bytes = pattern(7, 6_000_001);
    let (location, mut writer) = create(&store).await;
    writer.write(bytes.clone()).await.expect("a large frame can be written");
    for at in 0..1000 {
        writer.write(bytes.slice(at..=at)).await.expect("a small frame can be written");
    }
    writer.write(Bytes::new()).await.expect("an empty frame can be written");
    assert_eq!(writer.finish().await.expect("it can be finished"), 6_001_001);
    let expected = [&bytes[..], &bytes[..1000]].concat();
    assert_same(&get(&store, &location).await, &expected);
}

/// A blob may have no bytes.
pub async fn empty_blobs_exist(bench: &dyn Bench) {
    let store = bench.open();
    let location = put(&store, &Bytes::new()).await;
    assert_same(&get(&bench.open(), &location).await, &[]);
    assert_same(&try_get(&store, &location, Some(0..0)).await.expect("an empty range of it"), &[]);
    assert_eq!(store.list(None, 10).await.expect("a list"), [location]);
}

/// A second blob under the same location is refused, at the latest by `finish`; the first one stays.
pub async fn locations_are_written_once(bench: &dyn Bench) {
    let store = bench.open();
    let bytes = pattern(1, 300_000);
    let location = put(&store, &bytes).await;
    let refused = async {
        let mut second = store.create(&location).await?;
        second.write(pattern(2, 300_000)).await?;
        second.finish().await
    };
    assert_eq!(refused.await.expect_err("it exists").kind(), StoreErrorKind::Exists);
    assert_same(&get(&store, &location).await, &bytes);
}

/// Deleting a missing blob is not an error; unfinished blobs can be deleted too.
pub async fn delete_is_idempotent(bench: &dyn Bench) {
    let store = bench.open();
    let location = put(&store, &pattern(1, 10)).await;
    for _ in 0..3 {
        store.delete(&location).await.expect("it can be deleted");
        let error = store.read(&location, None).await.err().expect("it is gone");
        assert_eq!(error.kind(), StoreErrorKind::NotFound);
    }
    let (unfinished, mut writer) = create(&store).await;
    write_all(&mut writer, &pattern(2, 1_000_000)).await;
    let checkpoint = writer.checkpoint().await.expect("a checkpoint");
    drop(writer);
    store.delete(&unfinished).await.expect("it can be deleted");
    let error = bench.open().resume(&unfinished, &checkpoint).await.expect_err("it is gone");
    assert_eq!(error.kind(), StoreErrorKind::NotFound);
    assert_eq!(store.list(None, 10).await.expect("a list"), []);
}

/// If a writer dies before its first checkpoint, its bytes are deleted and the session starts again at its location.
pub async fn deleted_location_is_empty(bench: &dyn Bench) {
    let store = bench.open();
    let (location, mut writer) = create(&store).await;
    write_all(&mut writer, &pattern(1, 700_000)).await;
    store.delete(&location).await.expect("it can be deleted");
    let bytes = pattern(2, 500_000);
    let mut second = store.create(&location).await.expect("it can be created again");
    write_all(&mut second, &bytes).await;
    // The first writer still works, and may or may not fail; it never changes the bytes of the second one.
    let _ = writer.write(pattern(3, 2_000_000)).await;
    let _ = writer.checkpoint().await;
    drop(writer);
    assert_eq!(second.finish().await.expect("it can be finished"), 500_000);
    assert_same(&get(&store, &location).await, &bytes);
}

/// Many writers at once, each with its own bytes.
pub async fn writers_do_not_meet(bench: &dyn Bench) {
    let store = bench.open();
    let written = join_all((0..12_u64).map(|seed| {
        let store = Arc::clone(&store);
        async move {
            let bytes = pattern(seed, 1_500_000 + usize::try_from(seed).expect("small"));
            let (location, mut writer) = create(&store).await;
            let half = bytes.len() / 2;
            write_all(&mut writer, &bytes.slice(..half)).await;
            let checkpoint = writer.checkpoint().await.expect("a checkpoint");
            assert_eq!(checkpoint.offset_bytes, half as u64);
            write_all(&mut writer, &bytes.slice(half..)).await;
            assert_eq!(writer.finish().await.expect("it can be finished"), bytes.len() as u64);
            (location, bytes)
        }
    }))
    .await;
    for (location, bytes) in written {
        assert_same(&get(&store, &location).await, &bytes);
    }
}
