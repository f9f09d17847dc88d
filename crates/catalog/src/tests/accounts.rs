use super::{blob, fixture, image, now_ms, repository, user};
use crate::{AccessKey, AccountOverview, Catalog, CatalogError, NewBootstrap, NewUser};

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
    assert_eq!(catalog.find_access_key("AK2").await.unwrap(), Some((passing.clone(), ada.clone())));
    assert_eq!(catalog.list_access_keys(Some(&ada.id)).await.unwrap(), [lasting.clone(), passing.clone()]);
    assert_eq!(catalog.list_access_keys(None).await.unwrap().len(), 2);
    assert_eq!(catalog.list_access_keys(Some("nobody")).await.unwrap(), []);

    catalog.set_access_key_enabled("AK1", false).await.unwrap();
    catalog.replace_secret("AK1", "other").await.unwrap();
    let (changed, _) = catalog.find_access_key("AK1").await.unwrap().unwrap();
    assert_eq!((changed.enabled, changed.sealed_secret.as_str()), (false, "other"));
    let nothing = catalog.replace_secret("AK9", "other").await;
    assert!(matches!(nothing, Err(CatalogError::NotFound { .. })), "{nothing:?}");

    assert_eq!(catalog.delete_expired_access_keys(1000).await.unwrap(), 0);
    assert_eq!(catalog.delete_expired_access_keys(1001).await.unwrap(), 1);
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
    let (key, owner) = catalog.find_access_key("AK1").await.unwrap().unwrap();
    assert_eq!((key.expires_at_ms, key.enabled, &owner), (None, true, &made[0]));
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
