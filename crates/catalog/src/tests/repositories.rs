use super::{
    blob, fixture, image, namespace_name, new_repository, new_upload, now_ms, pause, repository, repository_name,
    unread_tombstones, user,
};
use crate::{Catalog, CatalogError, JobState, Level, ListRepositories, RepoOrder, User};

pub(super) async fn repositories_are_made_once(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    assert_eq!(fixture.repository.full_name(), repository_name("team/app"));
    assert!(fixture.repository.id < 1 << 31);
    assert!((fixture.repository.updated_at_ms - now_ms()).abs() < 60_000);
    let new = || new_repository(&fixture.namespace, &fixture.admin, "app");
    let again = catalog.create_repository(new()).await;
    assert!(matches!(again, Err(CatalogError::Conflict { .. })), "{again:?}");
    assert_eq!(catalog.ensure_repository(new()).await.unwrap(), fixture.repository);
    assert_eq!(
        catalog.find_repository(&repository_name("team/app")).await.unwrap().as_ref(),
        Some(&fixture.repository)
    );
    assert_eq!(catalog.find_repository(&repository_name("team/none")).await.unwrap(), None);
    let made = catalog.ensure_repository(new_repository(&fixture.namespace, &fixture.admin, "a/b")).await.unwrap();
    assert_eq!(catalog.find_repository(&repository_name("team/a/b")).await.unwrap(), Some(made));
}

pub(super) async fn changes_are_kept(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    pause(5).await;
    catalog.update_repository(fixture.repository.id, true, "linux", "text").await.unwrap();
    let changed = catalog.find_repository(&repository_name("team/app")).await.unwrap().unwrap();
    assert_eq!((changed.is_public, changed.category.as_str(), changed.description.as_str()), (true, "linux", "text"));
    assert!(changed.updated_at_ms > fixture.repository.updated_at_ms);
    assert_eq!(changed.created_at_ms, fixture.repository.created_at_ms);
    let nothing = catalog.update_repository(99, true, "linux", "").await;
    assert!(matches!(nothing, Err(CatalogError::NotFound { .. })), "{nothing:?}");
}

pub(super) async fn deletion_takes_everything_along(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let id = fixture.repository.id;
    let layer = blob(&catalog, id, "layer").await;
    catalog.put_manifest(super::put(id, "{}", std::slice::from_ref(&layer), &[super::tag("v1")])).await.unwrap();
    let upload = new_upload(id, 60_000);
    catalog.create_upload(&upload).await.unwrap();
    catalog.add_repository_grants(id, &[(fixture.admin.id.clone(), Level::Read)]).await.unwrap();
    let jobs = [super::jobs::new_job(&fixture, "v1")];
    let ids = catalog.enqueue_jobs(&jobs, 10).await.unwrap();

    assert!(catalog.delete_repository(id).await.unwrap());
    assert!(!catalog.delete_repository(id).await.unwrap());
    assert_eq!(catalog.find_repository(&repository_name("team/app")).await.unwrap(), None);
    assert_eq!(catalog.find_upload(&upload.id).await.unwrap(), None);
    assert_eq!(unread_tombstones(&catalog).await, [upload.location]);
    assert_eq!(catalog.find_jobs(&ids).await.unwrap()[0].state, JobState::Cancel);
    // A new repository of that name has another number and nothing in it.
    let again = repository(&catalog, &fixture.namespace, &fixture.admin, "app").await;
    assert!(again.id > id);
    assert_eq!(catalog.find_blob(again.id, &layer.0).await.unwrap(), None);
    assert_eq!(catalog.list_tags(again.id, None, 10).await.unwrap(), []);
    assert_eq!(catalog.list_jobs(again.id, 10, 0, false).await.unwrap().1, 0);
}

fn list(user: &User) -> ListRepositories {
    ListRepositories {
        account_id: user.account_id.clone(),
        user_id: user.id.clone(),
        is_admin: user.is_admin,
        namespace: None,
        name_contains: None,
        category: None,
        is_public: None,
        order: RepoOrder::Name,
        descending: false,
        limit: 100,
        offset: 0,
        after_id: None,
    }
}

