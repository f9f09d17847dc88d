use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use transship_oci::{Digest, Reference};

use super::{blob, digest, fixture, image, new_upload, put, repository, tag, unread_tombstones};
use crate::{Abandon, Catalog, Condemned, LinkKey, PutManifest, PutManifestError, Remains, Tombstone};

const DAY_MS: i64 = 86_400_000;
const NOW: Remains = Remains::Readable { grace_ms: 0 };

/// Unlinks whatever has no manifest and is as old as the grace; returns what went.
async fn unlink(catalog: &Catalog, grace_ms: i64) -> Vec<LinkKey> {
    let page = catalog.unneeded_links(grace_ms, None, 1000).await.unwrap();
    let mut removed = Vec::new();
    for key in page.garbage {
        for digest in catalog.remove_links(key.repository_id, &[key.digest], grace_ms).await.unwrap() {
            removed.push(LinkKey { repository_id: key.repository_id, digest });
        }
    }
    removed
}

async fn condemn(catalog: &Catalog) -> Condemned {
    let page = catalog.unlinked_blobs(None, 1000).await.unwrap();
    catalog.condemn_blobs(&page.garbage).await.unwrap()
}

async fn due(catalog: &Catalog, remains: Remains) -> Vec<Tombstone> {
    catalog.due_tombstones(remains, None, 1000).await.unwrap()
}

/// As if all links had been made a day and a bit ago.
async fn age_links(catalog: &Catalog) {
    let sql = "UPDATE blob_link SET linked_at = {now} - $1";
    catalog.write(|| catalog.query(sql).bind(DAY_MS + 60_000)).await.unwrap();
}

pub(super) async fn links_go_when_no_manifest_needs_them(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let other = repository(&catalog, &fixture.namespace, &fixture.admin, "other").await;
    let (needed, unneeded) = (blob(&catalog, id, "needed").await, blob(&catalog, id, "unneeded").await);
    catalog.mount_blob(id, other.id, &needed.0).await.unwrap().unwrap();
    catalog.put_manifest(put(id, "manifest", std::slice::from_ref(&needed), &[])).await.unwrap();
    let mut expected = vec![
        LinkKey { repository_id: id, digest: unneeded.0.clone() },
        // The same blob is needed in one repository and not in the other.
        LinkKey { repository_id: other.id, digest: needed.0.clone() },
    ];
    expected.sort();
    assert_eq!(unlink(&catalog, 0).await, expected);
    assert_eq!(unlink(&catalog, 0).await, []);
    assert!(catalog.find_blob(id, &needed.0).await.unwrap().is_some());
    assert_eq!(catalog.wrong_counters(fixture.namespace.id).await.unwrap(), [], "quotas count what is linked");
    // Somebody who saw a link before it was needed takes nothing.
    assert_eq!(catalog.remove_links(id, std::slice::from_ref(&needed.0), 0).await.unwrap(), []);
    // Without its tag a manifest still needs its blobs.
    assert!(catalog.delete_manifest(id, &digest("manifest")).await.unwrap());
    assert_eq!(unlink(&catalog, 0).await, [LinkKey { repository_id: id, digest: needed.0 }]);
}

pub(super) async fn links_stay_for_the_grace(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let (first, second) = (blob(&catalog, id, "first").await, blob(&catalog, id, "second").await);
    assert_eq!(unlink(&catalog, DAY_MS).await, []);
    age_links(&catalog).await;
    // Pushed, mounted or named again, a link is as new.
    blob(&catalog, id, "first").await;
    assert_eq!(unlink(&catalog, DAY_MS).await, [LinkKey { repository_id: id, digest: second.0 }]);
    // The transaction looks at the time again, whatever was seen before.
    assert_eq!(catalog.remove_links(id, &[first.0], DAY_MS).await.unwrap(), []);
}

pub(super) async fn blobs_of_sparse_manifests_stay(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let later = [(digest("later"), 5)];
    catalog.put_manifest(PutManifest { sparse: true, ..put(id, "manifest", &later, &[]) }).await.unwrap();
    blob(&catalog, id, "later").await;
    assert_eq!(unlink(&catalog, 0).await, []);
    assert_eq!(catalog.remove_links(id, &[digest("later")], 0).await.unwrap(), []);
    assert!(catalog.delete_manifest(id, &digest("manifest")).await.unwrap());
    assert_eq!(unlink(&catalog, 0).await.len(), 1);
}

pub(super) async fn deleting_a_manifest_renews_its_links(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let layer = blob(&catalog, id, "layer").await;
    catalog.put_manifest(put(id, "manifest", std::slice::from_ref(&layer), &[])).await.unwrap();
    age_links(&catalog).await;
    // A client may ask for the layer now, hear that it is there, and push an image with it.
    assert!(catalog.delete_manifest(id, &digest("manifest")).await.unwrap());
    assert_eq!(unlink(&catalog, DAY_MS).await, []);
    catalog.put_manifest(put(id, "next", std::slice::from_ref(&layer), &[])).await.unwrap();
}

