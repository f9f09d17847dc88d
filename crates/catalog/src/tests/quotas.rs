use tokio::task::JoinSet;

use super::{
    blob, digest, finish, fixture, image, namespace_name, new_repository, new_upload, put, repository, tag, take,
};
use crate::{
    Abandon, Catalog, CatalogError, Checkpoint, Limit, PutManifestError, Quotas, Resource, Resume, TagCondition,
};

/// Bytes, repositories and tags that the counters tell, which must be what is there.
async fn used(catalog: &Catalog, namespace_id: i64) -> [i64; 3] {
    assert_eq!(catalog.wrong_counters(namespace_id).await.unwrap(), []);
    let usages = catalog.namespace_usages(namespace_id - 1, 1).await.unwrap();
    usages[0].usage.map(|one| one.used)
}

fn refused<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> (Resource, i64, i64, i64) {
    match result {
        Err(CatalogError::QuotaExceeded(e)) => (e.resource, e.limit, e.used, e.asked),
        other => panic!("not refused: {other:?}"),
    }
}

pub(super) async fn counters_follow_every_change(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let (id, namespace) = (fixture.repository.id, fixture.namespace.id);
    assert_eq!(used(&catalog, namespace).await, [0, 1, 0]);
    let layer = blob(&catalog, id, "0123456789").await;
    let config = blob(&catalog, id, "{}").await;
    blob(&catalog, id, "0123456789").await;
    assert_eq!(used(&catalog, namespace).await, [12, 1, 0]);

    // A second repository of the namespace shares; one of another namespace does not.
    let second = repository(&catalog, &fixture.namespace, &fixture.admin, "second").await;
    let elsewhere = catalog.create_namespace(&namespace_name("elsewhere"), &fixture.admin, 5).await.unwrap();
    let third = repository(&catalog, &elsewhere, &fixture.admin, "third").await;
    for to in [second.id, third.id] {
        catalog.mount_blob(id, to, &layer.0).await.unwrap().unwrap();
    }
    let both = [layer.0.clone(), config.0.clone()];
    let account = fixture.account.id.as_str();
    catalog.mount_readable(third.id, account, &fixture.admin.id, true, &both).await.unwrap();
    assert_eq!((used(&catalog, namespace).await, used(&catalog, elsewhere.id).await), ([12, 2, 0], [12, 1, 0]));

    let blobs = [layer.clone(), config.clone()];
    catalog.put_manifest(put(id, "m1", &blobs, &[tag("a"), tag("b")])).await.unwrap();
    catalog.put_manifest(put(id, "m2", &blobs, &[tag("b"), tag("c")])).await.unwrap();
    catalog.put_tag(id, &tag("d"), &digest("m2"), TagCondition::Always).await.unwrap();
    catalog.put_tag(id, &tag("a"), &digest("m2"), TagCondition::Always).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [16, 2, 4]);
    catalog.delete_tag(id, &tag("a")).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [16, 2, 3]);
    catalog.delete_manifest(id, &digest("m2")).await.unwrap();
    catalog.delete_manifest(id, &digest("m1")).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [12, 2, 0]);

    catalog.unlink_blob(id, &config.0).await.unwrap();
    catalog.unlink_blob(id, &layer.0).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [10, 2, 0], "the second repository still links the layer");
    image(&catalog, second.id, "m3", "v1").await;
    catalog.delete_repository(second.id).await.unwrap();
    assert_eq!((used(&catalog, namespace).await, used(&catalog, elsewhere.id).await), ([0, 1, 0], [12, 1, 0]));
}

