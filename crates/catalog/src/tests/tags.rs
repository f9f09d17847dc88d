use super::{digest, fixture, image, pause, put, tag};
use crate::{Catalog, ListTagDetails, PutManifestError, StoredManifest, TagCondition, TagOrder};

pub(super) async fn tags_sort_by_bytes(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    for name in ["b", "a", "_x", "B", "1.10", "1.9", "a-b", "a.b", "aB"] {
        image(&catalog, id, "one", name).await;
    }
    let names: Vec<String> = catalog.list_tags(id, None, 100).await.unwrap().into_iter().map(String::from).collect();
    assert_eq!(names, ["1.10", "1.9", "B", "_x", "a", "a-b", "a.b", "aB", "b"]);
    assert_eq!(catalog.list_tags(id, Some("a"), 2).await.unwrap(), [tag("a-b"), tag("a.b")]);
    // The name in the marker need not exist, nor be a tag.
    assert_eq!(catalog.list_tags(id, Some("a-c!"), 1).await.unwrap(), [tag("a.b")]);
    assert_eq!(catalog.list_tags(id, Some("z"), 1).await.unwrap(), []);
    assert_eq!(catalog.list_tags(id, None, 0).await.unwrap(), []);
}

pub(super) async fn put_tag_follows_conditions(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    image(&catalog, id, "one", "v1").await;
    image(&catalog, id, "two", "v2").await;
    let put_tag =
        async |name: &str, raw: &str, condition| catalog.put_tag(id, &tag(name), &digest(raw), condition).await;
    assert_eq!(put_tag("new", "one", TagCondition::IfAbsent).await.unwrap(), None);
    let refused = put_tag("new", "two", TagCondition::IfAbsent).await;
    assert!(matches!(refused, Err(PutManifestError::ConditionFailed { .. })), "{refused:?}");
    assert_eq!(put_tag("new", "two", TagCondition::Always).await.unwrap(), Some(digest("one")));
    let absent = put_tag("new", "absent", TagCondition::Always).await;
    assert!(matches!(absent, Err(PutManifestError::ChildUnknown(_))), "{absent:?}");
    assert_eq!(catalog.resolve_tag(id, &tag("new")).await.unwrap(), Some(digest("two")));
    assert!(catalog.delete_tag(id, &tag("new")).await.unwrap());
    assert!(!catalog.delete_tag(id, &tag("new")).await.unwrap());
    assert_eq!(catalog.resolve_tag(id, &tag("new")).await.unwrap(), None);
    assert_eq!(catalog.manifest_exists(id, &[digest("two")]).await.unwrap(), [digest("two")]);
}

pub(super) async fn withdrawn_tags_are_as_before(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let old = image(&catalog, id, "old", "kept").await;
    let new = image(&catalog, id, "new", "made").await;
    let withdraw = async |name: &str, before: Option<&transship_oci::Digest>| {
        catalog.withdraw_tag(id, &tag(name), &new, before).await
    };
    let now = async |name: &str| catalog.resolve_tag(id, &tag(name)).await.unwrap();
    // The undone move created the tag: it is deleted, and jobs that copy it are cancelled.
    let jobs = catalog.enqueue_jobs(&[super::jobs::new_job(&fixture, "made")], 10).await.unwrap();
    assert!(withdraw("made", None).await.unwrap());
    assert_eq!(now("made").await, None);
    assert_eq!(catalog.find_jobs(&jobs).await.unwrap()[0].state, crate::JobState::Cancel);
    assert!(!withdraw("made", None).await.unwrap(), "gone already");
    // The undone move moved the tag: it points at its old digest again.
    image(&catalog, id, "new", "moved").await;
    assert!(withdraw("moved", Some(&old)).await.unwrap());
    assert_eq!(now("moved").await, Some(old.clone()));
    // Somebody else has moved the tag since: it stays.
    assert!(!withdraw("moved", Some(&old)).await.unwrap());
    assert!(!withdraw("kept", None).await.unwrap());
    assert_eq!((now("moved").await, now("kept").await), (Some(old.clone()), Some(old.clone())));
    // There is no way back to a manifest that was deleted.
    image(&catalog, id, "new", "moved").await;
    assert!(catalog.delete_manifest(id, &old).await.unwrap());
    assert!(withdraw("moved", Some(&old)).await.unwrap());
    assert_eq!((now("moved").await, now("kept").await), (None, None));
    assert_eq!(catalog.manifest_exists(id, std::slice::from_ref(&new)).await.unwrap(), std::slice::from_ref(&new));

    image(&catalog, id, "new", "v1").await;
    image(&catalog, id, "new", "v2").await;
    let mut found = catalog.resolve_tags(id, &[tag("v2"), tag("v1"), tag("absent")]).await.unwrap();
    found.sort();
    assert_eq!(found, [(tag("v1"), new.clone()), (tag("v2"), new.clone())]);
}

