use transship_oci::{Digest, Reference};

use super::{blob, digest, fixture, image, put, tag};
use crate::{Catalog, CatalogError, ManifestPut, PutManifest, PutManifestError, TagCondition, Unlinked};

pub(super) async fn raw_bytes_come_back(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let raw = "{\r\n \"annotations\" : {\"x\":\"\u{fffd}𝄞 \\u0000\"}\t}  \n";
    let tags = [tag("v1")];
    let manifest = PutManifest {
        artifact_type: Some("application/example".to_owned()),
        subject_digest: Some(digest("subject")),
        ..put(id, raw, &[], &tags)
    };
    let expected = manifest.digest.clone();
    assert!(catalog.put_manifest(manifest.clone()).await.unwrap().created);
    for reference in [Reference::Tag(tag("v1")), Reference::Digest(expected.clone())] {
        let found = catalog.find_manifest(id, &reference).await.unwrap().unwrap();
        assert_eq!(found.raw, raw.as_bytes());
        assert_eq!((&found.digest, &found.media_type), (&expected, &manifest.media_type));
        assert_eq!(
            (found.artifact_type, found.subject_digest),
            (manifest.artifact_type.clone(), Some(digest("subject")))
        );
    }
    assert!(!catalog.put_manifest(manifest).await.unwrap().created, "pushed again");
    assert_eq!(catalog.find_manifest(id, &Reference::Tag(tag("v2"))).await.unwrap(), None);
    let size = catalog.tagged_size(id, &tag("v1")).await.unwrap();
    assert_eq!((size, catalog.tagged_size(id, &tag("v2")).await.unwrap()), (Some(raw.len() as u64), None));
    assert_eq!(catalog.find_manifest(99, &Reference::Tag(tag("v1"))).await.unwrap(), None);
    let wanted = [digest("absent"), expected.clone()];
    assert_eq!(catalog.manifest_exists(id, &wanted).await.unwrap(), [expected]);

    // The largest one that the protocol lets in.
    let large = "x".repeat(4 << 20);
    catalog.put_manifest(put(id, &large, &[], &[])).await.unwrap();
    let found = catalog.find_manifest(id, &Reference::Digest(digest(&large))).await.unwrap().unwrap();
    assert_eq!(found.raw.len(), large.len());
}

fn child(raw: &str) -> (Digest, u64) {
    (digest(raw), raw.len() as u64)
}

pub(super) async fn closures_are_checked(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let elsewhere = super::repository(&catalog, &fixture.namespace, &fixture.admin, "elsewhere").await;
    let (config, layer) = (blob(&catalog, id, "config").await, blob(&catalog, elsewhere.id, "layer").await);
    let blobs = [config, layer.clone()];
    let tags = [tag("v1")];
    let outcome = catalog.put_manifest(put(id, "image", &blobs, &tags)).await;
    assert!(matches!(&outcome, Err(PutManifestError::BlobUnknown(digest)) if *digest == layer.0), "{outcome:?}");
    catalog.mount_blob(elsewhere.id, id, &layer.0).await.unwrap().unwrap();
    catalog.put_manifest(put(id, "image", &blobs, &tags)).await.unwrap();

    let children = [child("image"), child("image"), child("other")];
    let index = PutManifest { children: &children, ..put(id, "index", &[], &tags) };
    let outcome = catalog.put_manifest(index.clone()).await;
    assert!(matches!(&outcome, Err(PutManifestError::ChildUnknown(child)) if *child == children[2].0), "{outcome:?}");
    assert_eq!(catalog.resolve_tag(id, &tags[0]).await.unwrap(), Some(digest("image")), "nothing is changed");
    catalog.put_manifest(put(id, "other", &[], &[])).await.unwrap();
    let wrong = [child("image"), (digest("other"), 6)];
    let outcome = catalog.put_manifest(PutManifest { children: &wrong, ..index.clone() }).await;
    assert!(
        matches!(&outcome, Err(PutManifestError::SizeDiffers { digest, expected: 6, actual: 5 }) if *digest == wrong[1].0),
        "{outcome:?}"
    );
    catalog.put_manifest(index).await.unwrap();
    assert_eq!(catalog.resolve_tag(id, &tags[0]).await.unwrap(), Some(digest("index")));

    let nowhere = catalog.put_manifest(put(99, "image", &[], &[])).await;
    assert!(matches!(nowhere, Err(PutManifestError::Catalog(CatalogError::NotFound { .. }))), "{nowhere:?}");
}