pub(super) async fn what_does_not_fit_changes_nothing(catalog: Catalog, _: String) {
    let catalog = catalog.with_quotas(Quotas { bytes: Some(15), repositories: Some(2), tags: Some(2) });
    let fixture = fixture(&catalog).await;
    let (id, namespace) = (fixture.repository.id, fixture.namespace.id);
    let ten = blob(&catalog, id, "0123456789").await;
    let name = namespace_name("team");
    let room = async |text: &str| catalog.require_room(&name, Some(&digest(text)), text.len() as u64, 0).await;
    assert_eq!(refused(room("abcdef").await), (Resource::Bytes, 15, 10, 6));
    room("abcde").await.unwrap();
    room("0123456789").await.unwrap();
    assert_eq!(refused(catalog.require_room(&name, None, 6, 0).await), (Resource::Bytes, 15, 10, 6));

    let upload = new_upload(id, 60_000);
    catalog.create_upload(&upload).await.unwrap();
    take(&catalog, &upload.id, "writer", 10_000).await.unwrap().unwrap();
    let finished = finish(&catalog, &upload.id, "writer", &digest("abcdef"), 6).await;
    assert_eq!(refused(finished), (Resource::Bytes, 15, 10, 6));
    assert!(catalog.find_upload(&upload.id).await.unwrap().is_some(), "the session is its owner's to end");
    assert_eq!(catalog.find_blob(id, &digest("abcdef")).await.unwrap(), None);
    // What is there already may come again and again, also when the limit has come down below it.
    catalog.set_quotas(&name, &[(Resource::Bytes, Limit::At(5))]).await.unwrap().unwrap();
    blob(&catalog, id, "0123456789").await;
    let second = repository(&catalog, &fixture.namespace, &fixture.admin, "second").await;
    blob(&catalog, second.id, "0123456789").await;
    catalog.mount_blob(id, second.id, &ten.0).await.unwrap().unwrap();
    catalog.set_quotas(&name, &[(Resource::Bytes, Limit::Default)]).await.unwrap().unwrap();

    let third = catalog.create_repository(new_repository(&fixture.namespace, &fixture.admin, "third")).await;
    assert_eq!(refused(third), (Resource::Repositories, 2, 2, 1));
    let third = catalog.ensure_repository(new_repository(&fixture.namespace, &fixture.admin, "third")).await;
    assert_eq!(refused(third), (Resource::Repositories, 2, 2, 1));
    catalog.ensure_repository(new_repository(&fixture.namespace, &fixture.admin, "second")).await.unwrap();

    let pushed = catalog.put_manifest(put(id, "m", &[], &[tag("a"), tag("b"), tag("c")])).await;
    let Err(PutManifestError::Catalog(error)) = pushed else { panic!("not refused: {pushed:?}") };
    assert_eq!(refused::<()>(Err(error)), (Resource::Tags, 2, 0, 3));
    assert_eq!(catalog.manifest_exists(id, &[digest("m")]).await.unwrap(), []);
    image(&catalog, id, "m", "a").await;
    image(&catalog, second.id, "m", "a").await;
    image(&catalog, id, "n", "a").await;
    catalog.set_quotas(&name, &[(Resource::Tags, Limit::Unlimited)]).await.unwrap();
    image(&catalog, id, "n", "b").await;
    assert_eq!(used(&catalog, namespace).await, [12, 2, 3]);
    assert_eq!(catalog.set_quotas(&namespace_name("nobody"), &[]).await.unwrap(), None);
}

/// Sixteen pushes at once, each of which would fit alone.
pub(super) async fn pushes_at_once_do_not_overshoot(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let namespace = fixture.namespace.id;
    let other = repository(&catalog, &fixture.namespace, &fixture.admin, "other").await;
    let limits = [(Resource::Bytes, Limit::At(55)), (Resource::Tags, Limit::At(3))];
    catalog.set_quotas(&namespace_name("team"), &limits).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..16_i64 {
        let catalog = catalog.clone();
        // Each content is pushed to both repositories: it counts once.
        let id = if n % 2 == 0 { fixture.repository.id } else { other.id };
        tasks.spawn(async move {
            let upload = new_upload(id, 60_000);
            catalog.create_upload(&upload).await.unwrap();
            take(&catalog, &upload.id, "writer", 10_000).await.unwrap().unwrap();
            let content = digest(&format!("content {}", n / 2));
            let linked = finish(&catalog, &upload.id, "writer", &content, 10).await.is_ok();
            let tagged = catalog.put_manifest(put(id, "image", &[], &[tag(&format!("v{n}"))])).await.is_ok();
            (linked, tagged)
        });
    }
    let done = tasks.join_all().await;
    let count = |which: fn(&(bool, bool)) -> bool| done.iter().filter(|one| which(one)).count();
    assert_eq!(used(&catalog, namespace).await, [55, 2, 3]);
    assert_eq!(count(|one| one.1), 3);
    assert!((5..=10).contains(&count(|one| one.0)), "five contents fit, in one repository or in both");
}