fn raw_text(manifest: StoredManifest) -> String {
    String::from_utf8(manifest.raw).unwrap()
}

fn list(repository_id: i64) -> ListTagDetails {
    ListTagDetails {
        repository_id,
        name: None,
        name_contains: None,
        order: TagOrder::Name,
        descending: false,
        limit: 100,
        offset: 0,
        after: None,
    }
}

async fn names(catalog: &Catalog, list: ListTagDetails) -> Vec<String> {
    catalog.tag_details(list).await.unwrap().0.into_iter().map(|detail| detail.name.to_string()).collect()
}

pub(super) async fn details_filter_and_sort(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let (config, layer) = (super::blob(&catalog, id, "config").await, super::blob(&catalog, id, "layer").await);
    let blobs = [config.clone(), layer];
    catalog.put_manifest(put(id, "one", &blobs, &[tag("b"), tag("a")])).await.unwrap();
    pause(5).await;
    image(&catalog, id, "two", "rel_1").await;
    pause(5).await;
    image(&catalog, id, "two", "a").await;

    let (details, total) =
        catalog.tag_details(ListTagDetails { name: Some("b".to_owned()), ..list(id) }).await.unwrap();
    assert_eq!(total, 1);
    let detail = &details[0];
    assert_eq!((detail.name.as_str(), detail.manifest_bytes, &detail.digest), ("b", 3, &digest("one")));
    let wanted = [digest("one"), digest("two"), digest("none")];
    let mut manifests: Vec<String> = catalog.manifests(id, &wanted).await.unwrap().into_iter().map(raw_text).collect();
    manifests.sort();
    assert_eq!(manifests, ["one", "two"]);
    assert_eq!((&detail.config_digest, detail.layers_size_bytes), (&Some(config.0), 5));
    assert_eq!(detail.created_at_ms, detail.updated_at_ms);
    let moved = catalog.tag_details(ListTagDetails { name: Some("a".to_owned()), ..list(id) }).await.unwrap().0;
    assert!(moved[0].updated_at_ms > moved[0].created_at_ms);

    assert_eq!(names(&catalog, list(id)).await, ["a", "b", "rel_1"]);
    assert_eq!(names(&catalog, ListTagDetails { name_contains: Some("l_".to_owned()), ..list(id) }).await, ["rel_1"]);
    assert_eq!(names(&catalog, ListTagDetails { name_contains: Some("%".to_owned()), ..list(id) }).await.len(), 0);
    assert_eq!(names(&catalog, ListTagDetails { descending: true, ..list(id) }).await, ["rel_1", "b", "a"]);
    let newest = ListTagDetails { order: TagOrder::UpdatedAt, descending: true, ..list(id) };
    assert_eq!(names(&catalog, newest).await, ["a", "rel_1", "b"]);
}

pub(super) async fn tag_pages(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    for name in ["c", "a", "e", "b", "d"] {
        image(&catalog, id, "one", name).await;
        pause(2).await;
    }
    let (rows, total) = catalog.tag_details(ListTagDetails { limit: 2, offset: 1, ..list(id) }).await.unwrap();
    assert_eq!((rows[0].name.as_str(), rows[1].name.as_str(), total), ("b", "c", 5));
    assert_eq!(names(&catalog, ListTagDetails { offset: 9, ..list(id) }).await.len(), 0);
    for (order, descending, expected) in [
        (TagOrder::Name, false, ["a", "b", "c", "d", "e"]),
        (TagOrder::Name, true, ["e", "d", "c", "b", "a"]),
        (TagOrder::UpdatedAt, false, ["c", "a", "e", "b", "d"]),
        (TagOrder::UpdatedAt, true, ["d", "b", "e", "a", "c"]),
    ] {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let page = ListTagDetails { order, descending, limit: 2, after: seen.last().cloned(), ..list(id) };
            let (rows, total) = catalog.tag_details(page).await.unwrap();
            assert_eq!(total, 5);
            if rows.is_empty() {
                break;
            }
            seen.extend(rows.into_iter().map(|row| row.name.to_string()));
        }
        assert_eq!(seen, expected, "{order:?} {descending}");
    }
}
