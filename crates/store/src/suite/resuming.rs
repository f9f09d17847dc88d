//! The guarantees of a checkpoint.

use super::{Bench, assert_same, create, get, pattern, put, write_all};
use crate::{Checkpoint, StoreErrorKind};

/// A checkpoint is all that another process needs.
pub async fn resume_goes_on_in_another_process(bench: &dyn Bench) {
    let bytes = pattern(1, 3_000_000);
    let (location, mut writer) = create(&bench.open()).await;
    write_all(&mut writer, &bytes.slice(..1_234_567)).await;
    let checkpoint = writer.checkpoint().await.expect("a checkpoint");
    assert_eq!(checkpoint.offset_bytes, 1_234_567);
    drop(writer);

    let store = bench.open();
    let mut writer = store.resume(&location, &checkpoint).await.expect("it goes on");
    assert_eq!(writer.offset_bytes(), 1_234_567);
    write_all(&mut writer, &bytes.slice(1_234_567..)).await;
    assert_eq!(writer.finish().await.expect("it can be finished"), 3_000_000);
    assert_same(&get(&bench.open(), &location).await, &bytes);
}

/// A new process every few hundred kilobytes, with empty checkpoints in between.
pub async fn resume_in_many_steps(bench: &dyn Bench) {
    let bytes = pattern(1, 2_000_000);
    let (location, mut writer) = create(&bench.open()).await;
    let mut checkpoint = writer.checkpoint().await.expect("a checkpoint of nothing");
    drop(writer);
    for step in 0..8 {
        let mut writer = bench.open().resume(&location, &checkpoint).await.expect("it goes on");
        write_all(&mut writer, &bytes.slice(step * 250_000..(step + 1) * 250_000)).await;
        let first = writer.checkpoint().await.expect("a checkpoint");
        checkpoint = writer.checkpoint().await.expect("the same checkpoint again");
        assert_eq!(first.offset_bytes, checkpoint.offset_bytes);
    }
    let writer = bench.open().resume(&location, &checkpoint).await.expect("it goes on");
    assert_eq!(writer.finish().await.expect("it can be finished"), 2_000_000);
    assert_same(&get(&bench.open(), &location).await, &bytes);
}

/// Offsets around the edges of buffers, including 0.
pub async fn resume_at_every_kind_of_offset(bench: &dyn Bench) {
    let bytes = pattern(1, 1_100_000);
    for offset in [0, 1, 4095, 4096, 262_143, 262_144, 262_145, 1_048_576, 1_100_000] {
        let (location, mut writer) = create(&bench.open()).await;
        write_all(&mut writer, &bytes.slice(..offset)).await;
        let checkpoint = writer.checkpoint().await.expect("a checkpoint");
        drop(writer);
        let mut writer = bench.open().resume(&location, &checkpoint).await.expect("it goes on");
        write_all(&mut writer, &bytes.slice(offset..)).await;
        assert_eq!(writer.finish().await.expect("it can be finished"), 1_100_000);
        assert_same(&get(&bench.open(), &location).await, &bytes);
    }
}

/// Bytes after the checkpoint are not guaranteed; other and fewer bytes replace them.
pub async fn bytes_behind_a_checkpoint_are_thrown_away(bench: &dyn Bench) {
    let store = bench.open();
    let begin = pattern(1, 400_000);
    let (location, mut writer) = create(&store).await;
    write_all(&mut writer, &begin).await;
    let checkpoint = writer.checkpoint().await.expect("a checkpoint");
    write_all(&mut writer, &pattern(2, 3_000_000)).await;
    let newer = writer.checkpoint().await.expect("a newer checkpoint");
    assert_eq!(newer.offset_bytes, 3_400_000);
    write_all(&mut writer, &pattern(3, 100_000)).await;
    drop(writer);

    // Nobody recorded the newer checkpoint, so the older one applies.
    let mut writer = bench.open().resume(&location, &checkpoint).await.expect("it goes on");
    let end = pattern(4, 1000);
    write_all(&mut writer, &end).await;
    assert_eq!(writer.finish().await.expect("it can be finished"), 401_000);
    assert_same(&get(&store, &location).await, &[&begin[..], &end[..]].concat());
}

