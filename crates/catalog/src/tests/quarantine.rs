use super::{blob, digest, fixture, namespace_name, new_upload, pause, put, repository, take};
use crate::{Catalog, PutManifestError};

pub(super) async fn quarantined_blobs_are_as_good_as_absent(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let other = repository(&catalog, &fixture.namespace, &fixture.admin, "other").await;
    let layer = blob(&catalog, id, "layer").await;
    let row = catalog.find_blob(id, &layer.0).await.unwrap().unwrap();
    assert!(catalog.quarantine_blob(&row, "rotten").await.unwrap());
    assert!(!catalog.quarantine_blob(&row, "rotten").await.unwrap(), "once is enough");
    assert_eq!(catalog.find_blob(id, &layer.0).await.unwrap(), None);
    assert_eq!(catalog.pull_blob(&fixture.repository.full_name(), &layer.0).await.unwrap(), None);
    assert_eq!(catalog.find_linked(id, std::slice::from_ref(&layer.0)).await.unwrap(), []);
    assert_eq!(catalog.mount_blob(id, other.id, &layer.0).await.unwrap(), None);
    let account = fixture.account.id.as_str();
    let wanted = [layer.0.clone()];
    assert_eq!(catalog.mount_readable(other.id, account, &fixture.admin.id, true, &wanted).await.unwrap(), []);
    let pushed = catalog.put_manifest(put(id, "{}", std::slice::from_ref(&layer), &[])).await;
    assert!(matches!(pushed, Err(PutManifestError::BlobUnknown(_))), "{pushed:?}");
    assert_eq!(catalog.blob_of_accounts(&layer.0, &["acme".to_owned()]).await.unwrap(), None);
    let stored = catalog.stored_blob(&layer.0).await.unwrap().unwrap();
    assert_eq!((stored.quarantined.as_deref(), &stored.blob), (Some("rotten"), &row));

    // The same content, pushed to any repository, is right for all of them, and the wrong bytes are condemned.
    blob(&catalog, other.id, "layer").await;
    let healed = catalog.find_blob(id, &layer.0).await.unwrap().unwrap();
    assert_ne!(healed.location, row.location);
    assert!(!catalog.quarantine_blob(&row, "seen long ago").await.unwrap());
    catalog.put_manifest(put(id, "{}", std::slice::from_ref(&layer), &[])).await.unwrap();
    // Where its bytes were right after all it is put back as it was.
    assert!(catalog.quarantine_blob(&healed, "unplugged").await.unwrap());
    assert!(catalog.release_blob(&healed).await.unwrap());
    assert_eq!(catalog.find_blob(id, &layer.0).await.unwrap(), Some(healed));
}

pub(super) async fn repairs_replace_bytes_once(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let layer = blob(&catalog, id, "layer").await;
    let row = catalog.find_blob(id, &layer.0).await.unwrap().unwrap();
    assert_eq!(catalog.claim_repairs(60_000, 10).await.unwrap(), []);
    catalog.quarantine_blob(&row, "rotten").await.unwrap();
    assert_eq!(catalog.claim_repairs(100, 10).await.unwrap().len(), 1);
    assert_eq!(catalog.claim_repairs(100, 10).await.unwrap(), [], "somebody is at it");
    pause(150).await;
    assert_eq!(catalog.claim_repairs(60_000, 10).await.unwrap().len(), 1);
    assert_eq!(catalog.linked_by(&layer.0, 5).await.unwrap(), Some((id, vec!["acme".to_owned()])));
    assert_eq!(catalog.linked_by(&digest("absent"), 5).await.unwrap(), None);

    let mut locations = Vec::new();
    for (again, replaced) in [(false, true), (true, false)] {
        let upload = new_upload(id, 60_000);
        catalog.create_upload(&upload).await.unwrap();
        take(&catalog, &upload.id, "repair", 60_000).await.unwrap().unwrap();
        let done = catalog.finish_repair(&upload.id, "repair", &layer.0, layer.1).await.unwrap();
        assert_eq!(done, replaced, "again: {again}");
        assert_eq!(catalog.find_upload(&upload.id).await.unwrap(), None);
        locations.push(upload.location);
    }
    assert_eq!(catalog.find_blob(id, &layer.0).await.unwrap().unwrap().location, locations[0]);
    catalog.finish_repair("absent", "repair", &layer.0, layer.1).await.unwrap_err();
}

