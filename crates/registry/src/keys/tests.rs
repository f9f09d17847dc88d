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
