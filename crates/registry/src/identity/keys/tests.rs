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

/// A process that is killed between linking a file's final name and deleting the temporary one leaves two names.
#[test]
fn copies_that_killed_processes_have_left_are_removed_when_keys_are_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::load_or_create(dir.path()).unwrap();
    let left = ["region.12.tmp", "secrets.12.tmp", "region.key.12.tmp", "secrets.key.7.tmp"];
    for name in left {
        let of = if name.starts_with("region") { REGION_KEY_FILE } else { SECRETS_KEY_FILE };
        std::fs::hard_link(dir.path().join(of), dir.path().join(name)).unwrap();
    }
    let others = ["region.tmp", "region.x.tmp", "region.key.tmp", "regions.12.tmp", "secrets.12.tmp2"];
    for name in others {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    // The temporary file of a process that is still writing.
    let at_work = dir.path().join("region.key.13.tmp");
    std::fs::write(&at_work, "").unwrap();
    let lock = std::fs::File::open(&at_work).unwrap();
    lock.try_lock().unwrap();
    assert_eq!(Keys::load_or_create(dir.path()).unwrap().region_public_key(), keys.region_public_key());
    assert!(left.iter().all(|name| !dir.path().join(name).exists()));
    assert!(others.iter().all(|name| dir.path().join(name).exists()) && at_work.exists());
    drop(lock);
    Keys::load_or_create(dir.path()).unwrap();
    assert!(!at_work.exists());
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

    // Killed between the transaction and the end: the new key takes its place.
    let new = Master::from_text(&path, &Master::generate()).unwrap();
    drop(files::Pending::write(&path, &hex::encode(&*new.0)).unwrap());
    let sealing = new.sealing();
    let again = |owner: &str, sealed: &str| Some(sealing.seal(owner, &old.open(owner, sealed)?));
    catalog.replace_sealing_key(Some(&old.secrets_check), &new.check(), again).await.unwrap();
    assert_eq!(opened(dir.path(), &catalog).await.as_deref(), Some("secret"));
    assert!(!beside.exists());
    assert_ne!(std::fs::read_to_string(&path).unwrap(), text);

    // A replacement that is not killed, and that nobody disturbs while it is running.
    let pending = files::Pending::write(&path, &Master::generate()).unwrap();
    let busy = Keys::of_catalog(dir.path(), &catalog).await.unwrap_err().to_string();
    assert!(busy.contains("secrets.key.new") && busy.contains("held by another process"), "{busy}");
    pending.discard().unwrap();
    let done = Keys::replace_secrets_key(dir.path(), &catalog, NewKey::FromOld).await.unwrap();
    assert_eq!((done.sealed, done.disabled), (1, 0));
    assert_eq!(opened(dir.path(), &catalog).await.as_deref(), Some("secret"));
}

/// The step before which a replacement of `region.key` by the prepared key is killed.
#[derive(Clone, Copy, Debug)]
enum KilledBefore {
    /// Before the catalog records the new key.
    Note,
    /// Before `region.key.new` is renamed.
    Rename,
    /// Before `region.key.next` is deleted.
    Removal,
}

/// Peers have pinned the prepared key, so no other key may take its place, whatever is repeated.
#[tokio::test]
async fn the_prepared_region_key_is_the_one_that_is_used_wherever_its_replacement_is_cut_off() {
    for killed in [KilledBefore::Note, KilledBefore::Rename, KilledBefore::Removal] {
        for is_started in [false, true] {
            let (dir, catalog, old) = used().await;
            let (path, next) = (dir.path().join(REGION_KEY_FILE), dir.path().join("region.key.next"));
            let pinned = Keys::prepare_region_key(dir.path()).unwrap();
            let pending = files::Pending::write(&path, &std::fs::read_to_string(&next).unwrap()).unwrap();
            match killed {
                KilledBefore::Note => drop(pending),
                KilledBefore::Rename => {
                    catalog.replace_key_check(REGION_KEY_FILE, &pinned).await.unwrap();
                    drop(pending);
                }
                KilledBefore::Removal => {
                    catalog.replace_key_check(REGION_KEY_FILE, &pinned).await.unwrap();
                    pending.take_over().unwrap();
                }
            }
            if is_started {
                let keys = Keys::of_catalog(dir.path(), &catalog).await.unwrap().region_public_key();
                let is_old = matches!(killed, KilledBefore::Note);
                assert_eq!(keys, if is_old { old.region_public_key() } else { pinned.clone() }, "{killed:?}");
            }
            let repeated = Keys::replace_region_key(dir.path(), &catalog).await.unwrap();
            assert_eq!(repeated, pinned, "{killed:?}, started: {is_started}");
            let keys = Keys::of_catalog(dir.path(), &catalog).await.unwrap();
            assert_eq!(keys.region_public_key(), pinned, "{killed:?}, started: {is_started}");
            assert!(!next.exists());
            // The next key to be prepared is a different one.
            assert_ne!(Keys::prepare_region_key(dir.path()).unwrap(), pinned);
        }
    }
}

