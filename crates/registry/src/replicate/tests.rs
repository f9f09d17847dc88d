use serde_json::json;
use transship_oci::{Digest, media};

use super::*;
use crate::testing::{TestRegion, name};
use crate::{SyncImages, TagOutcome};

/// A region that replicates within itself, which needs no second process.
async fn region() -> (TestRegion, tokio_util::sync::CancellationToken) {
    let region = TestRegion::start("region-a").await;
    region.namespace("group").await;
    region.namespace("copies").await;
    let stop = tokio_util::sync::CancellationToken::new();
    drop(region.registry.start_workers(stop.clone()).await.unwrap());
    (region, stop)
}

fn call(tags: &[&str], override_existing: bool) -> SyncImages {
    SyncImages {
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        region: "region-a".to_owned(),
        namespace: "copies".parse().unwrap(),
        override_existing,
    }
}

async fn states(region: &TestRegion, call: SyncImages) -> Vec<(String, JobState)> {
    let outcomes = region.registry.sync_images(&region.admin, &name("group/app"), call).await.unwrap();
    outcomes.into_iter().map(|TagOutcome { tag, state }| (tag, state)).collect()
}

#[tokio::test]
async fn an_image_gets_to_another_organization_once() {
    let (region, _stop) = region().await;
    let (app, copy) = (name("group/app"), name("copies/app"));
    let digest = region.push_image(&app, "v1", b"layer").await;
    assert_eq!(states(&region, call(&["v1", "v1"], false)).await, [("v1".to_owned(), JobState::Success)]);
    let copied = region.registry.find_manifest(&copy, &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(copied.digest, digest);
    assert_eq!(region.read_blob(&copy, &Digest::of(transship_oci::DigestAlgorithm::Sha256, b"layer")).await, b"layer");
    assert_eq!(states(&region, call(&["v1"], false)).await, [("v1".to_owned(), JobState::Existed)]);
}

#[tokio::test]
async fn override_decides_about_a_different_image() {
    let (region, _stop) = region().await;
    let (app, copy) = (name("group/app"), name("copies/app"));
    let first = region.push_image(&app, "v1", b"first").await;
    states(&region, call(&["v1"], false)).await;
    let second = region.push_image(&app, "v1", b"second").await;
    assert_eq!(states(&region, call(&["v1"], false)).await, [("v1".to_owned(), JobState::Failed)]);
    let kept = region.registry.find_manifest(&copy, &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(kept.digest, first);
    let (jobs, total) = region.registry.list_jobs(&region.admin, &app, 1, 0, true).await.unwrap();
    assert_eq!(total, 2);
    assert!(jobs[0].last_error.as_deref().unwrap().contains("override is false"), "{:?}", jobs[0].last_error);
    assert_eq!(states(&region, call(&["v1"], true)).await, [("v1".to_owned(), JobState::Success)]);
    let moved = region.registry.find_manifest(&copy, &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(moved.digest, second);
}

#[tokio::test]
async fn without_a_wait_nothing_is_said_about_any_tag() {
    let mut settings = crate::testing::settings("region-a");
    settings.sync_wait = std::time::Duration::ZERO;
    let region = TestRegion::start_with(settings).await;
    region.namespace("group").await;
    region.namespace("copies").await;
    drop(region.registry.start_workers(tokio_util::sync::CancellationToken::new()).await.unwrap());
    region.push_image(&name("group/app"), "v1", b"layer").await;
    for _ in 0..5 {
        let said = states(&region, call(&["absent"], false)).await;
        assert_eq!(said, [("absent".to_owned(), JobState::Waiting)]);
    }
}

#[tokio::test]
async fn each_tag_is_decided_by_itself() {
    let (region, _stop) = region().await;
    region.push_image(&name("group/app"), "v1", b"layer").await;
    assert_eq!(
        states(&region, call(&["absent", "v1"], false)).await,
        [("absent".to_owned(), JobState::Failed), ("v1".to_owned(), JobState::Success)]
    );
}

#[tokio::test]
async fn the_plan_holds_the_closure_and_what_refers_to_it() {
    let (region, _stop) = region().await;
    let app = name("group/app");
    let amd = region.push_image(&app, "amd", b"amd layer").await;
    let arm = region.push_image(&app, "arm", b"arm layer").await;
    let arm_digest = arm.clone();
    let sizes: Vec<usize> = {
        let mut sizes = Vec::new();
        for digest in [&amd, &arm] {
            sizes.push(region.registry.find_manifest(&app, &target::by_digest(digest)).await.unwrap().raw.len());
        }
        sizes
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_INDEX,
        "manifests": [
            {"mediaType": media::OCI_MANIFEST, "digest": amd, "size": sizes[0]},
            {"mediaType": media::OCI_MANIFEST, "digest": arm, "size": sizes[1]},
        ],
    });
    let index = region.push_manifest(&app, "multi", &index).await.unwrap().digest;
    let empty = region.push_blob(&app, b"{}").await;
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": {"mediaType": media::OCI_EMPTY, "digest": empty, "size": 2},
        "layers": [],
        "subject": {"mediaType": media::OCI_MANIFEST, "digest": arm, "size": sizes[1]},
    });
    let raw = serde_json::to_vec(&signature).unwrap();
    let signature_digest = Digest::of(transship_oci::DigestAlgorithm::Sha256, &raw);
    region.push_manifest(&app, signature_digest.as_str(), &signature).await.unwrap();
    let signature_tag = format!("sha256-{}.sig", index.hex());
    let attached = region.push_image(&app, &signature_tag, b"signature layer").await;

    let id = region.registry.repository(&app).await.unwrap().id;
    let plan = region.registry.plan_copy(id, index.clone()).await.unwrap();
    assert_eq!(plan.root, index);
    assert_eq!(plan.manifests.len(), 2);
    assert_eq!(plan.manifests[1], [index]);
    let mut leaves = plan.manifests[0].clone();
    leaves.sort();
    let mut expected = vec![amd, arm, signature_digest, attached.clone()];
    expected.sort();
    assert_eq!(leaves, expected);
    assert_eq!(plan.attached_tags, [(signature_tag.parse().unwrap(), attached)]);
    assert!(plan.blobs.windows(2).all(|pair| pair[0].1 >= pair[1].1), "the largest first");

    assert_eq!(states(&region, call(&["multi"], false)).await, [("multi".to_owned(), JobState::Success)]);
    let referrers =
        region.registry.referrers(None, &name("copies/app"), &arm_digest, None, None).await.unwrap().entries;
    assert_eq!(referrers.len(), 1, "the signature still refers to its image");
    let signed = region.registry.find_manifest(&name("copies/app"), &signature_tag.parse().unwrap()).await;
    assert!(signed.is_ok(), "the signature tag went along");
}
