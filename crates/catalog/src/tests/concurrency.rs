//! Many at once. Each of these fails when a transaction relies on a row that it does not update.

use std::collections::HashMap;

use tokio::task::JoinSet;
use transship_oci::Reference;

use super::jobs::new_job;
use super::{blob, digest, finish, fixture, image, new_repository, new_upload, put, tag, take, unread_tombstones};
use crate::{Catalog, JobState, NewJob, PutManifest, PutManifestError, TagCondition, Unlinked};

const LEASE_MS: i64 = 30_000;
const TASKS: usize = 16;

pub(super) async fn no_job_is_claimed_twice(catalog: Catalog, url: String) {
    let fixture = fixture(&catalog).await;
    // A second replica, or with SQLite a second process.
    let second = Catalog::open(&url).await.unwrap();
    let jobs: Vec<NewJob> = (0..60)
        .map(|n| NewJob { target_region: format!("region-{}", n % 3), ..new_job(&fixture, &format!("v{n}")) })
        .collect();
    let mut queued = Vec::new();
    let mut tasks = JoinSet::new();
    for worker in 0..TASKS {
        let (catalog, jobs) = (if worker % 2 == 0 { catalog.clone() } else { second.clone() }, jobs.clone());
        tasks.spawn(async move {
            let mut done = Vec::new();
            if worker % 5 == 0 {
                catalog.enqueue_jobs(&jobs, 1000).await.unwrap();
            }
            // Until the queue is empty several times in a row, as others may just be adding to it.
            let mut idle = 0;
            while idle < 5 {
                let claimed = catalog.claim_jobs(&format!("worker-{worker}"), LEASE_MS, 3, 4).await.unwrap();
                idle = if claimed.is_empty() { idle + 1 } else { 0 };
                for job in claimed {
                    assert_eq!(job.attempt, 1, "{job:?}");
                    let running = catalog
                        .read_optional(|| {
                            catalog.query(
                                "SELECT COUNT(*) AS running FROM job WHERE state = 'running'
                                GROUP BY target_region ORDER BY 1 DESC LIMIT 1",
                            )
                        })
                        .await
                        .unwrap();
                    let running: i64 = running.map_or(0, |row| sqlx::Row::get(&row, "running"));
                    assert!(running <= 4, "{running} of one region");
                    assert!(catalog.finish_job(job.id, job.attempt, JobState::Success, None).await.unwrap());
                    done.push(job.id);
                }
                if idle > 0 {
                    super::pause(20).await;
                }
            }
            done
        });
    }
    while let Some(done) = tasks.join_next().await {
        queued.extend(done.unwrap());
    }
    let count = queued.len();
    queued.sort_unstable();
    queued.dedup();
    assert_eq!(queued.len(), count, "some job was claimed twice");
    let (all, total) = catalog.list_jobs(fixture.repository.id, 1000, 0, false).await.unwrap();
    assert_eq!(total, i64::try_from(count).unwrap());
    assert!(all.iter().all(|job| job.state == JobState::Success));
}

pub(super) async fn equal_enqueues_make_one_job(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let mut jobs = ["v1", "v2", "v3"].map(|tag| new_job(&fixture, tag));
        jobs.rotate_left(n % 3);
        let catalog = catalog.clone();
        tasks.spawn(async move {
            let ids = catalog.enqueue_jobs(&jobs, 1000).await.unwrap();
            jobs.into_iter().map(|job| job.tag).zip(ids).collect::<Vec<_>>()
        });
    }
    let mut by_tag: HashMap<String, i64> = HashMap::new();
    while let Some(ids) = tasks.join_next().await {
        for (tag, id) in ids.unwrap() {
            assert_eq!(*by_tag.entry(tag).or_insert(id), id, "one job for each tag");
        }
    }
    assert_eq!(catalog.list_jobs(fixture.repository.id, 10, 0, false).await.unwrap().1, 3);
}

