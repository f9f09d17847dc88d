use super::{blob, digest, fixture, new_upload, pause, unread_tombstones};
use crate::{Catalog, CatalogError, Upload};

const LEASE_MS: i64 = 10_000;

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
    };
    assert_eq!(catalog.find_upload(&new.id).await.unwrap().as_ref(), Some(&fresh));
    assert_eq!(catalog.find_upload("none").await.unwrap(), None);
    assert_eq!(catalog.take_writer(&new.id, "one", LEASE_MS).await.unwrap().as_ref(), Some(&fresh));
    assert!(catalog.save_checkpoint(&new.id, "one", 7, "hash", "store", LEASE_MS).await.unwrap());
    assert!(!catalog.save_checkpoint(&new.id, "one", 6, "hash", "store", LEASE_MS).await.unwrap(), "never backwards");
    assert!(catalog.release_writer(&new.id, "one").await.unwrap());
    let resumed = catalog.take_writer(&new.id, "two", LEASE_MS).await.unwrap().unwrap();
    assert_eq!(resumed.offset_bytes, 7);
    assert_eq!((resumed.hash_state.as_deref(), resumed.store_state.as_deref()), (Some("hash"), Some("store")));
}

pub(super) async fn one_writer_at_a_time(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    assert!(catalog.take_writer(&new.id, "one", LEASE_MS).await.unwrap().is_some());
    assert!(catalog.take_writer(&new.id, "two", LEASE_MS).await.unwrap().is_none());
    assert!(catalog.take_writer(&new.id, "one", LEASE_MS).await.unwrap().is_some(), "renewed");
    assert!(!catalog.save_checkpoint(&new.id, "two", 9, "h", "s", LEASE_MS).await.unwrap());
    assert!(!catalog.release_writer(&new.id, "two").await.unwrap());
    catalog.write(|| catalog.query("UPDATE upload SET writer_until = {now}")).await.unwrap();
    assert!(catalog.take_writer(&new.id, "two", LEASE_MS).await.unwrap().is_some());
    // The first one wakes up too late.
    assert!(!catalog.save_checkpoint(&new.id, "one", 9, "h", "s", LEASE_MS).await.unwrap());
    assert!(!catalog.release_writer(&new.id, "one").await.unwrap());
    let late = catalog.finish_upload(&new.id, "one", &digest("x"), 1).await;
    assert!(matches!(late, Err(CatalogError::NotFound { .. })), "{late:?}");
    assert_eq!(catalog.find_upload(&new.id).await.unwrap().unwrap().offset_bytes, 0);
    assert!(catalog.take_writer("none", "one", LEASE_MS).await.unwrap().is_none());
}

pub(super) async fn finishing_links_and_closes(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    catalog.take_writer(&new.id, "one", LEASE_MS).await.unwrap().unwrap();
    let finished = catalog.finish_upload(&new.id, "one", &digest("x"), 1).await.unwrap();
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
    catalog.take_writer(&new.id, "one", LEASE_MS).await.unwrap().unwrap();
    let finished = catalog.finish_upload(&new.id, "one", &known.0, 1).await.unwrap();
    assert_eq!(finished.unused_location.as_ref(), Some(&new.location));
    assert_eq!(catalog.find_blob(fixture.repository.id, &known.0).await.unwrap().unwrap(), before);
    assert_eq!(unread_tombstones(&catalog).await, std::slice::from_ref(&new.location));
    assert!(catalog.forget_tombstone(&new.location).await.unwrap());
    assert!(!catalog.forget_tombstone(&new.location).await.unwrap());

    // The same digest with another size cannot be: something is broken, and nothing is linked.
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    catalog.take_writer(&new.id, "one", LEASE_MS).await.unwrap().unwrap();
    let impossible = catalog.finish_upload(&new.id, "one", &known.0, 2).await;
    assert!(matches!(impossible, Err(CatalogError::Corrupt { .. })), "{impossible:?}");
    let huge = catalog.finish_upload(&new.id, "one", &digest("huge"), u64::MAX).await;
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
    catalog.take_writer(&held.id, "one", LEASE_MS).await.unwrap().unwrap();
    pause(10).await;
    assert_eq!(catalog.expired_uploads(10).await.unwrap(), std::slice::from_ref(&old.id), "not while somebody writes");
    catalog.release_writer(&held.id, "one").await.unwrap();
    assert_eq!(catalog.expired_uploads(10).await.unwrap(), [old.id.clone(), held.id]);
    assert_eq!(catalog.expired_uploads(1).await.unwrap(), [old.id]);
}

pub(super) async fn abandoned_bytes_are_condemned(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    catalog.create_upload(&new).await.unwrap();
    catalog.take_writer(&new.id, "one", LEASE_MS).await.unwrap().unwrap();
    assert!(catalog.abandon_upload(&new.id).await.unwrap());
    assert!(!catalog.abandon_upload(&new.id).await.unwrap());
    assert_eq!(unread_tombstones(&catalog).await, [new.location]);
    assert!(!catalog.save_checkpoint(&new.id, "one", 7, "h", "s", LEASE_MS).await.unwrap());
    let late = catalog.finish_upload(&new.id, "one", &digest("x"), 1).await;
    assert!(matches!(late, Err(CatalogError::NotFound { .. })), "{late:?}");
}

pub(super) async fn finished_sessions_are_remembered_for_a_while(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let new = new_upload(fixture.repository.id, 60_000);
    let (id, repository) = (&new.id, fixture.repository.id);
    catalog.create_upload(&new).await.unwrap();
    catalog.take_writer(id, "one", LEASE_MS).await.unwrap().unwrap();
    assert!(catalog.renew_writer(id, "one", LEASE_MS).await.unwrap());
    assert!(!catalog.renew_writer(id, "two", LEASE_MS).await.unwrap());
    let known = async |user: &str, text: &str, repository: i64| {
        catalog.has_finished_upload(id, repository, user, &digest(text)).await.unwrap()
    };
    let user = new.user_id.as_str();
    assert!(!known(user, "x", repository).await, "not before it has ended");
    catalog.finish_upload(id, "one", &digest("x"), 1).await.unwrap();
    assert!(known(user, "x", repository).await);
    assert!(!known("somebody else", "x", repository).await);
    assert!(!known(user, "y", repository).await);
    assert!(!known(user, "x", repository + 1).await);
    // Once the blob is deleted, nothing says any more that it is there.
    catalog.unlink_blob(repository, &digest("x")).await.unwrap();
    assert!(!known(user, "x", repository).await);

    assert_eq!(catalog.forget_finished_uploads(60_000).await.unwrap(), 0);
    pause(10).await;
    assert_eq!(catalog.forget_finished_uploads(5).await.unwrap(), 1);
}
