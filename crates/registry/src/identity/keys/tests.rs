use std::os::unix::fs::PermissionsExt as _;

use transship_catalog::{Catalog, NewBootstrap};

use super::*;

#[test]
fn keys_are_made_once_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = Keys::load_or_create(dir.path()).unwrap();
    let second = Keys::load_or_create(dir.path()).unwrap();
    assert_eq!(first.region_public_key(), second.region_public_key());
    assert_eq!(second.open("AK", &first.seal("AK", "secret")).as_deref(), Some("secret"));
}

#[test]
fn a_sealed_secret_belongs_to_its_owner_and_cannot_be_altered() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::load_or_create(dir.path()).unwrap();
    let sealed = keys.seal("AK1", "secret");
    assert_eq!(keys.open("AK2", &sealed), None);
    let mut bytes = BASE64.decode(&sealed).unwrap();
    for index in 0..bytes.len() {
        bytes[index] ^= 1;
        assert_eq!(keys.open("AK1", &BASE64.encode(&bytes)), None, "byte {index}");
        bytes[index] ^= 1;
    }
    assert_eq!(keys.open("AK1", "short"), None);
    assert_ne!(sealed, keys.seal("AK1", "secret"), "a nonce is never used twice");
}

#[test]
fn a_key_that_others_can_read_or_that_is_damaged_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Keys::load_or_create(dir.path()).unwrap();
    let path = dir.path().join(SECRETS_KEY_FILE);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Keys::load_or_create(dir.path()).unwrap_err().to_string();
    assert!(error.contains("secrets.key") && error.contains("chmod 600"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "abc").unwrap();
    assert!(Keys::load_or_create(dir.path()).unwrap_err().to_string().contains("64 hexadecimal digits"));
}

/// A catalog with one account, and the keys that it is used with.
async fn used() -> (tempfile::TempDir, Catalog, Keys) {
    let dir = tempfile::tempdir().unwrap();
    let catalog =
        Catalog::open(&format!("sqlite://{}?mode=rwc", dir.path().join("catalog.db").display())).await.unwrap();
    let keys = Keys::of_catalog(dir.path(), &catalog).await.unwrap();
    let access_key = Some(("AK".to_owned(), keys.seal("AK", "secret")));
    let new = NewBootstrap {
        account_name: "demo".to_owned(),
        user_name: "admin".to_owned(),
        password_hash: "-".to_owned(),
        access_key,
    };
    catalog.bootstrap(new).await.unwrap().unwrap();
    (dir, catalog, keys)
}

/// The secret of the access key, opened with the keys that a start finds.
async fn opened(dir: &Path, catalog: &Catalog) -> Option<String> {
    let keys = Keys::of_catalog(dir, catalog).await.unwrap();
    let key = catalog.find_access_key("AK").await.unwrap().unwrap().key;
    keys.open("AK", &key.sealed_secret)
}

#[tokio::test]
async fn a_replacement_that_is_cut_off_anywhere_leaves_a_region_that_starts() {
    let (dir, catalog, old) = used().await;
    let path = dir.path().join(SECRETS_KEY_FILE);
    let beside = dir.path().join("secrets.key.new");
    let text = std::fs::read_to_string(&path).unwrap();

    // Killed before the transaction: the old key stays.
    drop(files::Pending::write(&path, &Master::generate()).unwrap());
    assert!(beside.exists());
    assert_eq!(opened(dir.path(), &catalog).await.as_deref(), Some("secret"));
    assert!(!beside.exists());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    // Killed between the transaction and the end: the new one takes its place.
    let new = Master::from_text(&path, &Master::generate()).unwrap();
    drop(files::Pending::write(&path, &hex::encode(&*new.0)).unwrap());
    let sealing = new.sealing();
    let again = |owner: &str, sealed: &str| Some(sealing.seal(owner, &old.open(owner, sealed)?));
    catalog.replace_sealing_key(Some(&old.secrets_check), &new.check(), again).await.unwrap();
    assert_eq!(opened(dir.path(), &catalog).await.as_deref(), Some("secret"));
    assert!(!beside.exists());
    assert_ne!(std::fs::read_to_string(&path).unwrap(), text);

    // A whole one, and nobody meddles while it is at work.
    let pending = files::Pending::write(&path, &Master::generate()).unwrap();
    let busy = Keys::of_catalog(dir.path(), &catalog).await.unwrap_err().to_string();
    assert!(busy.contains("secrets.key.new") && busy.contains("held by another process"), "{busy}");
    pending.discard().unwrap();
    let done = Keys::replace_secrets_key(dir.path(), &catalog, NewKey::FromOld).await.unwrap();
    assert_eq!((done.sealed, done.disabled), (1, 0));
    assert_eq!(opened(dir.path(), &catalog).await.as_deref(), Some("secret"));
}

#[tokio::test]
async fn keys_are_made_for_an_empty_catalog_only() {
    let (dir, catalog, keys) = used().await;
    for name in Keys::FILES {
        let path = dir.path().join(name);
        let text = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let error = Keys::of_catalog(dir.path(), &catalog).await.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("is missing") && !path.exists(), "{error}");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(Keys::of_catalog(dir.path(), &catalog).await.unwrap().region_public_key(), keys.region_public_key());

    let empty = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", empty.path().join("catalog.db").display());
    let nobody = Catalog::open(&url).await.unwrap();
    Keys::of_catalog(empty.path(), &nobody).await.unwrap();
    std::fs::remove_file(empty.path().join(REGION_KEY_FILE)).unwrap();
    Keys::of_catalog(empty.path(), &nobody).await.expect("without an account nobody relies on a key");
    Keys::of_catalog(empty.path(), &nobody).await.expect("the new one is noted");
}

/// A catalog from before keys were noted tells a wrong `secrets.key` by a secret that it does not open.
#[tokio::test]
async fn a_key_that_opens_no_secret_is_not_noted() {
    let (dir, catalog, _) = used().await;
    let other = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", other.path().join("catalog.db").display());
    let before = Catalog::open(&url).await.unwrap();
    let transship_catalog::FoundAccessKey { key, user, .. } = catalog.find_access_key("AK").await.unwrap().unwrap();
    let new = NewBootstrap {
        account_name: "demo".to_owned(),
        user_name: user.name,
        password_hash: "-".to_owned(),
        access_key: Some((key.access_key, key.sealed_secret)),
    };
    before.bootstrap(new).await.unwrap().unwrap();
    Keys::load_or_create(other.path()).unwrap();
    let error = Keys::of_catalog(other.path(), &before).await.unwrap_err().to_string();
    assert!(error.contains("secrets.key") && error.contains("not the key of this catalog"), "{error}");
    for name in Keys::FILES {
        std::fs::copy(dir.path().join(name), other.path().join(name)).unwrap();
    }
    assert_eq!(opened(other.path(), &before).await.as_deref(), Some("secret"));
}