pub(super) async fn sparse_manifests_hold_what_comes_later(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let config = blob(&catalog, id, "config").await;
    let layer = (digest("layer"), 5);
    let blobs = [config.clone(), layer.clone()];
    let manifest = PutManifest { sparse: true, ..put(id, "image", &blobs, &[]) };
    assert!(catalog.put_manifest(manifest.clone()).await.unwrap().created);
    assert!(!catalog.put_manifest(manifest).await.unwrap().created);
    // The same one again where it is not allowed.
    let outcome = catalog.put_manifest(put(id, "image", &blobs, &[])).await;
    assert!(matches!(&outcome, Err(PutManifestError::BlobUnknown(digest)) if *digest == layer.0), "{outcome:?}");
    let children = [child("image"), child("other platform")];
    let tags = [tag("v1")];
    let index = PutManifest { children: &children, sparse: true, ..put(id, "index", &[], &tags) };
    catalog.put_manifest(index).await.unwrap();

    // A blob that comes later is needed like one that was there.
    assert_eq!(blob(&catalog, id, "layer").await.0, layer.0);
    for digest in [&config.0, &layer.0] {
        assert_eq!(catalog.unlink_blob(id, digest).await.unwrap(), Unlinked::InUse, "{digest}");
    }
    assert!(catalog.delete_manifest(id, &digest("image")).await.unwrap());
    for digest in [&config.0, &layer.0] {
        assert_eq!(catalog.unlink_blob(id, digest).await.unwrap(), Unlinked::Done, "{digest}");
    }
}

