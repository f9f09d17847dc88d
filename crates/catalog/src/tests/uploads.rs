use super::{blob, digest, finish, fixture, location, new_upload, pause, take, unread_tombstones};
use crate::{Abandon, Blob, Catalog, CatalogError, Checkpoint, Closing, KnownBytes, Remains, Resume, Upload};

const LEASE_MS: i64 = 10_000;

async fn checkpoint(catalog: &Catalog, id: &str, token: &str, durable_bytes: u64) -> Result<bool, CatalogError> {
    let resume = Some(Resume { hash_state: "hash", store_state: "store" });
    let checkpoint = Checkpoint { durable_bytes, resume, beyond_quota: false };
    catalog.save_checkpoint(id, token, checkpoint, LEASE_MS).await
}

async fn renew(catalog: &Catalog, id: &str, token: &str) -> Result<bool, CatalogError> {
    let checkpoint = Checkpoint { durable_bytes: 3, resume: None, beyond_quota: false };
    catalog.save_checkpoint(id, token, checkpoint, LEASE_MS).await
}

pub(super) async fn sessions_go_on_elsewhere(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    let again = catalog.create_upload(&new).await;
    assert!(matches!(again, Err(CatalogError::Conflict { .. })), "{again:?}");
    let nowhere = catalog.create_upload(&new_upload(99, 60_000)).await;
    assert!(matches!(nowhere, Err(CatalogError::NotFound { .. })), "{nowhere:?}");

    let fresh = Upload {
        id: new.id.clone(),
        repository_id: fixture.repository.id,
        user_id: new.user_id.clone(),
        location: new.location.clone(),
        algorithm: new.algorithm,
        offset_bytes: 0,
        hash_state: None,
        store_state: None,
        reserved_bytes: 0,
    };
    assert_eq!(catalog.find_upload(&new.id).await.unwrap().as_ref(), Some(&fresh));
    assert_eq!(catalog.find_upload("none").await.unwrap(), None);
    assert_eq!(take(&catalog, &new.id, "one", LEASE_MS).await.unwrap().as_ref(), Some(&fresh));
    assert!(checkpoint(&catalog, &new.id, "one", 7).await.unwrap());
    assert!(!checkpoint(&catalog, &new.id, "one", 6).await.unwrap(), "never backwards");
    assert!(catalog.release_writer(&new.id, "one").await.unwrap());
    let resumed = take(&catalog, &new.id, "two", LEASE_MS).await.unwrap().unwrap();
    assert_eq!(resumed.offset_bytes, 7);
    assert_eq!((resumed.hash_state.as_deref(), resumed.store_state.as_deref()), (Some("hash"), Some("store")));
}

pub(super) async fn one_writer_at_a_time(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    assert!(take(&catalog, &new.id, "one", LEASE_MS).await.unwrap().is_some());
    assert!(take(&catalog, &new.id, "two", LEASE_MS).await.unwrap().is_none());
    assert!(take(&catalog, &new.id, "one", LEASE_MS).await.unwrap().is_some(), "renewed");
    assert!(!checkpoint(&catalog, &new.id, "two", 9).await.unwrap());
    assert!(!catalog.release_writer(&new.id, "two").await.unwrap());
    catalog.write(|| catalog.query("UPDATE upload SET writer_until = {now}")).await.unwrap();
    assert!(take(&catalog, &new.id, "two", LEASE_MS).await.unwrap().is_some());
    // The first one wakes up too late.
    assert!(!checkpoint(&catalog, &new.id, "one", 9).await.unwrap());
    assert!(!catalog.release_writer(&new.id, "one").await.unwrap());
    let late = finish(&catalog, &new.id, "one", &digest("x"), 1).await;
    assert!(matches!(late, Err(CatalogError::NotFound { .. })), "{late:?}");
    assert_eq!(catalog.find_upload(&new.id).await.unwrap().unwrap().offset_bytes, 0);
    assert!(take(&catalog, "none", "one", LEASE_MS).await.unwrap().is_none());
}

pub(super) async fn finishing_links_and_closes(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    take(&catalog, &new.id, "one", LEASE_MS).await.unwrap().unwrap();
    let finished = finish(&catalog, &new.id, "one", &digest("x"), 1).await.unwrap();
    assert_eq!(finished.unused_location, None);
    assert_eq!(catalog.find_upload(&new.id).await.unwrap(), None);
    let found = catalog.find_blob(fixture.repository.id, &digest("x")).await.unwrap().unwrap();
    assert_eq!((found.location, found.size_bytes), (new.location, 1));
    assert_eq!(unread_tombstones(&catalog).await, Vec::<String>::new());
}