pub(super) async fn counters_are_made_right(catalog: Catalog, url: String) {
    let fixture = fixture(&catalog).await;
    blob(&catalog, fixture.repository.id, "0123456789").await;
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    sqlx::query("UPDATE namespace SET used_bytes = 7, used_tags = -1").execute(&pool).await.unwrap();
    pool.close().await;
    let found = catalog.wrong_counters(fixture.namespace.id).await.unwrap();
    let told: Vec<_> = found.iter().map(|wrong| (wrong.resource, wrong.says, wrong.is)).collect();
    assert_eq!(told, [(Resource::Bytes, 7, 10), (Resource::Tags, -1, 0)]);
    assert_eq!(catalog.recount(fixture.namespace.id).await.unwrap(), found);
    assert_eq!(used(&catalog, fixture.namespace.id).await, [10, 1, 0]);
}

pub(super) async fn manifests_count_once_in_a_namespace(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let (id, namespace) = (fixture.repository.id, fixture.namespace.id);
    let second = repository(&catalog, &fixture.namespace, &fixture.admin, "second").await;
    for (repository, tag) in [(id, "v1"), (id, "v2"), (second.id, "v1")] {
        image(&catalog, repository, "0123456789", tag).await;
    }
    assert_eq!(used(&catalog, namespace).await, [10, 2, 3]);
    // What the organization has needs no room; anything else does.
    let name = namespace_name("team");
    catalog.set_quotas(&name, &[(Resource::Bytes, Limit::At(12))]).await.unwrap();
    let third = repository(&catalog, &fixture.namespace, &fixture.admin, "third").await;
    image(&catalog, third.id, "0123456789", "v1").await;
    match catalog.put_manifest(put(third.id, "abc", &[], &[])).await {
        Err(PutManifestError::Catalog(CatalogError::QuotaExceeded(e))) => {
            assert_eq!((e.resource, e.limit, e.used, e.asked), (Resource::Bytes, 12, 10, 3));
        }
        other => panic!("not refused: {other:?}"),
    }
    assert_eq!(used(&catalog, namespace).await, [10, 3, 4]);
    catalog.delete_repository(second.id).await.unwrap();
    catalog.delete_manifest(id, &digest("0123456789")).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [10, 2, 1], "the third repository still holds it");
    catalog.delete_repository(third.id).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [0, 1, 0]);
}

async fn checkpoint(catalog: &Catalog, id: &str, durable_bytes: u64, beyond_quota: bool) -> Result<bool, CatalogError> {
    let resume = Some(Resume { hash_state: "hash", store_state: "store" });
    let checkpoint = Checkpoint { durable_bytes, resume, beyond_quota };
    catalog.save_checkpoint(id, "writer", checkpoint, 10_000).await
}

async fn session(catalog: &Catalog, repository_id: i64) -> String {
    let upload = new_upload(repository_id, 60_000);
    catalog.create_upload(&upload).await.unwrap();
    take(catalog, &upload.id, "writer", 10_000).await.unwrap().unwrap();
    upload.id
}