pub(super) async fn sizes_are_checked(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let (layer, size_bytes) = blob(&catalog, fixture.repository.id, "layer").await;
    let blobs = [(layer, size_bytes + 1)];
    match catalog.put_manifest(put(fixture.repository.id, "image", &blobs, &[])).await {
        Err(PutManifestError::SizeDiffers { expected, actual, .. }) => assert_eq!((expected, actual), (6, 5)),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn conditions_hold(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let tags = [tag("v1"), tag("v2")];
    let push = async |raw: &str, condition: TagCondition| {
        catalog.put_manifest(PutManifest { condition, ..put(id, raw, &[], &tags) }).await
    };
    let absent = push("one", TagCondition::IfDigest(digest("one"))).await;
    assert!(matches!(absent, Err(PutManifestError::ConditionFailed { current: None, .. })), "{absent:?}");
    assert_eq!(catalog.manifest_exists(id, &[digest("one")]).await.unwrap(), [], "all or nothing");
    push("one", TagCondition::IfAbsent).await.unwrap();
    push("one", TagCondition::IfAbsent).await.unwrap();
    image(&catalog, id, "two", "v2").await;
    match push("one", TagCondition::IfAbsent).await {
        Err(PutManifestError::ConditionFailed { tag, current }) => {
            assert_eq!((tag, current), (tags[1].clone(), Some(digest("two"))));
        }
        other => panic!("{other:?}"),
    }
    let other = push("three", TagCondition::IfDigest(digest("one"))).await;
    assert!(matches!(other, Err(PutManifestError::ConditionFailed { .. })), "{other:?}");
    assert_eq!(catalog.resolve_tag(id, &tags[0]).await.unwrap(), Some(digest("one")), "all tags or none");
    push("three", TagCondition::Always).await.unwrap();
    push("four", TagCondition::IfDigest(digest("three"))).await.unwrap();
    assert_eq!(catalog.resolve_tag(id, &tags[1]).await.unwrap(), Some(digest("four")));
}

pub(super) async fn moved_tags_are_told(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let tags = [tag("b"), tag("a"), tag("b")];
    let made = catalog.put_manifest(put(id, "one", &[], &tags)).await.unwrap();
    assert_eq!(made, ManifestPut { created: true, moved: vec![(tag("a"), None), (tag("b"), None)] });
    let again = catalog.put_manifest(put(id, "one", &[], &tags)).await.unwrap();
    assert_eq!(again, ManifestPut { created: false, moved: Vec::new() });
    let moved = catalog.put_manifest(put(id, "two", &[], &tags[..1])).await.unwrap();
    assert_eq!(moved.moved, [(tag("b"), Some(digest("one")))]);
}

pub(super) async fn deletion_takes_tags_along(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    for name in ["v1", "v2"] {
        image(&catalog, id, "one", name).await;
    }
    image(&catalog, id, "two", "v3").await;
    let children = [child("one")];
    catalog.put_manifest(PutManifest { children: &children, ..put(id, "index", &[], &[]) }).await.unwrap();
    assert!(catalog.delete_manifest(id, &digest("one")).await.unwrap());
    assert!(!catalog.delete_manifest(id, &digest("one")).await.unwrap());
    assert_eq!(catalog.list_tags(id, None, 10).await.unwrap(), [tag("v3")]);
    // A child may go before its index; pushing the index again then asks for it.
    assert_eq!(catalog.manifest_exists(id, &[digest("index")]).await.unwrap(), [digest("index")]);
    let again = catalog.put_manifest(PutManifest { children: &children, ..put(id, "index", &[], &[]) }).await;
    assert!(matches!(again, Err(PutManifestError::ChildUnknown(_))), "{again:?}");
    assert!(catalog.delete_manifest(id, &digest("index")).await.unwrap());
}

pub(super) async fn referrers_are_paged(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    // The subject need not exist.
    let subject = digest("subject");
    let mut expected: Vec<Digest> = Vec::new();
    for raw in ["a", "b", "c"] {
        let manifest = PutManifest { subject_digest: Some(subject.clone()), ..put(id, raw, &[], &[]) };
        expected.push(manifest.digest.clone());
        catalog.put_manifest(manifest).await.unwrap();
    }
    expected.sort_unstable();
    image(&catalog, id, "unrelated", "v1").await;
    let pages = async |subject: &Digest, kind: Option<&str>, limit: usize| {
        let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
        loop {
            let page = catalog.referrers(id, subject, kind, after.as_ref(), limit).await.unwrap();
            pages += 1;
            assert!(page.next.is_none() || page.digests.last() == page.next.as_ref());
            found.extend(page.digests);
            after = page.next;
            if after.is_none() {
                return (found, pages);
            }
        }
    };
    for (limit, count) in [(1, 3), (2, 2), (3, 1), (10, 1)] {
        assert_eq!(pages(&subject, None, limit).await, (expected.clone(), count), "pages of {limit}");
    }
    // A page also ends where it would be too large; a manifest as large as that has one for itself.
    let heavy = digest("heavy");
    for n in 0..3 {
        let raw = format!("{n}{}", "x".repeat(2 << 20));
        let manifest = PutManifest { subject_digest: Some(heavy.clone()), ..put(id, &raw, &[], &[]) };
        catalog.put_manifest(manifest).await.unwrap();
    }
    assert_eq!(pages(&heavy, None, 100).await.1, 3);

    let kind = |name: &str| Some(format!("application/vnd.{name}"));
    let manifest = PutManifest {
        subject_digest: Some(subject.clone()),
        artifact_type: kind("sbom"),
        ..put(id, "typed", &[], &[])
    };
    catalog.put_manifest(manifest).await.unwrap();
    assert_eq!(pages(&subject, kind("sbom").as_deref(), 10).await, (vec![digest("typed")], 1));
    for none in ["", "application/vnd.other", "\0"] {
        assert_eq!(pages(&subject, Some(none), 10).await, (Vec::new(), 1), "{none:?}");
    }
    let found = async |start: &str| catalog.subject_like(id, start).await.unwrap();
    assert_eq!(found(&subject.as_str()[..40]).await, Some(subject.clone()));
    assert_eq!(found(subject.as_str()).await, Some(subject.clone()));
    assert_eq!(found("sha512:").await, None);
}

pub(super) async fn text_is_required(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    for raw in [&b"\xff\xfe"[..], &b"a\0b"[..]] {
        let outcome = catalog.put_manifest(PutManifest { raw, ..put(fixture.repository.id, "", &[], &[]) }).await;
        assert!(matches!(outcome, Err(PutManifestError::Catalog(CatalogError::Invalid { .. }))), "{outcome:?}");
    }
}
