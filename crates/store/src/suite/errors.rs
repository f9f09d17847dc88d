//! Impossible requests return an error of the right kind.

use super::{Bench, create, pattern, put, try_get};
use crate::{Location, StoreErrorKind};

/// Only texts of the form that [`Location::fresh`] makes are locations; paths are refused.
pub async fn bad_locations_are_refused(bench: &dyn Bench) {
    let store = bench.open();
    let name = "0123456789abcdef0123456789abcdef";
    let upper = name.to_uppercase();
    let texts = [
        String::new(),
        "/".to_owned(),
        "..".to_owned(),
        "../../etc/passwd".to_owned(),
        name.to_owned(),
        format!("/{name}"),
        format!("../{name}"),
        format!("./{name}"),
        format!("00/../{name}"),
        format!("00//{name}"),
        format!("00/{name}/"),
        format!("00/{name}/x"),
        format!("00/{}", &name[1..]),
        format!("00/{name}0"),
        format!("0/{name}"),
        format!("AB/{name}"),
        format!("00/{upper}"),
        format!("00/{}\0", &name[1..]),
        format!("00\\{name}"),
    ];
    let (fresh, mut writer) = create(&store).await;
    let checkpoint = writer.checkpoint().await.expect("a checkpoint");
    for text in texts {
        let bad = Location::from(text.clone());
        let errors = [
            store.create(&bad).await.err(),
            store.resume(&bad, &checkpoint).await.err(),
            store.read(&bad, None).await.err(),
            store.delete(&bad).await.err(),
            store.list(Some(&bad), 1).await.err(),
        ];
        for (call, error) in errors.into_iter().enumerate() {
            assert_eq!(error.map(|error| error.kind()), Some(StoreErrorKind::Invalid), "call {call} with '{text}'");
        }
    }
    drop(writer);
    store.delete(&fresh).await.expect("a good one can be deleted");
    assert_eq!(store.list(None, 10).await.expect("a list"), []);
}

/// A missing blob returns `NotFound`, and deleting it succeeds.
pub async fn missing_blobs_are_told(bench: &dyn Bench) {
    let store = bench.open();
    let (known, mut writer) = create(&store).await;
    let checkpoint = writer.checkpoint().await.expect("a checkpoint");
    let absent = Location::fresh();
    for error in [
        store.read(&absent, None).await.err(),
        store.read(&absent, Some(0..1)).await.err(),
        store.resume(&absent, &checkpoint).await.err(),
    ] {
        let error = error.expect("it is absent");
        assert_eq!(error.kind(), StoreErrorKind::NotFound);
        assert!(error.to_string().contains(absent.as_str()), "'{error}' does not name {absent}");
    }
    store.delete(&absent).await.expect("an absent blob is deleted already");
    drop(writer);
    store.delete(&known).await.expect("it can be deleted");
}

/// A range outside the blob returns an error, not fewer bytes.
pub async fn odd_ranges_are_refused(bench: &dyn Bench) {
    let store = bench.open();
    let location = put(&store, &pattern(1, 1000)).await;
    // Ranges as a client could send them.
    let backwards = std::ops::Range { start: 5, end: 4 };
    for range in [0..1001, 1000..1001, 1001..1001, 1001..1002, 0..u64::MAX, u64::MAX..u64::MAX, backwards] {
        let error = store.read(&location, Some(range.clone())).await.err();
        assert_eq!(error.map(|error| error.kind()), Some(StoreErrorKind::Invalid), "{range:?}");
    }
    for range in [0..0, 1000..1000, 999..1000] {
        try_get(&store, &location, Some(range)).await.expect("a range within the blob");
    }
}
