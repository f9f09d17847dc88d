use super::*;

#[test]
fn a_password_verifies_only_against_its_own_hash() {
    let mut blocks = Vec::new();
    let stored = hash("correct horse", &mut blocks);
    assert!(stored.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{stored}");
    assert!(verify(&stored, "correct horse", &mut blocks));
    assert!(!verify(&stored, "correct horse ", &mut blocks));
    assert_ne!(stored, hash("correct horse", &mut blocks), "a salt is never used twice");
    for damaged in ["", "plain", "$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$c29tZWhhc2g"] {
        assert!(!verify(damaged, "correct horse", &mut blocks), "{damaged:?}");
    }
}

#[test]
fn other_implementations_make_and_read_the_same_hashes() {
    use argon2::{PasswordHasher as _, PasswordVerifier as _};
    let mut blocks = Vec::new();
    let salt = SaltString::encode_b64(b"some other salt!").unwrap();
    let theirs = Argon2::default().hash_password(b"secret", &salt).unwrap().to_string();
    assert!(verify(&theirs, "secret", &mut blocks));
    let ours = hash("secret", &mut blocks);
    assert!(Argon2::default().verify_password(b"secret", &PasswordHash::new(&ours).unwrap()).is_ok());
}

#[test]
fn the_hash_for_absent_users_parses_and_costs_as_much() {
    let mut blocks = Vec::new();
    let real = hash("x", &mut blocks);
    assert_eq!(PasswordHash::new(ABSENT_HASH).unwrap().params, PasswordHash::new(&real).unwrap().params);
    assert!(!verify(ABSENT_HASH, "", &mut blocks));
}

#[tokio::test]
async fn an_unknown_user_fits_no_password() {
    let passwords = Passwords::default();
    let stored = passwords.hash("secret".to_owned()).await.unwrap();
    assert!(passwords.verify(Some(stored), "secret").await.unwrap());
    assert!(!passwords.verify(None, "secret").await.unwrap());
    assert!(passwords.hash(String::new()).await.is_err());
    assert!(passwords.hash("x".repeat(1025)).await.is_err());
}