async fn names(catalog: &Catalog, list: ListRepositories) -> (Vec<String>, i64) {
    let (rows, total) = catalog.list_repositories(list).await.unwrap();
    (rows.into_iter().map(|row| row.summary.repository.full_name().to_string()).collect(), total)
}

pub(super) async fn lists_are_filtered_and_sorted(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let ada = user(&catalog, &fixture.account, "ada", false).await;
    let zoo = catalog.create_namespace(&namespace_name("zoo"), &fixture.admin, 5).await.unwrap();
    let web = repository(&catalog, &zoo, &fixture.admin, "web_app").await;
    let web2 = repository(&catalog, &fixture.namespace, &fixture.admin, "web-app").await;
    let public = repository(&catalog, &fixture.namespace, &fixture.admin, "pub").await;
    catalog.update_repository(public.id, true, "linux", "").await.unwrap();
    let other = catalog.create_account("other").await.unwrap();
    let stranger = user(&catalog, &other, "eve", true).await;
    let theirs = catalog.create_namespace(&namespace_name("theirs"), &stranger, 5).await.unwrap();
    let theirs = repository(&catalog, &theirs, &stranger, "app").await;
    catalog.update_repository(theirs.id, true, "linux", "").await.unwrap();

    let all = ["team/app", "team/pub", "team/web-app", "zoo/web_app"];
    assert_eq!(names(&catalog, list(&fixture.admin)).await, (all.map(str::to_owned).to_vec(), 4));
    assert_eq!(names(&catalog, list(&ada)).await, (vec!["team/pub".to_owned()], 1));
    catalog.add_namespace_grants(zoo.id, &[(ada.id.clone(), Level::Read)]).await.unwrap();
    catalog.add_repository_grants(fixture.repository.id, &[(ada.id.clone(), Level::Read)]).await.unwrap();
    assert_eq!(names(&catalog, list(&ada)).await.0, ["team/app", "team/pub", "zoo/web_app"]);

    let admin = || list(&fixture.admin);
    let cases = [
        (ListRepositories { namespace: Some("zoo".to_owned()), ..admin() }, vec!["zoo/web_app"]),
        // An underscore is no wildcard.
        (ListRepositories { name_contains: Some("b_a".to_owned()), ..admin() }, vec!["zoo/web_app"]),
        (ListRepositories { name_contains: Some("APP".to_owned()), ..admin() }, vec![]),
        (ListRepositories { category: Some("linux".to_owned()), ..admin() }, vec!["team/pub"]),
        (ListRepositories { is_public: Some(true), ..admin() }, vec!["team/pub"]),
        (ListRepositories { is_public: Some(false), limit: 1, offset: 1, ..admin() }, vec!["team/web-app"]),
        (ListRepositories { offset: 9, ..admin() }, vec![]),
        (ListRepositories { descending: true, ..admin() }, vec!["zoo/web_app", "team/web-app", "team/pub", "team/app"]),
    ];
    for (list, expected) in cases {
        assert_eq!(names(&catalog, list.clone()).await.0, expected, "{list:?}");
    }
    assert_eq!(names(&catalog, ListRepositories { is_public: Some(false), limit: 1, ..admin() }).await.1, 3);

    pause(5).await;
    image(&catalog, web.id, "{}", "v1").await;
    pause(5).await;
    image(&catalog, web.id, "{}", "v2").await;
    pause(5).await;
    image(&catalog, web2.id, "{}", "v1").await;
    let newest = ListRepositories { order: RepoOrder::UpdatedAt, descending: true, limit: 2, ..admin() };
    assert_eq!(names(&catalog, newest).await.0, ["team/web-app", "zoo/web_app"]);
    let fullest = ListRepositories { order: RepoOrder::TagCount, descending: true, limit: 2, ..admin() };
    assert_eq!(names(&catalog, fullest).await.0, ["zoo/web_app", "team/web-app"]);

    blob(&catalog, web.id, "12345").await;
    let summary = catalog.repository_summary(web.id).await.unwrap().unwrap();
    assert_eq!((summary.tag_count, summary.size_bytes, summary.account_name.as_str()), (2, 5, "acme"));
    assert_eq!(summary.tags, ["v2", "v1"], "the newest first");
    assert_eq!(catalog.repository_summary(99).await.unwrap(), None);

    catalog.update_repository(web.id, false, "other", "für alle").await.unwrap();
    let (rows, _) = catalog
        .list_repositories(ListRepositories { name_contains: Some("web_app".to_owned()), ..admin() })
        .await
        .unwrap();
    assert_eq!((rows[0].description_bytes, rows[0].summary.repository.description.as_str()), (9, ""));
    let texts = catalog.repository_texts(&[web.id, web2.id, 99], true, 1).await.unwrap();
    assert_eq!(texts.len(), 2);
    assert_eq!(
        (texts[&web.id].description.as_str(), texts[&web.id].tags.as_slice()),
        ("für alle", &["v2".to_owned()][..])
    );
}

