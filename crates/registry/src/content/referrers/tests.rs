use serde_json::json;
use transship_oci::{Digest, Reference, media};

use crate::content::manifests::{FoundManifest, ManifestPush, PushCondition};
use crate::error::ServiceError;
use crate::testing::{TestRegion, delete, name, pull};

const NAME: &str = "group/app";

async fn region() -> (TestRegion, Digest) {
    let region = TestRegion::start("region-a").await;
    region.namespace("group").await;
    let subject = region.push_image(&name(NAME), "v1", b"layer").await;
    (region, subject)
}

/// Pushes a manifest that refers to `subject`.
async fn sign(region: &TestRegion, subject: &Digest, kind: &str) -> Digest {
    let config = region.push_blob(&name(NAME), b"{}").await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": format!("application/vnd.{kind}"),
        "config": {"mediaType": media::OCI_EMPTY, "digest": config, "size": 2}, "layers": [],
        "subject": {"mediaType": media::OCI_MANIFEST, "digest": subject, "size": 1},
        "annotations": {"kind": kind},
    });
    let raw = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::of(subject.algorithm(), &raw);
    region.push_manifest(&name(NAME), digest.as_str(), &manifest).await.unwrap().digest
}

async fn at(region: &TestRegion, reference: impl Into<Reference>) -> Result<FoundManifest, ServiceError> {
    region.registry.content().find_manifest(pull(&name(NAME)), &reference.into()).await
}

fn entries(index: &FoundManifest) -> Vec<Digest> {
    let index: serde_json::Value = serde_json::from_slice(index.raw.as_ref().unwrap()).unwrap();
    let mut found: Vec<Digest> =
        index["manifests"].as_array().unwrap().iter().map(|m| m["digest"].as_str().unwrap().parse().unwrap()).collect();
    found.sort_unstable();
    found
}

fn sorted<const N: usize>(mut digests: [Digest; N]) -> Vec<Digest> {
    digests.sort_unstable();
    digests.to_vec()
}

#[tokio::test]
async fn the_tag_of_a_subject_lists_what_refers_to_it() {
    let (region, subject) = region().await;
    let tag = subject.referrers_tag();
    assert!(matches!(at(&region, tag.clone()).await, Err(ServiceError::ManifestAbsent(_))));
    let first = sign(&region, &subject, "signature").await;
    let second = sign(&region, &subject, "sbom").await;
    let index = at(&region, tag.clone()).await.unwrap();
    assert_eq!(entries(&index), sorted([first.clone(), second.clone()]));
    assert_eq!(index.digest, Digest::of(index.digest.algorithm(), index.raw.as_ref().unwrap()));
    let text = String::from_utf8(index.raw.as_ref().unwrap().to_vec()).unwrap();
    assert!(text.contains("application/vnd.sbom") && text.contains("\"kind\":\"sbom\""), "{text}");
    // A second read gives the same, and so does a read by its digest.
    assert_eq!(at(&region, tag.clone()).await.unwrap().raw, index.raw);
    assert_eq!(at(&region, index.digest.clone()).await.unwrap().raw, index.raw);
    // The index is not a tag of the repository.
    let tags = region.registry.content().tag_names(pull(&name(NAME)), None, 10).await.unwrap();
    assert_eq!(tags.iter().map(transship_oci::Tag::as_str).collect::<Vec<_>>(), ["v1"]);

    region.registry.content().delete_manifest(delete(&name(NAME)), &Reference::Digest(first)).await.unwrap();
    assert_eq!(entries(&at(&region, tag).await.unwrap()), sorted([second]));
    assert!(matches!(at(&region, index.digest.clone()).await, Err(ServiceError::ManifestAbsent(_))), "it has changed");
}

