use super::user;
use crate::{AccessKey, Catalog, CatalogError, SECRETS_KEY, SealedAgain};

fn key(user_id: &str, access_key: &str, expires_at_ms: Option<i64>) -> AccessKey {
    AccessKey {
        access_key: access_key.to_owned(),
        user_id: user_id.to_owned(),
        sealed_secret: format!("old {access_key}"),
        enabled: true,
        expires_at_ms,
        created_at_ms: 1,
    }
}

pub(super) async fn all_secrets_are_sealed_again_or_none(catalog: Catalog, _: String) {
    let acme = catalog.create_account("acme").await.unwrap();
    let ada = user(&catalog, &acme, "ada", false).await;
    // More than one page.
    for number in 0..1200 {
        catalog.create_access_key(&key(&ada.id, &format!("AK{number:04}"), None)).await.unwrap();
    }
    catalog.create_access_key(&key(&ada.id, "LOST", None)).await.unwrap();
    catalog.create_access_key(&key(&ada.id, "TEMPORARY", Some(1 << 50))).await.unwrap();
    let again = |access_key: &str, sealed: &str| {
        assert_eq!(sealed, format!("old {access_key}"));
        access_key.starts_with("AK").then(|| format!("new {access_key}"))
    };
    assert_eq!(catalog.note_key_check(SECRETS_KEY, "one").await.unwrap(), "one");
    assert_eq!(catalog.note_key_check(SECRETS_KEY, "two").await.unwrap(), "one", "the first one stays");
    for known in [None, Some("two")] {
        let refused = catalog.replace_sealing_key(known, "two", again).await;
        assert!(matches!(refused, Err(CatalogError::KeyReplaced)), "{refused:?}");
    }
    assert_eq!(catalog.find_access_key("AK0000").await.unwrap().unwrap().key.sealed_secret, "old AK0000");
    let done = catalog.replace_sealing_key(Some("one"), "two", again).await.unwrap();
    assert_eq!(done, SealedAgain { sealed: 1200, disabled: 1, deleted: 1 });
    assert_eq!(catalog.key_check(SECRETS_KEY).await.unwrap().as_deref(), Some("two"));
    for access_key in ["AK0000", "AK0500", "AK1199"] {
        let found = catalog.find_access_key(access_key).await.unwrap().unwrap().key;
        assert_eq!((found.sealed_secret, found.enabled), (format!("new {access_key}"), true));
    }
    assert!(!catalog.find_access_key("LOST").await.unwrap().unwrap().key.enabled);
    assert_eq!(catalog.find_access_key("TEMPORARY").await.unwrap(), None);
}

pub(super) async fn nothing_is_stored_that_a_replaced_key_has_sealed(catalog: Catalog, url: String) {
    let acme = catalog.create_account("acme").await.unwrap();
    let ada = user(&catalog, &acme, "ada", false).await;
    catalog.note_key_check(SECRETS_KEY, "one").await.unwrap();
    catalog.seals_with("one");
    catalog.create_access_key(&key(&ada.id, "AK1", None)).await.unwrap();
    let other = Catalog::open(&url).await.unwrap();
    other.replace_sealing_key(Some("one"), "two", |_, _| Some("new".to_owned())).await.unwrap();
    other.close().await;
    let late = catalog.create_access_key(&key(&ada.id, "AK2", None)).await;
    assert!(matches!(late, Err(CatalogError::KeyReplaced)), "{late:?}");
    let made_with = crate::MadeWith { user_epoch: 0, access_key: None };
    let late = catalog.create_login(&key(&ada.id, "AK2", Some(1 << 50)), &made_with, 10).await;
    assert!(matches!(late, Err(CatalogError::KeyReplaced)), "{late:?}");
    let late = catalog.replace_secret("AK1", "old").await;
    assert!(matches!(late, Err(CatalogError::KeyReplaced)), "{late:?}");
    assert_eq!(catalog.find_access_key("AK1").await.unwrap().unwrap().key.sealed_secret, "new");
    assert_eq!(catalog.find_access_key("AK2").await.unwrap(), None);
}
