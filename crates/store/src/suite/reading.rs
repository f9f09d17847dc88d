//! Reading, listing, and the small calls.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::join_all;

use super::{Bench, MAX_PIECE_BYTES, assert_same, create, get, pattern, put, try_get};
use crate::{BlobStore, Location};

/// Ranges around the edges of pieces.
pub async fn ranges_give_their_bytes(bench: &dyn Bench) {
    const SIZE: u64 = 1_000_003;
    const PIECE: u64 = 256 * 1024;
    let store = bench.open();
    let bytes = pattern(1, 1_000_003);
    let location = put(&store, &bytes).await;
    let edges = [0, 1, 4095, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 5, SIZE - 1, SIZE];
    for start in edges {
        for end in edges.into_iter().filter(|end| *end >= start) {
            let part = try_get(&store, &location, Some(start..end)).await.expect("a range within the blob");
            let expected = usize::try_from(start).expect("small")..usize::try_from(end).expect("small");
            assert_same(&part, &bytes[expected]);
        }
    }
}

/// No piece is empty or large.
pub async fn reads_keep_to_their_bound(bench: &dyn Bench) {
    let store = bench.open();
    let location = put(&store, &pattern(1, 4_000_000)).await;
    let mut pieces = store.read(&location, None).await.expect("it can be read");
    let mut size_bytes = 0;
    while let Some(piece) = pieces.try_next().await.expect("a piece") {
        assert!((1..=MAX_PIECE_BYTES).contains(&piece.len()), "a piece of {} bytes", piece.len());
        size_bytes += piece.len();
    }
    assert_eq!(size_bytes, 4_000_000);
    // A reader that is dropped midway does not block others.
    let mut pieces = store.read(&location, None).await.expect("it can be read");
    pieces.try_next().await.expect("a piece");
    drop(pieces);
    store.delete(&location).await.expect("it can be deleted");
}

/// Many readers of one blob.
pub async fn reads_go_on_side_by_side(bench: &dyn Bench) {
    let store = bench.open();
    let bytes = pattern(1, 2_000_000);
    let location = put(&store, &bytes).await;
    for read in join_all((0..16).map(|_| get(&store, &location))).await {
        assert_same(&read, &bytes);
    }
}

/// Listing in pages of any size returns every finished blob once, in order, while others are created and deleted.
pub async fn list_gives_every_blob_once(bench: &dyn Bench) {
    let store = bench.open();
    assert_eq!(store.list(None, 10).await.expect("a list"), []);
    let mut written = BTreeSet::new();
    for _ in 0..300 {
        written.insert(put(&store, &pattern(1, 3)).await);
    }
    let locations: Vec<_> = written.iter().cloned().collect();
    for limit in [1, 7, 300, 100_000] {
        assert_eq!(walk(&store, None, limit).await, locations, "pages of {limit}");
    }
    assert_eq!(store.list(None, 0).await.expect("an empty page"), []);
    // A walk continues after a location that has been deleted, and past a blob that is being written.
    let (unfinished, _writer) = create(&store).await;
    store.delete(&locations[10]).await.expect("it can be deleted");
    let mut rest = walk(&store, Some(locations[10].clone()), 50).await;
    rest.retain(|location| *location != unfinished);
    assert_eq!(rest, locations[11..]);
}

async fn walk(store: &Arc<dyn BlobStore>, mut after: Option<Location>, limit: usize) -> Vec<Location> {
    let mut walked = Vec::new();
    loop {
        let page = store.list(after.as_ref(), limit).await.expect("a page");
        assert!(page.len() <= limit, "a page of {} for {limit}", page.len());
        let Some(last) = page.last() else { return walked };
        after = Some(last.clone());
        walked.extend(page);
    }
}

/// Returns a URL or `None`, never an error.
pub async fn presign_answers(bench: &dyn Bench) {
    let store = bench.open();
    let location = put(&store, &pattern(1, 3)).await;
    let address = store.presign(&location, Duration::from_mins(1)).await.expect("an answer");
    assert!(address.is_none_or(|address| address.starts_with("http")), "an HTTP address");
}

/// Repeated probes of a working store succeed and leave no blob.
pub async fn probe_answers(bench: &dyn Bench) {
    let store = bench.open();
    for result in join_all((0..8).map(|_| store.probe())).await {
        result.expect("the store works");
    }
    assert_eq!(store.list(None, 10).await.expect("a list"), []);
}