/// A client that knows only the tag reads the index, adds its own entry and puts it back, while others use the API.
#[tokio::test]
async fn an_index_that_a_client_keeps_is_brought_up_to_date() {
    let (region, subject) = region().await;
    let tag = subject.referrers_tag();
    let mine = sign(&region, &subject, "mine").await;
    let size_bytes = at(&region, mine.clone()).await.unwrap().size_bytes;
    let kept = json!({
        "schemaVersion": 2, "mediaType": media::OCI_INDEX, "annotations": {"kept": "by hand"},
        "manifests": [{"mediaType": media::OCI_MANIFEST, "digest": mine, "size": size_bytes, "annotations": {"mine": "yes"}}],
    });
    let pushed = region.push_manifest(&name(NAME), tag.as_str(), &kept).await.unwrap();
    // Nothing to add: the client gets the pushed bytes.
    assert_eq!(at(&region, tag.clone()).await.unwrap().digest, pushed.digest);

    let theirs = sign(&region, &subject, "theirs").await;
    let index = at(&region, tag.clone()).await.unwrap();
    assert_eq!(entries(&index), sorted([mine.clone(), theirs.clone()]));
    let text = String::from_utf8(index.raw.as_ref().unwrap().to_vec()).unwrap();
    assert!(text.contains("by hand") && text.contains("\"mine\":\"yes\""), "what the client wrote stays: {text}");
    assert_eq!(at(&region, pushed.digest.clone()).await.unwrap().digest, pushed.digest, "by digest: as pushed");

    region.registry.content().delete_manifest(delete(&name(NAME)), &Reference::Digest(mine)).await.unwrap();
    assert_eq!(entries(&at(&region, tag.clone()).await.unwrap()), sorted([theirs.clone()]));

    // The digest of an index that was read may be the condition of a push, although nobody has stored that index.
    let read = at(&region, tag.clone()).await.unwrap();
    let size_bytes = at(&region, theirs.clone()).await.unwrap().size_bytes;
    let put = async |condition: Digest, note: &str| {
        let next = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "annotations": {"note": note},
            "manifests": [{"mediaType": media::OCI_MANIFEST, "digest": theirs, "size": size_bytes}]});
        let push = ManifestPush {
            reference: Reference::Tag(tag.clone()),
            tags: Vec::new(),
            content_type: None,
            raw: serde_json::to_vec(&next).unwrap().into(),
            condition: PushCondition::IfDigest(condition),
        };
        let grant = region.grant(&region.admin, &name(NAME)).await;
        region.registry.content().push_manifest(crate::testing::push(&grant, &name(NAME)), push).await
    };
    put(read.digest.clone(), "first").await.unwrap();
    let late = put(read.digest.clone(), "second").await;
    assert!(matches!(late, Err(ServiceError::PreconditionFailed(_))), "{late:?}");
}

#[tokio::test]
async fn a_sha512_subject_has_a_tag_too() {
    let (region, _) = region().await;
    let subject = Digest::of(transship_oci::DigestAlgorithm::Sha512, b"not pushed");
    let signature = sign(&region, &subject, "signature").await;
    assert_eq!(entries(&at(&region, subject.referrers_tag()).await.unwrap()), [signature]);
}

/// A large index takes room while it is made, is sent in pieces, and is the same when it is read by its digest.
#[tokio::test]
async fn a_large_index_is_sent_in_pieces() {
    let (region, subject) = region().await;
    for number in 0..4 {
        sign(&region, &subject, &format!("{number}{}", "x".repeat(20_000))).await;
    }
    let app = name(NAME);
    let grant = region.grant(&region.admin, &app).await;
    let mut reference = Reference::Tag(subject.referrers_tag());
    for _ in 0..3 {
        let found = region.registry.content().find_manifest(grant.authorize(&app).unwrap(), &reference).await.unwrap();
        assert!(found.raw.is_none() && found.size_bytes > 64 << 10);
        let sent =
            region.registry.content().send_manifest(grant.authorize(&app).unwrap(), &reference, &found).await.unwrap();
        let mut raw = Vec::new();
        while let Some(piece) = sent.piece(raw.len(), 10_000).filter(|piece| !piece.is_empty()) {
            raw.extend_from_slice(&piece);
        }
        assert_eq!(
            (raw.len() as u64, Digest::of(found.digest.algorithm(), &raw)),
            (found.size_bytes, found.digest.clone())
        );
        reference = Reference::Digest(found.digest.clone());
    }
}
