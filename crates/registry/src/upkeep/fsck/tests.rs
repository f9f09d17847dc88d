use bytes::Bytes;
use serde_json::json;
use transship_oci::{Reference, media};
use transship_store::BlobStore as _;

use super::*;
use crate::testing::{TestRegion, delete, name, pull, push};

async fn check(region: &TestRegion, repair: bool) -> (FsckReport, Vec<Finding>) {
    let mut found = Vec::new();
    let options = FsckOptions { repair, ..FsckOptions::default() };
    let report = region.registry.upkeep().fsck(options, |finding| found.push(finding.clone())).await.unwrap();
    (report, found)
}

#[tokio::test]
async fn what_clients_may_leave_is_a_note() {
    let region = TestRegion::start("region-a").await;
    region.namespace("group").await;
    let app = name("group/app");
    let child = region.push_image(&app, "child", b"layer").await;
    let size = region
        .registry
        .content()
        .find_manifest(pull(&app), &Reference::Digest(child.clone()))
        .await
        .unwrap()
        .size_bytes;
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [
        {"mediaType": media::OCI_MANIFEST, "digest": child, "size": size}]});
    region.push_manifest(&app, "index", &index).await.unwrap();
    let (report, found) = check(&region, false).await;
    assert_eq!((report.problems, report.notes, report.blobs, report.manifests), (0, 0, 2, 2), "{found:?}");
    region.registry.content().delete_manifest(delete(&app), &Reference::Digest(child.clone())).await.unwrap();
    let (report, found) = check(&region, false).await;
    assert_eq!((report.problems, report.notes), (0, 1));
    assert_eq!(found[0].problem, Problem::MissingChild);
    assert!(found[0].detail.contains(child.as_str()), "{:?}", found[0]);
}

#[tokio::test]
async fn nobodys_bytes_go_only_when_told_to() {
    let region = TestRegion::start("region-a").await;
    region.namespace("group").await;
    let app = name("group/app");
    let grant = region.grant(&region.admin, &app).await;
    // The bytes of an open session belong to somebody.
    let algorithm = transship_oci::DigestAlgorithm::Sha256;
    let session = region.registry.content().start_upload(push(&grant, &app), algorithm).await.unwrap().session;
    let body = crate::testing::body(&[b"half"]);
    region.registry.content().append_upload(push(&grant, &app), &session, None, body).await.unwrap();
    let location = Location::fresh();
    let mut writer = region.store.create(&location).await.unwrap();
    writer.write(Bytes::from_static(b"nobody's")).await.unwrap();
    writer.finish().await.unwrap();
    for (repair, after) in [(false, 1), (true, 1), (true, 0)] {
        let (report, found) = check(&region, repair).await;
        assert_eq!((report.problems, report.repaired), (after, if repair { after } else { 0 }), "{found:?}");
        assert!(found.iter().all(|finding| finding.problem == Problem::OrphanedBytes), "{found:?}");
    }
    let body = crate::testing::body(&[b" and half"]);
    let digest = Digest::of(algorithm, b"half and half");
    region.registry.content().finish_upload(push(&grant, &app), &session, None, body, digest.clone()).await.unwrap();
    assert_eq!(region.read_blob(&app, &digest).await, b"half and half");
}
