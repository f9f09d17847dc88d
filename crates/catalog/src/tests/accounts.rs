use super::{blob, fixture, image, namespace_name, now_ms, pause, repository, user};
use crate::{
    AccessKey, AccountOverview, Catalog, CatalogError, FoundAccessKey, MadeWith, NewBootstrap, NewUser, Unlinked,
    WrongStoredBytes,
};

pub(super) async fn accounts_are_unique(catalog: Catalog, _: String) {
    let acme = catalog.create_account("acme").await.unwrap();
    assert_eq!(acme.id.len(), 32);
    assert!((acme.created_at_ms - now_ms()).abs() < 60_000, "the database's clock gives milliseconds");
    let again = catalog.create_account("acme").await;
    assert!(matches!(again, Err(CatalogError::Conflict { .. })), "{again:?}");
    let nul = catalog.create_account("a\0b").await;
    assert!(matches!(nul, Err(CatalogError::Invalid { .. })), "{nul:?}");
    catalog.create_account("Zeta").await.unwrap();
    assert_eq!(catalog.find_account("acme").await.unwrap().as_ref(), Some(&acme));
    assert_eq!(catalog.find_account_by_id(&acme.id).await.unwrap(), Some(acme));
    assert_eq!(catalog.find_account("nobody").await.unwrap(), None);
    let names: Vec<String> = catalog.list_accounts().await.unwrap().into_iter().map(|account| account.name).collect();
    assert_eq!(names, ["Zeta", "acme"], "byte order");
    assert_eq!(catalog.account_count().await.unwrap(), 2);
}

pub(super) async fn users_live_in_accounts(catalog: Catalog, _: String) {
    let (acme, other) = (catalog.create_account("acme").await.unwrap(), catalog.create_account("other").await.unwrap());
    let ada = user(&catalog, &acme, "ada", true).await;
    let namesake = user(&catalog, &other, "ada", false).await;
    let bob = user(&catalog, &acme, "bob", false).await;
    assert!(ada.is_admin && ada.enabled && !namesake.is_admin && ada.password_hash.is_none());
    assert_eq!(ada.account_name, "acme");

    let new = |account_id: &str| NewUser {
        account_id: account_id.to_owned(),
        name: "ada".to_owned(),
        password_hash: Some("hash".to_owned()),
        is_admin: false,
    };
    let again = catalog.create_user(new(&acme.id)).await;
    assert!(matches!(again, Err(CatalogError::Conflict { .. })), "{again:?}");
    let homeless = catalog.create_user(new("nobody")).await;
    assert!(matches!(homeless, Err(CatalogError::NotFound { .. })), "{homeless:?}");

    assert_eq!(catalog.find_user("acme", "ada").await.unwrap().as_ref(), Some(&ada));
    assert_eq!(catalog.find_user("acme", "eve").await.unwrap(), None);
    assert_eq!(catalog.find_user_by_id(&bob.id).await.unwrap().as_ref(), Some(&bob));
    let third = catalog.create_account("third").await.unwrap();
    user(&catalog, &third, "ada", false).await;
    assert_eq!(catalog.find_users_by_name("ada").await.unwrap(), [ada.clone(), namesake.clone()]);
    assert_eq!(catalog.list_users(Some(&acme.id)).await.unwrap(), [ada.clone(), bob.clone()]);
    assert_eq!(catalog.list_users(None).await.unwrap()[..3], [ada, bob, namesake]);
}

pub(super) async fn epochs_rise(catalog: Catalog, _: String) {
    let acme = catalog.create_account("acme").await.unwrap();
    let ada = user(&catalog, &acme, "ada", false).await;
    catalog.set_user_enabled(&ada.id, false).await.unwrap();
    catalog.set_password(&ada.id, "hash").await.unwrap();
    let changed = catalog.find_user_by_id(&ada.id).await.unwrap().unwrap();
    assert_eq!((changed.epoch, changed.enabled), (ada.epoch + 2, false));
    assert_eq!(changed.password_hash.as_deref(), Some("hash"));
    assert!(!format!("{changed:?}").contains("hash\""), "{changed:?}");
    let nobody = catalog.set_user_enabled("nobody", true).await;
    assert!(matches!(nobody, Err(CatalogError::NotFound { .. })), "{nobody:?}");
    let nobody = catalog.set_password("nobody", "hash").await;
    assert!(matches!(nobody, Err(CatalogError::NotFound { .. })), "{nobody:?}");
}

fn key(name: &str, user_id: &str, expires_at_ms: Option<i64>) -> AccessKey {
    AccessKey {
        access_key: name.to_owned(),
        user_id: user_id.to_owned(),
        sealed_secret: "sealed".to_owned(),
        enabled: true,
        expires_at_ms,
        created_at_ms: 5,
    }
}

