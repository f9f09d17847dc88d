use tokio::task::JoinSet;

use super::{blob, digest, fixture, image, namespace_name, new_repository, new_upload, put, repository, tag};
use crate::{Catalog, CatalogError, Limit, PutManifestError, Quotas, Resource, TagCondition};

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
    assert_eq!(used(&catalog, namespace).await, [12, 2, 4]);
    catalog.delete_tag(id, &tag("a")).await.unwrap();
    assert_eq!(used(&catalog, namespace).await, [12, 2, 3]);
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
    let room = async |text: &str| catalog.require_room(&name, Some(&digest(text)), text.len() as u64).await;
    assert_eq!(refused(room("abcdef").await), (Resource::Bytes, 15, 10, 6));
    room("abcde").await.unwrap();
    room("0123456789").await.unwrap();
    assert_eq!(refused(catalog.require_room(&name, None, 6).await), (Resource::Bytes, 15, 10, 6));

    let upload = new_upload(id, 60_000);
    catalog.create_upload(&upload).await.unwrap();
    catalog.take_writer(&upload.id, "writer", 10_000).await.unwrap().unwrap();
    let finished = catalog.finish_upload(&upload.id, "writer", &digest("abcdef"), 6).await;
    assert_eq!(refused(finished), (Resource::Bytes, 15, 10, 6));
    assert!(catalog.find_upload(&upload.id).await.unwrap().is_some(), "the session is its owner's to end");
    assert_eq!(catalog.find_blob(id, &digest("abcdef")).await.unwrap(), None);
    // What is there already may come again and again, also when the limit has come down below it.
    catalog.set_quotas(&name, &[(Resource::Bytes, Limit::At(5))]).await.unwrap().unwrap();
    blob(&catalog, id, "0123456789").await;
    let second = repository(&catalog, &fixture.namespace, &fixture.admin, "second").await;
    blob(&catalog, second.id, "0123456789").await;
    catalog.mount_blob(id, second.id, &ten.0).await.unwrap().unwrap();

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
    catalog.set_quotas(&name, &[(Resource::Tags, Limit::Unlimited), (Resource::Bytes, Limit::Default)]).await.unwrap();
    image(&catalog, id, "n", "b").await;
    assert_eq!(used(&catalog, namespace).await, [10, 2, 3]);
    assert_eq!(catalog.set_quotas(&namespace_name("nobody"), &[]).await.unwrap(), None);
}

/// Sixteen pushes at once, each of which would fit alone.
pub(super) async fn pushes_at_once_do_not_overshoot(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let namespace = fixture.namespace.id;
    let other = repository(&catalog, &fixture.namespace, &fixture.admin, "other").await;
    let limits = [(Resource::Bytes, Limit::At(50)), (Resource::Tags, Limit::At(3))];
    catalog.set_quotas(&namespace_name("team"), &limits).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..16_i64 {
        let catalog = catalog.clone();
        // Each content is pushed to both repositories: it counts once.
        let id = if n % 2 == 0 { fixture.repository.id } else { other.id };
        tasks.spawn(async move {
            let upload = new_upload(id, 60_000);
            catalog.create_upload(&upload).await.unwrap();
            catalog.take_writer(&upload.id, "writer", 10_000).await.unwrap().unwrap();
            let content = digest(&format!("content {}", n / 2));
            let linked = catalog.finish_upload(&upload.id, "writer", &content, 10).await.is_ok();
            let raw = format!("image {n}");
            let tagged = catalog.put_manifest(put(id, &raw, &[], &[tag(&format!("v{n}"))])).await.is_ok();
            (linked, tagged)
        });
    }
    let done = tasks.join_all().await;
    let count = |which: fn(&(bool, bool)) -> bool| done.iter().filter(|one| which(one)).count();
    assert_eq!(used(&catalog, namespace).await, [50, 2, 3]);
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