pub(super) async fn known_content_keeps_its_location(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let known = blob(&catalog, fixture.repository.id, "x").await;
    let before = catalog.find_blob(fixture.repository.id, &known.0).await.unwrap().unwrap();
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    take(&catalog, &new.id, "one", LEASE_MS).await.unwrap().unwrap();
    let finished = finish(&catalog, &new.id, "one", &known.0, 1).await.unwrap();
    assert_eq!(finished.unused_location.as_ref(), Some(&new.location));
    assert_eq!(catalog.find_blob(fixture.repository.id, &known.0).await.unwrap().unwrap(), before);
    assert_eq!(unread_tombstones(&catalog).await, std::slice::from_ref(&new.location));
    assert!(catalog.forget_tombstone(&new.location).await.unwrap());
    assert!(!catalog.forget_tombstone(&new.location).await.unwrap());

    // The same digest with another size cannot be: something is broken, and nothing is linked.
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    take(&catalog, &new.id, "one", LEASE_MS).await.unwrap().unwrap();
    let impossible = finish(&catalog, &new.id, "one", &known.0, 2).await;
    assert!(matches!(impossible, Err(CatalogError::Corrupt { .. })), "{impossible:?}");
    let huge = finish(&catalog, &new.id, "one", &digest("huge"), u64::MAX).await;
    assert!(matches!(huge, Err(CatalogError::Invalid { .. })), "{huge:?}");
    assert!(catalog.find_upload(&new.id).await.unwrap().is_some());
}

pub(super) async fn expired_sessions_are_found(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let (old, held, young) = (
        new_upload(fixture.repository.id, -5),
        new_upload(fixture.repository.id, 1),
        new_upload(fixture.repository.id, 60_000),
    );
    for new in [&old, &held, &young] {
        catalog.create_upload(new).await.unwrap();
    }
    take(&catalog, &held.id, "one", LEASE_MS).await.unwrap().unwrap();
    pause(10).await;
    assert_eq!(catalog.expired_uploads(10).await.unwrap(), std::slice::from_ref(&old.id), "not while somebody writes");
    catalog.release_writer(&held.id, "one").await.unwrap();
    assert_eq!(catalog.expired_uploads(10).await.unwrap(), [old.id.clone(), held.id.clone()]);
    assert_eq!(catalog.expired_uploads(1).await.unwrap(), std::slice::from_ref(&old.id));
    // Between the list and the end of a session its user may come back, and then it is not over.
    take(&catalog, &held.id, "two", LEASE_MS).await.unwrap().unwrap();
    assert_eq!(catalog.abandon_upload(&held.id, Abandon::Expired).await.unwrap(), None);
    assert!(catalog.find_upload(&held.id).await.unwrap().is_some());
    assert!(catalog.abandon_upload(&old.id, Abandon::Expired).await.unwrap().is_some());
    assert_eq!(catalog.abandon_upload(&young.id, Abandon::Expired).await.unwrap(), None);
}

/// A writer that was silent for too long may still be at work; nothing that it does may meet the bytes of the next one.
pub(super) async fn whoever_takes_over_without_a_checkpoint_moves_away(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    let first = take(&catalog, &new.id, "one", 0).await.unwrap().unwrap();
    assert_eq!(first.location, new.location, "nobody was here before");
    let second = take(&catalog, &new.id, "two", LEASE_MS).await.unwrap().unwrap();
    assert_ne!(second.location, first.location);
    assert_eq!(unread_tombstones(&catalog).await, std::slice::from_ref(&first.location));
    assert!(!catalog.move_upload(&new.id, "one", &location()).await.unwrap());
    assert_eq!(catalog.abandon_upload(&new.id, Abandon::Writer("one")).await.unwrap(), None);
    // One that has let go without a checkpoint may have left bytes as well.
    assert!(catalog.release_writer(&new.id, "two").await.unwrap());
    let third = take(&catalog, &new.id, "three", LEASE_MS).await.unwrap().unwrap();
    assert_ne!(third.location, second.location);
    let again = take(&catalog, &new.id, "three", 0).await.unwrap().unwrap();
    assert_eq!(again, third, "the same writer stays where it is");
    // It finds bytes that it cannot explain, so it moves by itself.
    let fresh = location();
    assert!(catalog.move_upload(&new.id, "three", &fresh).await.unwrap());
    assert_eq!(unread_tombstones(&catalog).await.len(), 3);
    // Behind a checkpoint the bytes are known, and the next one goes on with them.
    assert!(checkpoint(&catalog, &new.id, "three", 5).await.unwrap());
    assert!(!catalog.move_upload(&new.id, "three", &location()).await.unwrap());
    catalog.release_writer(&new.id, "three").await.unwrap();
    let fourth = take(&catalog, &new.id, "four", LEASE_MS).await.unwrap().unwrap();
    assert_eq!((fourth.location, fourth.offset_bytes), (fresh, 5));
    assert_eq!(unread_tombstones(&catalog).await.len(), 3);
    // A restart ends the leases of the dead process, and forgets nothing.
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    take(&catalog, &new.id, "dead", LEASE_MS).await.unwrap().unwrap();
    catalog.write(|| catalog.query("UPDATE upload SET writer_until = {now}")).await.unwrap();
    catalog.release_orphans().await.unwrap();
    assert_ne!(take(&catalog, &new.id, "next", LEASE_MS).await.unwrap().unwrap().location, new.location);
}

