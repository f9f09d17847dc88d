use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use transship_oci::{Digest, DigestAlgorithm, Reference};
use transship_store::{BlobStore as _, Fault, FaultyStore, Location, Operation};

use super::Collected;
use crate::error::ServiceError;
use crate::testing::{TestRegion, delete, name, pull, push, settings};

async fn locations(region: &TestRegion) -> Vec<Location> {
    region.store.list(None, 1000).await.unwrap()
}

async fn write(region: &TestRegion, content: &'static [u8]) -> Location {
    let location = Location::fresh();
    let mut writer = region.store.create(&location).await.unwrap();
    writer.write(content.into()).await.unwrap();
    writer.finish().await.unwrap();
    location
}

#[tokio::test]
async fn deleted_images_free_their_bytes_and_shared_layers_stay() {
    let region = TestRegion::start("here").await;
    region.namespace("team").await;
    let app = name("team/app");
    let old = region.push_image(&app, "old", b"a layer of the old image").await;
    region.push_image(&app, "new", b"a layer of the new image").await;
    let shared = region.push_blob(&app, b"a layer of the new image").await;
    assert_eq!(region.registry.upkeep().collect_once().await, Collected::default(), "everything is needed");
    assert_eq!(locations(&region).await.len(), 4);

    // A manifest without a tag is kept, and so are its blobs.
    region.registry.content().delete_manifest(delete(&app), &"old".parse().unwrap()).await.unwrap();
    assert_eq!(region.registry.upkeep().collect_once().await, Collected::default());
    region.registry.content().delete_manifest(delete(&app), &Reference::Digest(old)).await.unwrap();
    let done = region.registry.upkeep().collect_once().await;
    assert_eq!((done.links, done.blobs, done.unnamed, done.swept), (2, 2, 0, 2));
    assert_eq!(done.blob_bytes, (b"a layer of the old image".len() + "{\"made for\":\"old\"}".len()) as u64);
    assert_eq!(locations(&region).await.len(), 2);
    assert_eq!(region.read_blob(&app, &shared).await, b"a layer of the new image");
    let gone = Digest::of(DigestAlgorithm::Sha256, b"a layer of the old image");
    let error = region.registry.content().find_blob(pull(&app), &gone).await.unwrap_err();
    assert!(matches!(error, ServiceError::BlobAbsent(_)), "{error:?}");
}

#[tokio::test]
async fn the_graces_keep_links_and_bytes() {
    let mut settings = settings("here");
    settings.collection.unlink_grace = Duration::from_hours(1);
    settings.collection.sweep_grace = Duration::from_hours(1);
    let region = TestRegion::start_with(settings).await;
    region.namespace("team").await;
    let app = name("team/app");
    let layer = region.push_blob(&app, b"pushed before its manifest").await;
    assert_eq!(region.registry.upkeep().collect_once().await, Collected::default());
    // A delete by a client removes the link at once; the bytes stay for those that are reading or copying them.
    region.registry.content().delete_blob(delete(&app), &layer).await.unwrap();
    let done = region.registry.upkeep().collect_once().await;
    assert_eq!((done.links, done.blobs, done.swept), (0, 1, 0));
    assert_eq!(locations(&region).await.len(), 1);
    assert_eq!(region.registry.upkeep().collect_once().await, Collected::default());
}

#[tokio::test]
async fn bytes_that_no_row_names_are_found() {
    let region = TestRegion::start("here").await;
    region.namespace("team").await;
    let app = name("team/app");
    let layer = region.push_blob(&app, b"needed").await;
    let grant = region.grant(&region.admin, &app).await;
    let session =
        region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let body = crate::testing::body(&[b"half of"]);
    region.registry.content().append_upload(push(&grant, &app), &session, None, body).await.unwrap();
    region.push_manifest(&app, "v1", &manifest(&layer, b"needed".len())).await.unwrap();
    let orphan = write(&region, b"left by a process that was killed").await;
    assert_eq!(locations(&region).await.len(), 3);
    let done = region.registry.upkeep().collect_once().await;
    assert_eq!(done, Collected { unnamed: 1, swept: 1, ..Collected::default() });
    assert!(!locations(&region).await.contains(&orphan));
    // The open upload continues.
    let digest = Digest::of(DigestAlgorithm::Sha256, b"half of it");
    let body = crate::testing::body(&[b" it"]);
    region.registry.content().finish_upload(push(&grant, &app), &session, None, body, digest).await.unwrap();
}

