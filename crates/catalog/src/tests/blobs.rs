use super::{blob, digest, fixture, namespace_name, put, repository, user};
use crate::{Blob, Catalog, CatalogError, Level, Unlinked};

pub(super) async fn blobs_need_a_link(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let other = repository(&catalog, &fixture.namespace, &fixture.admin, "other").await;
    let (digest, size_bytes) = blob(&catalog, fixture.repository.id, "layer").await;
    let found = catalog.find_blob(fixture.repository.id, &digest).await.unwrap().unwrap();
    assert_eq!((&found.digest, found.size_bytes), (&digest, size_bytes));
    assert_eq!(catalog.find_blob(other.id, &digest).await.unwrap(), None, "a digest alone gives nothing");
    let wanted = [digest.clone(), super::digest("absent")];
    assert_eq!(catalog.find_linked(fixture.repository.id, &wanted).await.unwrap(), [(digest, size_bytes)]);
    assert_eq!(catalog.find_linked(other.id, &wanted).await.unwrap(), []);
    assert_eq!(catalog.find_linked(other.id, &[]).await.unwrap(), []);
}

pub(super) async fn mounts_need_a_source_link(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let other = repository(&catalog, &fixture.namespace, &fixture.admin, "other").await;
    let (digest, size_bytes) = blob(&catalog, fixture.repository.id, "layer").await;
    assert_eq!(catalog.mount_blob(other.id, fixture.repository.id, &digest).await.unwrap(), None);
    for _ in 0..2 {
        let mounted = catalog.mount_blob(fixture.repository.id, other.id, &digest).await.unwrap();
        assert_eq!(mounted, Some(size_bytes));
    }
    let (first, second) =
        (catalog.find_blob(fixture.repository.id, &digest).await, catalog.find_blob(other.id, &digest).await);
    assert_eq!(first.unwrap().map(location), second.unwrap().map(location));
    let nowhere = catalog.mount_blob(fixture.repository.id, 99, &digest).await;
    assert!(matches!(nowhere, Err(CatalogError::NotFound { .. })), "{nowhere:?}");
    // The source may go; the mounted link stays.
    assert!(catalog.delete_repository(fixture.repository.id).await.unwrap());
    assert!(catalog.find_blob(other.id, &digest).await.unwrap().is_some());
}

fn location(blob: Blob) -> String {
    blob.location
}

pub(super) async fn mounting_what_one_may_read(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let ada = user(&catalog, &fixture.account, "ada", false).await;
    let target = repository(&catalog, &fixture.namespace, &fixture.admin, "target").await;
    let closed = blob(&catalog, fixture.repository.id, "closed").await.0;
    let other = catalog.create_account("other").await.unwrap();
    let stranger = user(&catalog, &other, "eve", true).await;
    let theirs = catalog.create_namespace(&namespace_name("theirs"), &stranger, 5).await.unwrap();
    let public = repository(&catalog, &theirs, &stranger, "public").await;
    catalog.update_repository(public.id, true, "other", "").await.unwrap();
    let private = repository(&catalog, &theirs, &stranger, "private").await;
    let open = blob(&catalog, public.id, "open").await.0;
    let secret = blob(&catalog, private.id, "secret").await.0;

    let wanted = [closed.clone(), open.clone(), secret.clone(), digest("absent")];
    let account = fixture.account.id.as_str();
    let sorted = |mut digests: Vec<_>| {
        digests.sort_unstable();
        digests
    };
    let mounted = catalog.mount_readable(target.id, account, &ada.id, false, &wanted).await.unwrap();
    assert_eq!(mounted, std::slice::from_ref(&open));
    catalog.add_namespace_grants(fixture.namespace.id, &[(ada.id.clone(), Level::Read)]).await.unwrap();
    let mounted = catalog.mount_readable(target.id, account, &ada.id, false, &wanted).await.unwrap();
    assert_eq!(mounted, sorted(vec![closed.clone(), open.clone()]));
    let mounted = catalog.mount_readable(target.id, account, &fixture.admin.id, true, &wanted).await.unwrap();
    assert_eq!(mounted, sorted(vec![closed.clone(), open]));
    assert!(catalog.find_blob(target.id, &closed).await.unwrap().is_some());
    assert_eq!(catalog.find_blob(target.id, &secret).await.unwrap(), None);
    let elsewhere = Some(i64::MAX);
    let admin = &fixture.admin.id;
    let mounted = catalog.mount_readable_from(elsewhere, target.id, account, admin, true, &wanted).await.unwrap();
    assert_eq!(mounted, [], "nothing lies in another namespace");
    let nothing = catalog.mount_readable(target.id, account, &ada.id, false, &[]).await.unwrap();
    assert_eq!(nothing, []);
}

pub(super) async fn needed_links_stay(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let layer = blob(&catalog, id, "layer").await;
    let blobs = [layer.clone()];
    let manifest = put(id, "{}", &blobs, &[]);
    let digest = manifest.digest.clone();
    catalog.put_manifest(manifest).await.unwrap();
    assert_eq!(catalog.unlink_blob(id, &layer.0).await.unwrap(), Unlinked::InUse);
    assert!(catalog.delete_manifest(id, &digest).await.unwrap());
    assert_eq!(catalog.unlink_blob(id, &layer.0).await.unwrap(), Unlinked::Done);
    assert_eq!(catalog.unlink_blob(id, &layer.0).await.unwrap(), Unlinked::Absent);
    assert_eq!(catalog.find_blob(id, &layer.0).await.unwrap(), None);
}

pub(super) async fn long_lists(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let layer = blob(&catalog, fixture.repository.id, "layer").await;
    // As many descriptors as a manifest may have: still one statement with one parameter.
    let mut wanted: Vec<_> = (0..10_000).map(|n| digest(&n.to_string())).collect();
    wanted.push(layer.0.clone());
    assert_eq!(catalog.find_linked(fixture.repository.id, &wanted).await.unwrap(), [layer]);
}