pub(super) async fn pages_by_number_see_everything_once(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    for name in ["zz", "mm", "aa", "qq"] {
        repository(&catalog, &fixture.namespace, &fixture.admin, name).await;
    }
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = ListRepositories { after_id: Some(after), limit: 2, descending: true, ..list(&fixture.admin) };
        let (rows, total) = catalog.list_repositories(page).await.unwrap();
        assert_eq!(total, 5, "in all, not from here");
        let Some(last) = rows.last() else { break };
        after = last.summary.repository.id;
        seen.extend(rows.into_iter().map(|row| row.summary.repository.name.to_string()));
    }
    assert_eq!(seen, ["app", "zz", "mm", "aa", "qq"]);
}

pub(super) async fn names_of_pullable_repositories(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    let ada = user(&catalog, &fixture.account, "ada", false).await;
    let similar = catalog.create_namespace(&namespace_name("team-b"), &fixture.admin, 5).await.unwrap();
    let public = repository(&catalog, &similar, &fixture.admin, "pub").await;
    catalog.update_repository(public.id, true, "other", "").await.unwrap();
    let other = catalog.create_account("other").await.unwrap();
    let stranger = user(&catalog, &other, "eve", true).await;

    let account = fixture.account.id.as_str();
    let names = async |account: &str, user: &str, is_admin: bool, after: Option<&str>, limit: usize| {
        catalog.repository_names(account, user, is_admin, after, limit).await.unwrap()
    };
    assert_eq!(names("", "", false, None, 10).await, ["team-b/pub"]);
    assert_eq!(names(&other.id, &stranger.id, true, None, 10).await, ["team-b/pub"]);
    assert_eq!(names(account, &ada.id, false, None, 10).await, ["team-b/pub"]);
    // Byte order of the whole name: a hyphen sorts before the slash.
    assert_eq!(names(account, &fixture.admin.id, true, None, 10).await, ["team-b/pub", "team/app"]);
    assert_eq!(names(account, &fixture.admin.id, true, None, 1).await, ["team-b/pub"]);
    assert_eq!(names(account, &fixture.admin.id, true, Some("team-b/pub"), 10).await, ["team/app"]);
    catalog.add_repository_grants(fixture.repository.id, &[(ada.id.clone(), Level::Read)]).await.unwrap();
    assert_eq!(names(account, &ada.id, false, None, 10).await, ["team-b/pub", "team/app"]);

    // A level on an organization shows all of it, each name once however many ways lead to it.
    let bob = user(&catalog, &fixture.account, "bob", false).await;
    for namespace in [&similar, &fixture.namespace] {
        catalog.add_namespace_grants(namespace.id, &[(bob.id.clone(), Level::Read)]).await.unwrap();
    }
    for name in ["a", "z", "pub/x"] {
        repository(&catalog, &similar, &fixture.admin, name).await;
    }
    let all = ["team-b/a", "team-b/pub", "team-b/pub/x", "team-b/z", "team/app"];
    for user in [(&bob, false), (&fixture.admin, true)] {
        for size in 1..=6 {
            let mut seen: Vec<String> = Vec::new();
            loop {
                let page = names(account, &user.0.id, user.1, seen.last().map(String::as_str), size).await;
                let last = page.len() < size;
                seen.extend(page);
                if last {
                    break;
                }
            }
            assert_eq!(seen, all, "pages of {size}");
        }
        // What names the start of a page need not exist.
        assert_eq!(names(account, &user.0.id, user.1, Some("team-b/b"), 2).await, all[1..3]);
        assert_eq!(names(account, &user.0.id, user.1, Some("team-c"), 2).await, all[4..]);
    }
}