pub(super) async fn blobs_without_links_are_condemned(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let (kept, gone) = (blob(&catalog, id, "kept").await, blob(&catalog, id, "gone").await);
    let location = catalog.find_blob(id, &gone.0).await.unwrap().unwrap().location;
    assert_eq!(condemn(&catalog).await, Condemned::default());
    catalog.unlink_blob(id, &gone.0).await.unwrap();
    // One that is linked all the same stays, even when somebody has named it garbage.
    let condemned = catalog.condemn_blobs(&[kept.0.clone(), gone.0.clone(), digest("absent")]).await.unwrap();
    assert_eq!(condemned, Condemned { blobs: 1, size_bytes: 4 });
    assert!(catalog.find_blob(id, &kept.0).await.unwrap().is_some());
    let due: Vec<String> = due(&catalog, NOW).await.into_iter().map(|tombstone| tombstone.location).collect();
    assert_eq!(due, [location]);
    assert_eq!(condemn(&catalog).await, Condemned::default());

    // A repository leaves its blobs, and the bytes of its sessions.
    let session = new_upload(id, 60_000);
    catalog.create_upload(&session).await.unwrap();
    assert!(catalog.delete_repository(id).await.unwrap());
    assert_eq!(condemn(&catalog).await, Condemned { blobs: 1, size_bytes: 4 });
    assert_eq!(unread_tombstones(&catalog).await, [session.location]);
}

pub(super) async fn content_pushed_again_gets_a_new_location(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let (digest, _) = blob(&catalog, id, "layer").await;
    let old = catalog.find_blob(id, &digest).await.unwrap().unwrap().location;
    catalog.unlink_blob(id, &digest).await.unwrap();
    condemn(&catalog).await;
    assert_eq!(catalog.mount_blob(id, id, &digest).await.unwrap(), None, "a condemned blob cannot be linked");
    blob(&catalog, id, "layer").await;
    let new = catalog.find_blob(id, &digest).await.unwrap().unwrap().location;
    assert_ne!(new, old);
    // However late the sweep comes, it deletes the old bytes.
    let due = due(&catalog, NOW).await;
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].location, old);
    assert!(catalog.forget_tombstone(&old).await.unwrap());
}

pub(super) async fn unnamed_bytes_are_condemned(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let layer = blob(&catalog, id, "layer").await;
    let of_blob = catalog.find_blob(id, &layer.0).await.unwrap().unwrap().location;
    let (open, abandoned) = (new_upload(id, 60_000), new_upload(id, 60_000));
    for session in [&open, &abandoned] {
        catalog.create_upload(session).await.unwrap();
    }
    catalog.abandon_upload(&abandoned.id, Abandon::User).await.unwrap();
    let found = ["00/unknown", of_blob.as_str(), open.location.as_str(), abandoned.location.as_str()];
    assert_eq!(catalog.unnamed_locations(&found).await.unwrap(), ["00/unknown"]);
    assert_eq!(catalog.unnamed_locations::<&str>(&[]).await.unwrap(), [""; 0]);
    // Looked at again in the statement that condemns.
    let found = found.map(str::to_owned);
    assert_eq!(catalog.condemn_unnamed(&found).await.unwrap(), 1);
    assert_eq!(catalog.condemn_unnamed(&found).await.unwrap(), 0);
    assert_eq!(catalog.unnamed_locations(&found).await.unwrap(), [""; 0]);
    assert_eq!(due(&catalog, Remains::Readable { grace_ms: DAY_MS }).await, [], "not before the grace");
    assert_eq!(due(&catalog, NOW).await[0].location, "00/unknown");
    assert_eq!(unread_tombstones(&catalog).await, [abandoned.location]);
}

pub(super) async fn tombstones_wait_for_readers(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    for n in 0..5 {
        let (digest, _) = blob(&catalog, id, &format!("layer {n}")).await;
        catalog.unlink_blob(id, &digest).await.unwrap();
    }
    assert_eq!(condemn(&catalog).await.blobs, 5);
    assert_eq!(due(&catalog, Remains::Readable { grace_ms: DAY_MS }).await, []);
    assert_eq!(due(&catalog, Remains::Unread).await, []);
    // The walk goes on behind one that could not be deleted.
    let all = due(&catalog, NOW).await;
    let rest = catalog.due_tombstones(NOW, Some(&all[1]), 2).await.unwrap();
    assert_eq!(rest, all[2..4]);
    assert_eq!(catalog.due_tombstones(NOW, Some(&all[4]), 2).await.unwrap(), []);
    // What a row names is never handed out, even if something put it here.
    blob(&catalog, id, "live").await;
    let sql = "INSERT INTO tombstone (location, condemned_at, was_readable) SELECT location, 0, 1 FROM blob";
    assert_eq!(catalog.write(|| catalog.query(sql)).await.unwrap(), 1);
    assert_eq!(due(&catalog, NOW).await, all);
}