/// A crash loses only the bytes after the checkpoint.
pub async fn checkpoints_survive_a_crash(bench: &dyn Bench) {
    let begin = pattern(1, 900_000);
    let (location, mut writer) = create(&bench.open()).await;
    write_all(&mut writer, &begin).await;
    let checkpoint = writer.checkpoint().await.expect("a checkpoint");
    write_all(&mut writer, &pattern(2, 900_000)).await;
    bench.crash();
    drop(writer);
    let writer = bench.open().resume(&location, &checkpoint).await.expect("it goes on");
    assert_eq!(writer.offset_bytes(), 900_000);
    assert_eq!(writer.finish().await.expect("it can be finished"), 900_000);
    bench.crash();
    assert_same(&get(&bench.open(), &location).await, &begin);
}

/// Finished blobs survive a crash.
pub async fn finished_blobs_survive_a_crash(bench: &dyn Bench) {
    let bytes = pattern(1, 1_000_000);
    let location = put(&bench.open(), &bytes).await;
    let empty = put(&bench.open(), &pattern(2, 0)).await;
    bench.crash();
    assert_same(&get(&bench.open(), &location).await, &bytes);
    assert_same(&get(&bench.open(), &empty).await, &[]);
}

/// A dropped writer leaves its last checkpoint, and the next writer can start at once.
pub async fn dropped_writer_leaves_its_checkpoint(bench: &dyn Bench) {
    let store = bench.open();
    let bytes = pattern(1, 600_000);
    let (location, mut writer) = create(&store).await;
    write_all(&mut writer, &bytes).await;
    let checkpoint = writer.checkpoint().await.expect("a checkpoint");
    // Many writes are pending when the writer is dropped, and the next one starts at once.
    for seed in 0..5 {
        write_all(&mut writer, &pattern(seed, 1_200_000)).await;
        drop(writer);
        writer = store.resume(&location, &checkpoint).await.expect("it goes on at once");
        assert_eq!(writer.offset_bytes(), 600_000);
    }
    assert_eq!(writer.finish().await.expect("it can be finished"), 600_000);
    assert_same(&get(&store, &location).await, &bytes);
}

/// A writer that was believed dead writes again. Either the next writer had to wait for it, or it can do no harm.
pub async fn older_writer_changes_nothing(bench: &dyn Bench) {
    let (location, mut older) = create(&bench.open()).await;
    let begin = pattern(1, 500_000);
    write_all(&mut older, &begin).await;
    let checkpoint = older.checkpoint().await.expect("a checkpoint");

    let store = bench.open();
    let mut newer = match store.resume(&location, &checkpoint).await {
        Ok(newer) => {
            let _ = older.write(pattern(2, 2_000_000)).await;
            let _ = older.checkpoint().await;
            newer
        }
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Busy);
            drop(older);
            store.resume(&location, &checkpoint).await.expect("it goes on once the older one is gone")
        }
    };
    let end = pattern(3, 700_000);
    write_all(&mut newer, &end).await;
    assert_eq!(newer.finish().await.expect("it can be finished"), 1_200_000);
    assert_same(&get(&store, &location).await, &[&begin[..], &end[..]].concat());
}

/// A checkpoint of another backend, or of more bytes than are stored, is refused.
pub async fn foreign_checkpoints_are_refused(bench: &dyn Bench) {
    let store = bench.open();
    let (location, mut writer) = create(&store).await;
    write_all(&mut writer, &pattern(1, 1000)).await;
    let checkpoint = writer.checkpoint().await.expect("a checkpoint");
    drop(writer);
    let foreign = Checkpoint { state: "another backend".to_owned(), ..checkpoint.clone() };
    let error = store.resume(&location, &foreign).await.expect_err("a foreign state");
    assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error}");
    let ahead = Checkpoint { offset_bytes: 1001, ..checkpoint.clone() };
    let error = store.resume(&location, &ahead).await.expect_err("more bytes than there are");
    assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error}");
    // Neither attempt has changed anything.
    let writer = store.resume(&location, &checkpoint).await.expect("it goes on");
    assert_eq!(writer.finish().await.expect("it can be finished"), 1000);
}