#[tokio::test]
async fn a_prepared_key_that_is_in_use_already_is_not_prepared_again() {
    let (dir, catalog, _) = used().await;
    let pinned = Keys::prepare_region_key(dir.path()).unwrap();
    std::fs::copy(dir.path().join("region.key.next"), dir.path().join(REGION_KEY_FILE)).unwrap();
    catalog.replace_key_check(REGION_KEY_FILE, &pinned).await.unwrap();
    let next = Keys::prepare_region_key(dir.path()).unwrap();
    assert_ne!(next, pinned);
    assert_eq!(Keys::replace_region_key(dir.path(), &catalog).await.unwrap(), next);
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

/// A catalog with the account of `catalog`, as it was before keys were recorded, and a directory without keys.
async fn from_before_the_notes(catalog: &Catalog) -> (tempfile::TempDir, Catalog) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("catalog.db").display());
    let before = Catalog::open(&url).await.unwrap();
    let transship_catalog::FoundAccessKey { key, user, .. } = catalog.find_access_key("AK").await.unwrap().unwrap();
    let new = NewBootstrap {
        account_name: "demo".to_owned(),
        user_name: user.name,
        password_hash: "-".to_owned(),
        access_key: Some((key.access_key, key.sealed_secret)),
    };
    before.bootstrap(new).await.unwrap().unwrap();
    (dir, before)
}

/// A catalog from before keys were recorded detects a wrong `secrets.key` by a secret that it does not open.
#[tokio::test]
async fn a_key_that_opens_no_secret_is_not_noted() {
    let (dir, catalog, _) = used().await;
    let (other, before) = from_before_the_notes(&catalog).await;
    Keys::load_or_create(other.path()).unwrap();
    let error = Keys::of_catalog(other.path(), &before).await.unwrap_err().to_string();
    assert!(error.contains("secrets.key") && error.contains("not the key of this catalog"), "{error}");
    for name in Keys::FILES {
        std::fs::copy(dir.path().join(name), other.path().join(name)).unwrap();
    }
    assert_eq!(opened(other.path(), &before).await.as_deref(), Some("secret"));
}

/// With a foreign `secrets.key` no secret can be sealed again, and the attempt loses none.
#[tokio::test]
async fn a_key_that_opens_no_secret_is_not_replaced() {
    let (dir, catalog, _) = used().await;
    let (other, before) = from_before_the_notes(&catalog).await;
    Keys::load_or_create(other.path()).unwrap();
    let text = std::fs::read(other.path().join(SECRETS_KEY_FILE)).unwrap();
    let error = Keys::replace_secrets_key(other.path(), &before, NewKey::FromOld).await.unwrap_err().to_string();
    assert!(error.contains("secrets.key") && error.contains("not the key of this catalog"), "{error}");
    assert_eq!(std::fs::read(other.path().join(SECRETS_KEY_FILE)).unwrap(), text);
    assert!(before.find_access_key("AK").await.unwrap().unwrap().key.enabled);
    std::fs::copy(dir.path().join(SECRETS_KEY_FILE), other.path().join(SECRETS_KEY_FILE)).unwrap();
    let done = Keys::replace_secrets_key(other.path(), &before, NewKey::FromOld).await.unwrap();
    assert_eq!((done.sealed, done.disabled), (1, 0));
}