pub(super) async fn access_keys_keep_their_state(catalog: Catalog, _: String) {
    let acme = catalog.create_account("acme").await.unwrap();
    let ada = user(&catalog, &acme, "ada", false).await;
    let (lasting, passing) = (key("AK1", &ada.id, None), key("AK2", &ada.id, Some(1000)));
    for key in [&lasting, &passing] {
        catalog.create_access_key(key).await.unwrap();
    }
    let again = catalog.create_access_key(&lasting).await;
    assert!(matches!(again, Err(CatalogError::Conflict { .. })), "{again:?}");
    let nobody = catalog.create_access_key(&key("AK3", "nobody", None)).await;
    assert!(matches!(nobody, Err(CatalogError::NotFound { .. })), "{nobody:?}");
    let found = catalog.find_access_key("AK2").await.unwrap().unwrap();
    assert_eq!((found.key, found.user, found.epoch), (passing.clone(), ada.clone(), 0));
    assert_eq!(catalog.list_access_keys(Some(&ada.id)).await.unwrap(), [lasting.clone(), passing.clone()]);
    assert_eq!(catalog.list_access_keys(None).await.unwrap().len(), 2);
    assert_eq!(catalog.list_access_keys(Some("nobody")).await.unwrap(), []);

    catalog.set_access_key_enabled("AK1", false).await.unwrap();
    catalog.replace_secret("AK1", "other").await.unwrap();
    let changed = catalog.find_access_key("AK1").await.unwrap().unwrap();
    assert_eq!((changed.key.enabled, changed.key.sealed_secret.as_str(), changed.epoch), (false, "other", 2));
    catalog.set_access_key_enabled("AK1", false).await.unwrap();
    assert_eq!(catalog.find_access_key("AK1").await.unwrap().unwrap(), changed, "no change, no new epoch");
    let nothing = catalog.replace_secret("AK9", "other").await;
    assert!(matches!(nothing, Err(CatalogError::NotFound { .. })), "{nothing:?}");

    catalog.create_access_key(&key("AK4", &ada.id, Some(now_ms() + 60_000))).await.unwrap();
    assert_eq!(catalog.delete_expired_access_keys().await.unwrap(), 1);
    assert!(catalog.find_access_key("AK4").await.unwrap().is_some(), "its end has not come");
    assert_eq!(catalog.find_access_key("AK2").await.unwrap(), None);
    assert!(catalog.find_access_key("AK1").await.unwrap().is_some(), "a key without an end stays");
}

pub(super) async fn bootstrap_happens_once(catalog: Catalog, _: String) {
    let new = || NewBootstrap {
        account_name: "acme".to_owned(),
        user_name: "root".to_owned(),
        password_hash: "hash".to_owned(),
        access_key: Some(("AK1".to_owned(), "sealed".to_owned())),
    };
    let (first, second) = tokio::join!(catalog.bootstrap(new()), catalog.bootstrap(new()));
    let made: Vec<_> = [first.unwrap(), second.unwrap()].into_iter().flatten().collect();
    assert_eq!(made.len(), 1);
    assert!(made[0].is_admin);
    let FoundAccessKey { key, user, is_withdrawn, .. } = catalog.find_access_key("AK1").await.unwrap().unwrap();
    assert_eq!((key.expires_at_ms, key.enabled, &user, is_withdrawn), (None, true, &made[0], false));
    assert_eq!(catalog.account_count().await.unwrap(), 1);
}

pub(super) async fn overview_counts_distinct_bytes(catalog: Catalog, _: String) {
    let fixture = fixture(&catalog).await;
    assert_eq!(
        catalog.account_overview(&fixture.account.id).await.unwrap(),
        AccountOverview { namespaces: 1, repositories: 1, ..AccountOverview::default() }
    );
    let second = repository(&catalog, &fixture.namespace, &fixture.admin, "second").await;
    for id in [fixture.repository.id, second.id] {
        blob(&catalog, id, "common").await;
        image(&catalog, id, "{}", "v1").await;
    }
    blob(&catalog, second.id, "more").await;
    let overview = catalog.account_overview(&fixture.account.id).await.unwrap();
    assert_eq!(overview, AccountOverview { namespaces: 1, repositories: 2, tags: 2, stored_bytes: 10 });
    assert_eq!(catalog.account_overview("nobody").await.unwrap(), AccountOverview::default());
}

pub(super) async fn logins_end_with_what_they_were_made_with(catalog: Catalog, _: String) {
    let acme = catalog.create_account("acme").await.unwrap();
    let ada = user(&catalog, &acme, "ada", false).await;
    catalog.create_access_key(&key("AK1", &ada.id, None)).await.unwrap();
    let later = Some(now_ms() + 60_000);
    let with_key = MadeWith { user_epoch: ada.epoch, access_key: Some(("AK1".to_owned(), 0)) };
    let with_token = MadeWith { user_epoch: ada.epoch, access_key: None };
    catalog.create_login(&key("T1", &ada.id, later), &with_key, 10).await.unwrap();
    catalog.create_login(&key("T2", &ada.id, later), &with_token, 10).await.unwrap();
    let withdrawn = async |name: &str| catalog.find_access_key(name).await.unwrap().unwrap().is_withdrawn;
    assert!(!withdrawn("T1").await && !withdrawn("T2").await);
    for enabled in [false, true] {
        catalog.set_access_key_enabled("AK1", enabled).await.unwrap();
        assert!(withdrawn("T1").await && !withdrawn("T2").await, "enabled: {enabled}");
    }
    for enabled in [false, true] {
        catalog.set_user_enabled(&ada.id, enabled).await.unwrap();
        assert!(withdrawn("T2").await, "enabled: {enabled}");
    }
    assert!(!withdrawn("AK1").await, "a key without an end is no login");
    let nobody = catalog.create_login(&key("T3", "nobody", later), &with_token, 10).await;
    assert!(matches!(nobody, Err(CatalogError::NotFound { .. })), "{nobody:?}");
}