#[tokio::test]
async fn a_repository_leaves_nothing_behind() {
    let region = TestRegion::start("here").await;
    region.namespace("team").await;
    let (app, other) = (name("team/app"), name("team/other"));
    region.push_image(&app, "v1", b"only here").await;
    region.push_image(&other, "v1", b"there").await;
    let grant = region.grant(&region.admin, &app).await;
    let session =
        region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let body = crate::testing::body(&[b"half of"]);
    region.registry.content().append_upload(push(&grant, &app), &session, None, body).await.unwrap();
    assert_eq!(locations(&region).await.len(), 4, "both have the same config");
    region.registry.content().delete_repository(&region.admin, &app).await.unwrap();
    let done = region.registry.upkeep().collect_once().await;
    assert_eq!((done.links, done.blobs, done.unnamed, done.swept), (0, 1, 0, 2));
    assert_eq!(locations(&region).await.len(), 2);
}

/// A pull that has found its blob meets a collection with a grace of 0 before it opens the bytes.
#[tokio::test]
async fn a_reader_follows_content_that_was_pushed_again() {
    let region = TestRegion::start("here").await;
    region.namespace("team").await;
    let app = name("team/app");
    let layer = region.push_blob(&app, b"content").await;
    let found = region.registry.content().find_blob(pull(&app), &layer).await.unwrap();
    region.registry.upkeep().collect_once().await;
    let absent = region.registry.content().read_blob(&found, None).await.map(drop).unwrap_err();
    assert!(matches!(absent, ServiceError::BlobAbsent(_)), "{absent:?}");
    region.push_blob(&app, b"content").await;
    assert!(region.registry.content().read_blob(&found, None).await.is_ok());
    // Bytes that a row names and the store lacks are a fault of the region, which it logs. The blob counts as absent
    // until the bytes come again.
    for location in locations(&region).await {
        region.store.delete(&location).await.unwrap();
    }
    let lost = region.registry.content().find_blob(pull(&app), &layer).await.unwrap();
    let error = region.registry.content().read_blob(&lost, None).await.map(drop).unwrap_err();
    assert!(matches!(error, ServiceError::BlobAbsent(_)), "{error:?}");
    let error = region.registry.content().find_blob(pull(&app), &layer).await.unwrap_err();
    assert!(matches!(error, ServiceError::BlobAbsent(_)), "{error:?}");
}

#[tokio::test]
async fn a_store_that_fails_is_asked_again_in_the_next_round() {
    let mut faulty = None;
    let region = TestRegion::start_on(settings("here"), |store| {
        let wrapped = faulty.insert(FaultyStore::new(store));
        Arc::new(wrapped.clone())
    })
    .await;
    let faulty = faulty.expect("the region was given its store");
    region.namespace("team").await;
    let app = name("team/app");
    for n in 0..3_u8 {
        region.push_blob(&app, &[n]).await;
    }
    faulty.fail_from(Operation::List, 1, Fault::Io);
    faulty.fail(Operation::Delete, 1, Fault::Io);
    faulty.fail(Operation::Delete, 2, Fault::LostAnswer);
    let done = region.registry.upkeep().collect_once().await;
    assert_eq!((done.links, done.blobs, done.swept), (3, 3, 1), "one failure does not keep the others");
    faulty.heal();
    assert_eq!(region.registry.upkeep().collect_once().await, Collected { swept: 2, ..Collected::default() });
    assert!(locations(&region).await.is_empty());
}

fn manifest(layer: &Digest, size_bytes: usize) -> serde_json::Value {
    json!({
        "schemaVersion": 2,
        "mediaType": transship_oci::media::OCI_MANIFEST,
        "config": {"mediaType": transship_oci::media::OCI_CONFIG, "digest": layer, "size": size_bytes},
        "layers": [],
    })
}