pub(super) async fn walks_see_every_page(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let other = repository(&catalog, &fixture.namespace, &fixture.admin, "other").await;
    let mut expected = Vec::new();
    for n in 0..7 {
        for repository_id in [fixture.repository.id, other.id] {
            let (digest, _) = blob(&catalog, repository_id, &format!("layer {n}")).await;
            expected.push(LinkKey { repository_id, digest });
        }
    }
    expected.sort();
    let (mut links, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.unneeded_links(0, after.as_ref(), 3).await.unwrap();
        links.extend(page.garbage);
        after = page.last;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(links, expected);
    for LinkKey { repository_id, digest } in links {
        assert_eq!(catalog.remove_links(repository_id, &[digest], 0).await.unwrap().len(), 1);
    }
    let (mut blobs, mut after): (Vec<Digest>, _) = (Vec::new(), None);
    loop {
        let page = catalog.unlinked_blobs(after.as_ref(), 3).await.unwrap();
        blobs.extend(page.garbage);
        after = page.last;
        if after.is_none() {
            break;
        }
    }
    let mut digests: Vec<Digest> = expected.into_iter().map(|link| link.digest).collect();
    digests.sort();
    digests.dedup();
    assert_eq!(blobs, digests);
}

/// Writers that share layers and delete each other's old images, against two collectors with a grace of 0: an image whose
/// push was acknowledged has all its blobs, at any moment (F7 in the catalog alone).
pub(super) async fn pushes_against_collection(catalog: Catalog, url: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    // A second replica, or with SQLite a second process.
    let second = Catalog::open(&url).await.unwrap();
    let condemned = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut collectors = JoinSet::new();
    for catalog in [catalog.clone(), second.clone()] {
        let (stopped, condemned) = (stopped.clone(), Arc::clone(&condemned));
        collectors.spawn(async move {
            while !*stopped.borrow() {
                unlink(&catalog, 0).await;
                condemned.fetch_add(condemn(&catalog).await.blobs, Ordering::Relaxed);
                for tombstone in due(&catalog, NOW).await {
                    catalog.forget_tombstone(&tombstone.location).await.unwrap();
                }
                // With a grace of 0 and no pause the writers would hardly ever get an image whole.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    let mut writers = JoinSet::new();
    for writer in 0..6_usize {
        let (catalog, condemned) =
            (if writer % 2 == 0 { catalog.clone() } else { second.clone() }, Arc::clone(&condemned));
        writers.spawn(async move {
            // Until enough was collected beside them; the limit is for a collector that collects nothing.
            for round in 0..500_usize {
                if round >= 8 && condemned.load(Ordering::Relaxed) >= 20 {
                    break;
                }
                let raw = format!("image {writer} {round}");
                let shared = format!("layer {}", (writer + round) % 4);
                let layers = loop {
                    let layers = [blob(&catalog, id, &raw).await, blob(&catalog, id, &shared).await];
                    match catalog.put_manifest(put(id, &raw, &layers, &[tag(&format!("v{writer}"))])).await {
                        Ok(_) => break layers,
                        Err(PutManifestError::BlobUnknown(_)) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                };
                for (digest, _) in &layers {
                    assert!(catalog.find_blob(id, digest).await.unwrap().is_some(), "{raw} lacks {digest}");
                }
                if round > 0 {
                    assert!(
                        catalog.delete_manifest(id, &digest(&format!("image {writer} {}", round - 1))).await.unwrap()
                    );
                }
                for (digest, _) in &layers {
                    assert!(catalog.find_blob(id, digest).await.unwrap().is_some(), "{raw} lacks {digest}");
                }
            }
        });
    }
    writers.join_all().await;
    stop.send(true).unwrap();
    collectors.join_all().await;
    // Otherwise nothing was at stake.
    assert!(condemned.load(Ordering::Relaxed) >= 20, "hardly anything was collected");
    for writer in 0..6 {
        let last = Reference::Tag(tag(&format!("v{writer}")));
        assert!(catalog.find_manifest(id, &last).await.unwrap().is_some());
    }
    assert_eq!(catalog.wrong_counters(fixture.namespace.id).await.unwrap(), [], "quotas count what is linked");
    image(&catalog, id, "afterwards", "latest").await;
    second.close().await;
}