pub(super) async fn logins_at_once_keep_the_limit(catalog: Catalog, _: String) {
    let acme = catalog.create_account("acme").await.unwrap();
    let ada = user(&catalog, &acme, "ada", false).await;
    let bob = user(&catalog, &acme, "bob", false).await;
    let with_token = MadeWith { user_epoch: 0, access_key: None };
    let later = Some(now_ms() + 60_000);
    catalog.create_access_key(&key("AK1", &ada.id, None)).await.unwrap();
    catalog.create_login(&key("BOB", &bob.id, later), &with_token, 3).await.unwrap();
    let login = |number: i64| AccessKey { created_at_ms: number, ..key(&format!("T{number}"), &ada.id, later) };
    let mut makers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (catalog, login, with_token) = (catalog.clone(), login(number), with_token.clone());
        makers.spawn(async move { catalog.create_login(&login, &with_token, 3).await.unwrap() });
    }
    makers.join_all().await;
    catalog.create_login(&login(9), &with_token, 3).await.unwrap();
    let left = catalog.list_access_keys(Some(&ada.id)).await.unwrap();
    assert_eq!(left.len(), 4, "the key and three logins: {left:?}");
    assert!(left.iter().any(|key| key.access_key == "T9") && left.iter().any(|key| key.access_key == "AK1"));
    assert_eq!(catalog.list_access_keys(Some(&bob.id)).await.unwrap().len(), 1);
}

pub(super) async fn stored_bytes_follow_every_change(catalog: Catalog, url: String) {
    let fixture = fixture(&catalog).await;
    let stored = async || {
        assert_eq!(catalog.wrong_stored_bytes(&fixture.account.id).await.unwrap(), None);
        catalog.account_overview(&fixture.account.id).await.unwrap().stored_bytes
    };
    let elsewhere = catalog.create_namespace(&namespace_name("elsewhere"), &fixture.admin, 5).await.unwrap();
    let app = &fixture.repository;
    let other = repository(&catalog, &elsewhere, &fixture.admin, "other").await;
    let (common, _) = blob(&catalog, app.id, "common").await;
    blob(&catalog, other.id, "common").await;
    assert_eq!(stored().await, 6, "content of two organizations counts once");
    assert_eq!(catalog.unlink_blob(app.id, &common).await.unwrap(), Unlinked::Done);
    assert_eq!(stored().await, 6);
    assert_eq!(catalog.unlink_blob(other.id, &common).await.unwrap(), Unlinked::Done);
    assert_eq!(stored().await, 0);

    let (one, _) = blob(&catalog, app.id, "one").await;
    let (three, _) = blob(&catalog, app.id, "three").await;
    catalog.mount_blob(app.id, other.id, &one).await.unwrap();
    let digests = [one.clone(), three.clone()];
    catalog.mount_readable(other.id, &fixture.account.id, &fixture.admin.id, true, &digests).await.unwrap();
    assert_eq!(stored().await, 8);
    pause(5).await;
    assert_eq!(catalog.remove_links(app.id, &digests, 0).await.unwrap().len(), 2);
    assert_eq!(stored().await, 8);
    blob(&catalog, other.id, "only here").await;
    assert!(catalog.delete_repository(other.id).await.unwrap());
    assert_eq!(stored().await, 0);

    // The same content into two organizations at once.
    let again = repository(&catalog, &elsewhere, &fixture.admin, "again").await;
    for round in 0..10 {
        let content = format!("content {round}");
        tokio::join!(blob(&catalog, app.id, &content), blob(&catalog, again.id, &content));
    }
    assert_eq!(stored().await, 90);

    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    sqlx::query("UPDATE account SET stored_bytes = 7").execute(&pool).await.unwrap();
    pool.close().await;
    let overview = catalog.account_overview(&fixture.account.id).await.unwrap();
    assert_eq!(overview.stored_bytes, 7, "the counter is read, nothing is summed");
    let wrong = Some(WrongStoredBytes { says: 7, is: 90 });
    assert_eq!(catalog.wrong_stored_bytes(&fixture.account.id).await.unwrap(), wrong);
    assert_eq!(catalog.recount_stored_bytes(&fixture.account.id).await.unwrap(), wrong);
    assert_eq!(stored().await, 90);
    assert_eq!(catalog.recount_stored_bytes("nobody").await.unwrap(), None);
}
