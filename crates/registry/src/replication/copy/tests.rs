use serde_json::json;
use transship_oci::{Digest, media};

use super::*;
use crate::access::token_grant::Grant;
use crate::registry::Registry;
use crate::replication::calls::{SyncImages, TagOutcome};
use crate::testing::{TestRegion, delete, name, pull, settings};

/// A region that replicates within itself, which needs no second process, and knows region-b.
async fn region() -> (TestRegion, tokio_util::sync::CancellationToken) {
    let mut with_peer = settings("region-a");
    with_peer.peers.push(TestRegion::start("region-b").await.as_peer("http://127.0.0.1:9"));
    let region = TestRegion::start_with(with_peer).await;
    region.namespace("group").await;
    region.namespace("copies").await;
    let stop = tokio_util::sync::CancellationToken::new();
    drop(region.registry.start_workers(stop.clone()).await.unwrap());
    (region, stop)
}

/// What region-b is granted for a copy in the name of a user.
async fn copy_grant(region: &TestRegion, principal: &Principal, target: &RepositoryName) -> std::sync::Arc<Grant> {
    let namespace = region.registry.catalog().find_namespace(target.namespace()).await.unwrap().unwrap();
    let via = "region-b".parse().unwrap();
    let token = region.registry.identity().issue_peer_token(principal.clone(), via, target, namespace.id).token;
    region.registry.identity().verify_registry_token(&token).unwrap()
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
    let outcome = region.registry.replication().sync_images(&region.admin, &name("group/app"), call).await.unwrap();
    outcome.tags.into_iter().map(|TagOutcome { tag, state }| (tag, state)).collect()
}