pub(super) async fn bytes_that_are_missing_are_replaced_by_those_that_came(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let (known, size_bytes) = blob(&catalog, fixture.repository.id, "x").await;
    let before = catalog.find_blob(fixture.repository.id, &known).await.unwrap().unwrap();
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    take(&catalog, &new.id, "one", LEASE_MS).await.unwrap().unwrap();
    let close = async |seen| catalog.finish_upload(&new.id, "one", &known, size_bytes, seen).await.unwrap();
    let elsewhere = location();
    for seen in [KnownBytes::Unseen, KnownBytes::There(&elsewhere), KnownBytes::Missing(&elsewhere)] {
        assert_eq!(close(seen).await, Closing::Known(before.clone()), "what was seen elsewhere says nothing");
        assert!(catalog.find_upload(&new.id).await.unwrap().is_some());
    }
    let Closing::Done(finished) = close(KnownBytes::Missing(&before.location)).await else { panic!("not closed") };
    assert_eq!(finished.unused_location, None);
    let after = catalog.find_blob(fixture.repository.id, &known).await.unwrap().unwrap();
    assert_eq!(after, Blob { location: new.location, ..before.clone() });
    // Whoever found the old ones may be reading them.
    assert_eq!(unread_tombstones(&catalog).await, [""; 0]);
    let readable = catalog.due_tombstones(Remains::Readable { grace_ms: 0 }, None, 10).await.unwrap();
    assert_eq!(readable.len(), 1);
    assert_eq!(readable[0].location, before.location);
}

pub(super) async fn abandoned_bytes_are_condemned(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    take(&catalog, &new.id, "one", LEASE_MS).await.unwrap().unwrap();
    assert_eq!(catalog.abandon_upload(&new.id, Abandon::Writer("two")).await.unwrap(), None);
    assert_eq!(catalog.abandon_upload(&new.id, Abandon::Expired).await.unwrap(), None);
    assert_eq!(catalog.abandon_upload(&new.id, Abandon::User).await.unwrap().as_ref(), Some(&new.location));
    assert_eq!(catalog.abandon_upload(&new.id, Abandon::User).await.unwrap(), None);
    assert_eq!(unread_tombstones(&catalog).await, [new.location]);
    assert!(!checkpoint(&catalog, &new.id, "one", 7).await.unwrap());
    let late = finish(&catalog, &new.id, "one", &digest("x"), 1).await;
    assert!(matches!(late, Err(CatalogError::NotFound { .. })), "{late:?}");
}

pub(super) async fn finished_sessions_are_remembered_for_a_while(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    let (id, repository) = (&new.id, fixture.repository.id);
    catalog.create_upload(&new).await.unwrap();
    take(&catalog, id, "one", LEASE_MS).await.unwrap().unwrap();
    assert!(renew(&catalog, id, "one").await.unwrap());
    assert!(!renew(&catalog, id, "two").await.unwrap());
    let known = async |user: &str, text: &str, repository: i64| {
        catalog.has_finished_upload(id, repository, user, &digest(text)).await.unwrap()
    };
    let user = new.user_id.as_str();
    assert!(!known(user, "x", repository).await, "not before it has ended");
    finish(&catalog, id, "one", &digest("x"), 1).await.unwrap();
    assert!(known(user, "x", repository).await);
    assert!(!known("somebody else", "x", repository).await);
    assert!(!known(user, "y", repository).await);
    assert!(!known(user, "x", repository + 1).await);
    // Once the blob is out of service or deleted, the closed session no longer counts as finished.
    let blob = catalog.find_blob(repository, &digest("x")).await.unwrap().unwrap();
    assert!(catalog.quarantine_blob(&blob, "missing").await.unwrap());
    assert!(!known(user, "x", repository).await);
    assert!(catalog.release_blob(&blob).await.unwrap());
    assert!(known(user, "x", repository).await);
    catalog.unlink_blob(repository, &digest("x")).await.unwrap();
    assert!(!known(user, "x", repository).await);

    assert_eq!(catalog.forget_finished_uploads(60_000).await.unwrap(), 0);
    pause(10).await;
    assert_eq!(catalog.forget_finished_uploads(5).await.unwrap(), 1);
}