pub(super) async fn open_uploads_count(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let (id, namespace, name) = (fixture.repository.id, fixture.namespace.id, namespace_name("team"));
    catalog.set_quotas(&name, &[(Resource::Bytes, Limit::At(20))]).await.unwrap();
    let (one, other) = (session(&catalog, id).await, session(&catalog, id).await);
    assert!(checkpoint(&catalog, &one, 8, false).await.unwrap());
    assert!(checkpoint(&catalog, &one, 8, false).await.unwrap(), "the same again counts once");
    assert!(checkpoint(&catalog, &one, 12, false).await.unwrap());
    assert_eq!(used(&catalog, namespace).await, [12, 1, 0]);
    assert_eq!(refused(checkpoint(&catalog, &other, 9, false).await), (Resource::Bytes, 20, 12, 9));
    assert_eq!(catalog.find_upload(&other).await.unwrap().unwrap().offset_bytes, 0, "nothing was recorded");
    assert!(checkpoint(&catalog, &other, 8, false).await.unwrap());
    assert_eq!(refused(catalog.require_room(&name, None, 10, 8).await), (Resource::Bytes, 20, 20, 2));
    catalog.require_room(&name, None, 8, 8).await.unwrap();
    // Bytes that are said to be content that is there already are accepted beyond the limit. They are not counted, so
    // if they turn out to be something else they are refused.
    assert!(checkpoint(&catalog, &other, 30, true).await.unwrap());
    assert_eq!(used(&catalog, namespace).await, [20, 1, 0]);
    let held = catalog.find_upload(&other).await.unwrap().unwrap();
    assert_eq!((held.offset_bytes, held.reserved_bytes), (30, 8));
    assert_eq!(refused(finish(&catalog, &other, "writer", &digest("junk"), 30).await), (Resource::Bytes, 20, 20, 22));
    let unsaved = |beyond_quota| Checkpoint { durable_bytes: 30, resume: None, beyond_quota };
    assert!(catalog.save_checkpoint(&other, "writer", unsaved(true), 10_000).await.unwrap());
    assert_eq!(used(&catalog, namespace).await, [20, 1, 0]);
    let counted = catalog.save_checkpoint(&other, "writer", unsaved(false), 10_000).await;
    assert_eq!(refused(counted), (Resource::Bytes, 20, 20, 22));

    // A session that becomes a blob counts as that; one that is taken back, or is content that was there, as nothing.
    finish(&catalog, &one, "writer", &digest("012345678901"), 12).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [20, 1, 0]);
    assert!(catalog.abandon_upload(&other, Abandon::User).await.unwrap().is_some());
    assert_eq!(used(&catalog, namespace).await, [12, 1, 0]);
    assert_eq!(catalog.size_in_namespace(id, &digest("012345678901")).await.unwrap(), Some(12));
    assert_eq!(catalog.size_in_namespace(id, &digest("other")).await.unwrap(), None);
    let again = session(&catalog, id).await;
    assert!(checkpoint(&catalog, &again, 7, false).await.unwrap());
    finish(&catalog, &again, "writer", &digest("012345678901"), 12).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [12, 1, 0]);
    // Bytes that no later writer can continue from count as long as they are there.
    let cut = session(&catalog, id).await;
    let unsaved = Checkpoint { durable_bytes: 6, resume: None, beyond_quota: false };
    assert!(catalog.save_checkpoint(&cut, "writer", unsaved, 10_000).await.unwrap());
    assert_eq!(catalog.find_upload(&cut).await.unwrap().unwrap().offset_bytes, 0);
    assert_eq!(used(&catalog, namespace).await, [18, 1, 0]);
    // A repository takes its sessions along.
    catalog.delete_repository(id).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [0, 0, 0]);
}

/// Sixteen streams at once, each of which would fit alone.
pub(super) async fn uploads_at_once_do_not_overshoot(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    catalog.set_quotas(&namespace_name("team"), &[(Resource::Bytes, Limit::At(100))]).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..16_u64 {
        let catalog = catalog.clone();
        tasks.spawn(async move {
            let session = session(&catalog, id).await;
            let mut kept = 0;
            for step in 1..=5 {
                match checkpoint(&catalog, &session, step * 5, false).await {
                    Ok(is_writer) => kept = if is_writer { step * 5 } else { panic!("it is the writer") },
                    Err(CatalogError::QuotaExceeded(_)) => break,
                    Err(other) => panic!("{other}"),
                }
            }
            if n % 2 == 0 {
                catalog.abandon_upload(&session, Abandon::Writer("writer")).await.unwrap().unwrap();
                return 0;
            }
            kept
        });
    }
    let kept: u64 = tasks.join_all().await.into_iter().sum();
    assert!(kept <= 100, "{kept}");
    assert_eq!(used(&catalog, fixture.namespace.id).await[0], i64::try_from(kept).unwrap());
}