#[tokio::test]
async fn an_image_gets_to_another_organization_once() {
    let (region, _stop) = region().await;
    let (app, copy) = (name("group/app"), name("copies/app"));
    let digest = region.push_image(&app, "v1", b"layer").await;
    assert_eq!(states(&region, call(&["v1", "v1"], false)).await, [("v1".to_owned(), JobState::Success)]);
    let copied = region.registry.content().find_manifest(pull(&copy), &"v1".parse().unwrap()).await.unwrap();
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
    let kept = region.registry.content().find_manifest(pull(&copy), &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(kept.digest, first);
    let (jobs, total, _) = region.registry.replication().list_jobs(&region.admin, &app, 1, 0, true).await.unwrap();
    assert_eq!(total, 2);
    assert!(jobs[0].last_error.as_deref().unwrap().contains("override is false"), "{:?}", jobs[0].last_error);
    assert_eq!(states(&region, call(&["v1"], true)).await, [("v1".to_owned(), JobState::Success)]);
    let moved = region.registry.content().find_manifest(pull(&copy), &"v1".parse().unwrap()).await.unwrap();
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
    let sizes: Vec<u64> = {
        let mut sizes = Vec::new();
        for digest in [&amd, &arm] {
            sizes.push(
                region
                    .registry
                    .content()
                    .find_manifest(pull(&app), &target::by_digest(digest))
                    .await
                    .unwrap()
                    .size_bytes,
            );
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

    let id = region.registry.content().repository(&app).await.unwrap().id;
    let plan = region.registry.replication().plan_copy(id, index.clone()).await.unwrap();
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
        region.registry.content().referrers(pull(&name("copies/app")), &arm_digest, None, None).await.unwrap().entries;
    assert_eq!(referrers.len(), 1, "the signature still refers to its image");
    let signed =
        region.registry.content().find_manifest(pull(&name("copies/app")), &signature_tag.parse().unwrap()).await;
    assert!(signed.is_ok(), "the signature tag went along");
}

/// An index of two images under `multi`, and its digest and those of the images.
async fn push_index(region: &TestRegion, app: &transship_oci::RepositoryName) -> (Digest, [Digest; 2]) {
    let children =
        [region.push_image(app, "amd", b"amd layer").await, region.push_image(app, "arm", b"arm layer").await];
    let mut entries = Vec::new();
    for child in &children {
        let size =
            region.registry.content().find_manifest(pull(app), &target::by_digest(child)).await.unwrap().size_bytes;
        entries.push(json!({"mediaType": media::OCI_MANIFEST, "digest": child, "size": size}));
    }
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": entries});
    (region.push_manifest(app, "multi", &index).await.unwrap().digest, children)
}

#[tokio::test]
async fn what_is_gone_in_the_target_is_there_again_after_the_same_call() {
    let (region, _stop) = region().await;
    let (app, copy) = (name("group/app"), name("copies/app"));
    let (_, [_, arm]) = push_index(&region, &app).await;
    let multi = async || states(&region, call(&["multi"], false)).await[0].1;
    assert_eq!(multi().await, JobState::Success);
    region.registry.content().delete_manifest(delete(&copy), &target::by_digest(&arm)).await.unwrap();
    assert_eq!(multi().await, JobState::Success);
    assert!(region.registry.content().find_manifest(pull(&copy), &target::by_digest(&arm)).await.is_ok());
    assert_eq!(multi().await, JobState::Existed);

    // A signature by tag, and one by subject, pushed after the image.
    let signature_tag = format!("sha256-{}.sig", arm.hex());
    region.push_image(&app, &signature_tag, b"signature layer").await;
    assert_eq!(multi().await, JobState::Success);
    assert!(region.registry.content().find_manifest(pull(&copy), &signature_tag.parse().unwrap()).await.is_ok());
    assert_eq!(multi().await, JobState::Existed);
    // A second signature moves that tag. Without override, the tag in the target stays, as the tag of an image does.
    let second = region.push_image(&app, &signature_tag, b"second signature layer").await;
    multi().await;
    let now = async || {
        region
            .registry
            .content()
            .find_manifest(pull(&copy), &signature_tag.parse().unwrap())
            .await
            .unwrap()
            .digest
            .clone()
    };
    assert_ne!(now().await, second);
    assert_eq!(multi().await, JobState::Existed);
    assert_eq!(states(&region, call(&["multi"], true)).await[0].1, JobState::Success);
    assert_eq!(now().await, second);
    assert_eq!(states(&region, call(&["multi"], true)).await[0].1, JobState::Existed);
}

#[tokio::test]
async fn the_question_of_a_copy_tells_whatever_is_missing_behind_a_right_tag() {
    let (region, _stop) = region().await;
    let app = name("group/app");
    let (index, [amd, arm]) = push_index(&region, &app).await;
    let signature: Tag = format!("sha256-{}.sig", arm.hex()).parse().unwrap();
    let signed = region.push_image(&app, signature.as_str(), b"signature layer").await;
    let id = region.registry.content().repository(&app).await.unwrap().id;
    let layer = Digest::of(transship_oci::DigestAlgorithm::Sha256, b"arm layer");
    let absent: Tag = format!("sha256-{}", amd.hex()).parse().unwrap();
    let request = wire::PrepareRequest {
        namespace: app.namespace().clone(),
        repository: app.repository().clone(),
        tag: "multi".parse().unwrap(),
        digest: index.clone(),
        category: "other".to_owned(),
        description: String::new(),
        blobs: vec![layer.clone()],
        manifests: vec![index.clone(), amd.clone(), arm.clone()],
        attached: vec![absent, signature.clone()],
    };
    let grant = copy_grant(&region, &region.admin, &app).await;
    let ask = async || region.registry.replication().answer_prepare(&grant, &request).await.unwrap();
    let reply = ask().await;
    assert_eq!((reply.missing_blobs, reply.missing_manifests), (Vec::new(), Vec::new()));
    assert_eq!((reply.tag_digest, reply.attached), (Some(index.clone()), vec![(signature, signed)]));
    // Quarantined bytes count as absent.
    let blob = region.registry.catalog().find_blob(id, &layer).await.unwrap().unwrap();
    assert!(region.registry.catalog().quarantine_blob(&blob, "rot").await.unwrap());
    region.registry.content().delete_manifest(delete(&app), &target::by_digest(&amd)).await.unwrap();
    let reply = ask().await;
    assert_eq!((reply.missing_blobs, reply.missing_manifests), (vec![layer], vec![amd]));
    assert_eq!(reply.tag_digest, Some(index));
}

#[tokio::test]
async fn only_a_region_that_may_push_takes_a_tag_back() {
    let (region, _stop) = region().await;
    let app = name("group/app");
    let digest = region.push_image(&app, "v1", b"layer").await;
    let request = wire::WithdrawRequest {
        namespace: app.namespace().clone(),
        repository: app.repository().clone(),
        tag: "v1".parse().unwrap(),
        digest: digest.clone(),
        before: None,
    };
    let of_another = copy_grant(&region, &region.admin, &name("group/other")).await;
    let grants = [region.grant(&region.admin, &app).await, of_another];
    for grant in grants {
        let refused = region.registry.replication().answer_withdraw(&grant, &request).await;
        assert!(matches!(refused, Err(ServiceError::Denied(_))), "{refused:?}");
    }
    // A user who may not push any more.
    let stranger = region.user("stranger").await;
    let grant = copy_grant(&region, &stranger, &app).await;
    let refused = region.registry.replication().answer_withdraw(&grant, &request).await;
    assert!(matches!(refused, Err(ServiceError::Denied(_))), "{refused:?}");
    // The organization became another one after the token was looked at.
    let v1 = "v1".parse().unwrap();
    let other =
        region.registry.replication().withdraw_here(&region.admin, Some(i64::MAX), &app, &v1, &digest, None).await;
    assert!(!other.unwrap());
    assert!(region.registry.content().find_manifest(pull(&app), &"v1".parse().unwrap()).await.is_ok());

    let grant = copy_grant(&region, &region.admin, &app).await;
    assert!(region.registry.replication().answer_withdraw(&grant, &request).await.unwrap().withdrawn);
    assert!(region.registry.content().find_manifest(pull(&app), &"v1".parse().unwrap()).await.is_err());
    assert!(
        region.registry.content().find_manifest(pull(&app), &target::by_digest(&digest)).await.is_ok(),
        "the manifest stays"
    );
}

/// Runs jobs until they have written the target's tags, deletes the source's tags, and lets the runner end the jobs.
#[tokio::test]
async fn a_job_that_is_cancelled_after_it_wrote_the_tag_takes_it_back() {
    let region = TestRegion::start("region-a").await;
    region.namespace("group").await;
    region.namespace("copies").await;
    let (app, copy) = (name("group/app"), name("copies/app"));
    let old = region.push_image(&copy, "moved", b"old").await;
    region.push_image(&app, "made", b"one").await;
    region.push_image(&app, "moved", b"two").await;
    region.push_image(&app, "kept", b"three").await;
    let mut zero = crate::testing::settings("region-a");
    zero.sync_wait = std::time::Duration::ZERO;
    let asking = Registry::open(
        zero,
        transship_catalog::Catalog::open(&region.catalog_url).await.unwrap(),
        std::sync::Arc::clone(&region.store) as _,
        crate::identity::keys::Keys::load_or_create(tempfile::tempdir().unwrap().path()).unwrap(),
    )
    .unwrap();
    asking.replication().sync_images(&region.admin, &app, call(&["made", "moved", "kept"], true)).await.unwrap();
    // An owner that dies right after it wrote the tags.
    let jobs = region.registry.catalog().claim_jobs("the dead", 1, 10, 10).await.unwrap();
    assert_eq!(jobs.len(), 3);
    for job in &jobs {
        assert_eq!(region.registry.replication().run_copy(job, &Progress::default()).await.unwrap(), JobState::Success);
    }
    let tag = async |tag: &str| {
        let found = region.registry.content().find_manifest(pull(&copy), &tag.parse().unwrap()).await;
        found.ok().map(|manifest| manifest.digest.clone())
    };
    assert!(tag("made").await.is_some() && tag("moved").await.is_some_and(|digest| digest != old));
    let kept = tag("kept").await;
    for gone in ["made", "moved", "kept"] {
        region.registry.content().delete_tag(&region.admin, &app, &gone.parse().unwrap()).await.unwrap();
    }
    // This tag exists again, with the same image, before the runner looks.
    region.push_image(&app, "kept", b"three").await;
    let stop = tokio_util::sync::CancellationToken::new();
    drop(region.registry.start_workers(stop.clone()).await.unwrap());
    let ids: Vec<i64> = jobs.iter().map(|job| job.id).collect();
    let ended = async || {
        let found = region.registry.catalog().find_jobs(&ids).await.unwrap();
        found.iter().all(|job| job.state.is_final()).then_some(found)
    };
    let mut found = None;
    for _ in 0..600 {
        found = ended().await;
        if found.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let states: Vec<JobState> = found.expect("they end within a minute").iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Cancel; 3]);
    assert_eq!((tag("made").await, tag("moved").await, tag("kept").await), (None, Some(old), kept));
    stop.cancel();
}
