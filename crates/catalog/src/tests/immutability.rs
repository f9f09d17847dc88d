use super::{digest, fixture, image, put, tag};
use crate::{Catalog, CatalogError, ImmutableTags, PutManifestError, TagCondition};

fn patterns(tags: &[&str], except: &[&str]) -> ImmutableTags {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    ImmutableTags::new(owned(tags), owned(except)).unwrap()
}

pub(super) async fn immutable_tags_neither_move_nor_go(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    image(&catalog, id, "one", "v1").await;
    image(&catalog, id, "one", "latest").await;
    image(&catalog, id, "two", "latest").await;
    catalog.set_immutable_tags(id, &patterns(&["v*"], &["v*-rc"])).await.unwrap();
    assert_eq!(catalog.immutable_tags(id).await.unwrap().except(), ["v*-rc"]);

    // Moving is refused by every way, with all else that the push would have done.
    let refused = catalog.put_manifest(put(id, "three", &[], &[tag("latest"), tag("v1")])).await;
    assert!(
        matches!(&refused, Err(PutManifestError::Catalog(CatalogError::Immutable { tag })) if tag == "v1"),
        "{refused:?}"
    );
    assert_eq!(catalog.manifest_exists(id, &[digest("three")]).await.unwrap(), []);
    assert_eq!(catalog.resolve_tag(id, &tag("latest")).await.unwrap(), Some(digest("two")));
    let refused = catalog.put_tag(id, &tag("v1"), &digest("two"), TagCondition::Always).await;
    assert!(matches!(refused, Err(PutManifestError::Catalog(CatalogError::Immutable { .. }))), "{refused:?}");
    // So is going: alone, with its manifest, with its repository.
    let refused = catalog.delete_tag(id, &tag("v1")).await;
    assert!(matches!(refused, Err(CatalogError::Immutable { .. })), "{refused:?}");
    let refused = catalog.delete_manifest(id, &digest("one")).await;
    assert!(matches!(refused, Err(CatalogError::Immutable { .. })), "{refused:?}");
    let refused = catalog.delete_repository(id).await;
    assert!(matches!(refused, Err(CatalogError::Immutable { .. })), "{refused:?}");
    assert_eq!(catalog.resolve_tag(id, &tag("v1")).await.unwrap(), Some(digest("one")));

    // The same again is no move, a new tag is none either, and the others are as free as ever.
    assert!(!catalog.put_manifest(put(id, "one", &[], &[tag("v1")])).await.unwrap().created);
    image(&catalog, id, "two", "v2").await;
    image(&catalog, id, "one", "v3-rc").await;
    image(&catalog, id, "two", "v3-rc").await;
    assert!(catalog.delete_tag(id, &tag("latest")).await.unwrap());
    catalog.set_immutable_tags(id, &ImmutableTags::default()).await.unwrap();
    image(&catalog, id, "three", "v1").await;
    assert!(catalog.delete_repository(id).await.unwrap());
}

/// Once the patterns are set, no push that began before moves a tag.
pub(super) async fn patterns_hold_from_the_moment_they_are_set(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    image(&catalog, id, "first", "v1").await;
    let pushes = (0..40).map(|n| {
        let catalog = catalog.clone();
        tokio::spawn(async move {
            let raw = format!("image {n}");
            let _ = catalog.put_manifest(put(id, &raw, &[], &[tag("v1")])).await;
        })
    });
    let pushes: Vec<_> = pushes.collect();
    catalog.set_immutable_tags(id, &patterns(&["*"], &[])).await.unwrap();
    let held = catalog.resolve_tag(id, &tag("v1")).await.unwrap();
    for push in pushes {
        push.await.unwrap();
    }
    assert_eq!(catalog.resolve_tag(id, &tag("v1")).await.unwrap(), held);
}