/// Whatever the order, either the manifest is there with all its blobs, or neither is (I3).
pub(super) async fn pushes_against_unlinking(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    for round in 0..25 {
        let layers: Vec<_> =
            [blob(&catalog, id, &format!("a{round}")).await, blob(&catalog, id, &format!("b{round}")).await].into();
        let raw = format!("manifest {round}");
        let pusher = {
            let (catalog, layers, raw) = (catalog.clone(), layers.clone(), raw.clone());
            tokio::spawn(async move { catalog.put_manifest(put(id, &raw, &layers, &[])).await })
        };
        let unlinker = {
            let (catalog, victim) = (catalog.clone(), layers[1].0.clone());
            tokio::spawn(async move { catalog.unlink_blob(id, &victim).await })
        };
        match (pusher.await.unwrap(), unlinker.await.unwrap().unwrap()) {
            (Ok(_), Unlinked::InUse) => {
                assert_eq!(
                    catalog.find_linked(id, &[layers[0].0.clone(), layers[1].0.clone()]).await.unwrap().len(),
                    2
                );
            }
            (Err(PutManifestError::BlobUnknown(_)), Unlinked::Done) => {
                let reference = Reference::Digest(digest(&raw));
                assert_eq!(catalog.find_manifest(id, &reference).await.unwrap(), None);
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
}

/// Of many conditional moves exactly one wins each time (I4).
pub(super) async fn tags_move_one_after_another(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    for condition in [TagCondition::IfAbsent, TagCondition::IfDigest(digest("base"))] {
        if condition != TagCondition::IfAbsent {
            image(&catalog, id, "base", "v1").await;
        }
        let mut tasks = JoinSet::new();
        for n in 0..TASKS {
            let (catalog, condition) = (catalog.clone(), condition.clone());
            tasks.spawn(async move {
                let raw = format!("image {n}");
                let tags = [tag("v1")];
                match catalog.put_manifest(PutManifest { condition, ..put(id, &raw, &[], &tags) }).await {
                    Ok(_) => Some(digest(&raw)),
                    Err(PutManifestError::ConditionFailed { current: Some(_), .. }) => None,
                    Err(other) => panic!("{other:?}"),
                }
            });
        }
        let winners: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(catalog.resolve_tag(id, &tag("v1")).await.unwrap(), Some(winners[0].clone()));
    }
    // Without a condition all succeed, and the tag is one of them.
    let mut tasks = JoinSet::new();
    for n in 0..TASKS {
        let catalog = catalog.clone();
        tasks.spawn(async move { image(&catalog, id, &format!("last {n}"), "v1").await });
    }
    let pushed = tasks.join_all().await;
    assert!(pushed.contains(&catalog.resolve_tag(id, &tag("v1")).await.unwrap().unwrap()));
}

pub(super) async fn one_repository_of_many_makers(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (catalog, new) = (catalog.clone(), new_repository(&fixture.namespace, &fixture.admin, "new"));
        tasks.spawn(async move { catalog.ensure_repository(new).await.unwrap().id });
    }
    let mut made = tasks.join_all().await;
    made.dedup();
    assert_eq!(made.len(), 1);
}

/// One copy of the bytes, and everybody succeeds (F10).
pub(super) async fn equal_uploads_end_in_one_blob(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let catalog = catalog.clone();
        tasks.spawn(async move {
            let upload = new_upload(id, 60_000);
            catalog.create_upload(&upload).await.unwrap();
            take(&catalog, &upload.id, "writer", LEASE_MS).await.unwrap().unwrap();
            let finished = finish(&catalog, &upload.id, "writer", &digest("same"), 4).await.unwrap();
            (upload.location, finished.unused_location)
        });
    }
    let finished = tasks.join_all().await;
    let kept: Vec<_> = finished.iter().filter(|(_, unused)| unused.is_none()).map(|(own, _)| own.clone()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(catalog.find_blob(id, &digest("same")).await.unwrap().unwrap().location, kept[0]);
    let tombstones = unread_tombstones(&catalog).await;
    assert_eq!(tombstones.len(), TASKS - 1);
    assert!(!tombstones.contains(&kept[0]));
}

/// Pushes that touch the same rows in different orders do not wait for each other in a circle.
pub(super) async fn pushes_with_common_blobs(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let mut layers = Vec::new();
    for n in 0..12 {
        layers.push(blob(&catalog, id, &format!("layer {n}")).await);
    }
    let begun = std::time::Instant::now();
    let mut tasks = JoinSet::new();
    for n in 0..TASKS {
        let catalog = catalog.clone();
        let mut layers = layers.clone();
        layers.rotate_left(n % 12);
        tasks.spawn(async move {
            for round in 0..5 {
                let raw = format!("image {n} {round}");
                let tags = [tag("latest"), tag(&format!("v{n}"))];
                catalog.put_manifest(put(id, &raw, &layers[..8], &tags)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    assert_eq!(catalog.list_tags(id, None, 100).await.unwrap().len(), TASKS + 1);
}