pub(super) async fn peers_get_what_their_accounts_link(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let layer = blob(&catalog, fixture.repository.id, "layer").await.0;
    let other = catalog.create_account("other").await.unwrap();
    let eve = super::user(&catalog, &other, "eve", true).await;
    let theirs = catalog.create_namespace(&namespace_name("theirs"), &eve, 5).await.unwrap();
    let secret = blob(&catalog, repository(&catalog, &theirs, &eve, "app").await.id, "secret").await.0;
    let acme = ["acme".to_owned(), "nobody".to_owned()];
    assert_eq!(catalog.blob_of_accounts(&layer, &acme).await.unwrap().unwrap().digest, layer);
    assert_eq!(catalog.blob_of_accounts(&secret, &acme).await.unwrap(), None);
    assert_eq!(catalog.blob_of_accounts(&layer, &[]).await.unwrap(), None);
    let names = catalog.namespaces_of_accounts(&layer, &acme, 10).await.unwrap();
    assert_eq!(names, [fixture.namespace.name.as_str()]);
    assert_eq!(catalog.namespaces_of_accounts(&secret, &acme, 10).await.unwrap(), Vec::<String>::new());
}

pub(super) async fn rounds_have_one_owner_and_a_place(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let layer = blob(&catalog, fixture.repository.id, "layer").await.0;
    assert_eq!(catalog.take_scrub("a", 60_000).await.unwrap().unwrap().after, None);
    assert_eq!(catalog.take_scrub("b", 60_000).await.unwrap(), None);
    assert!(catalog.save_scrub("a", 1, &layer).await.unwrap());
    pause(20).await;
    // The first owner has been silent for too long: the second goes on where it was.
    assert_eq!(catalog.take_scrub("b", 60_000).await.unwrap().unwrap().after, Some(layer.clone()));
    assert!(!catalog.save_scrub("a", 60_000, &layer).await.unwrap());
    assert!(!catalog.end_scrub("a", 60_000).await.unwrap());
    assert!(catalog.end_scrub("b", 60_000).await.unwrap());
    assert_eq!(catalog.take_scrub("b", 60_000).await.unwrap(), None, "the next round is not due");
}

/// Rows that no foreign key would let in, put there by hand.
pub(super) async fn what_points_at_nothing_is_found(catalog: Catalog, url: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let layer = blob(&catalog, id, "layer").await;
    catalog.put_manifest(put(id, "{}", std::slice::from_ref(&layer), &[super::tag("v1")])).await.unwrap();
    let page = catalog.held_manifests(None, 10).await.unwrap();
    assert_eq!((page.len(), page[0].repository.to_string()), (1, "team/app".to_owned()));
    assert_eq!(catalog.held_manifests(Some((id, &page[0].digest)), 10).await.unwrap(), []);
    let both = [layer.0.clone(), digest("absent")];
    assert_eq!(catalog.missing_links(id, &both).await.unwrap(), [digest("absent")]);
    assert_eq!((catalog.dangling_tags(10).await.unwrap(), catalog.dangling_links(10).await.unwrap()), (vec![], vec![]));
    if !url.starts_with("sqlite:") {
        return;
    }
    // A connection of its own, which does not ask for foreign keys.
    sqlx::any::install_default_drivers();
    let pool = sqlx::any::AnyPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&pool).await.unwrap();
    for sql in ["DELETE FROM manifest", "DELETE FROM manifest_blob", "DELETE FROM blob"] {
        sqlx::query(sql).execute(&pool).await.unwrap();
    }
    pool.close().await;
    assert_eq!(catalog.missing_links(id, &both).await.unwrap().len(), 2);
    let (tags, links) = (catalog.dangling_tags(10).await.unwrap(), catalog.dangling_links(10).await.unwrap());
    assert_eq!((tags[0].repository.as_str(), tags[0].name.as_str()), ("team/app", "v1"));
    assert_eq!((links[0].repository.as_str(), links[0].name.as_str()), ("team/app", layer.0.as_str()));
}
