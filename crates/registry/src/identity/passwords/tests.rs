use std::net::Ipv4Addr;

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
    let mut turn = passwords.turn(Ipv4Addr::LOCALHOST.into()).await.unwrap();
    assert!(turn.verify(Some(stored), "secret").await.unwrap());
    assert!(!turn.verify(None, "secret").await.unwrap());
    drop(turn);
    assert!(passwords.hash(String::new()).await.is_err());
    assert!(passwords.hash("x".repeat(1025)).await.is_err());
}

/// A client that floods the hashing fills only a part of the queue, and no memory.
#[tokio::test]
async fn the_queue_has_an_end_for_one_address_and_for_all() {
    let passwords = Passwords::default();
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from(number));
    let turn = passwords.turn(address(0)).await.unwrap();
    let mut waiting = Vec::new();
    for number in 1..=4 {
        for _ in 0..MAX_WAITING_OF_ADDRESS {
            waiting.push(Queue::enter(&passwords.queue, address(number)).unwrap());
        }
        let full = Queue::enter(&passwords.queue, address(number));
        assert!(matches!(full.err(), Some(ServiceError::TooManyAttempts { .. })));
    }
    assert!(passwords.turn(address(9)).await.is_err(), "{} wait", waiting.len());
    waiting.pop();
    assert!(Queue::enter(&passwords.queue, address(9)).is_ok());
    drop((turn, waiting));
    assert!(passwords.queue.with(|waiting| waiting.is_empty()));
    assert!(passwords.turn(address(1)).await.is_ok());
}

/// One client has as many addresses of its /64 as it likes, so they share the places of one address in the queue.
#[tokio::test]
async fn a_network_of_ipv6_has_the_places_of_one_address() {
    let passwords = Passwords::default();
    let address = |network: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
    let of_one_network: Vec<_> = (0..40).map(|host| Queue::enter(&passwords.queue, address(1, host))).collect();
    assert_eq!(of_one_network.iter().filter(|entered| entered.is_ok()).count(), MAX_WAITING_OF_ADDRESS);
    assert!(Queue::enter(&passwords.queue, address(2, 0)).is_ok());
    drop(of_one_network);
    assert!(passwords.queue.with(|waiting| waiting.is_empty()));
}
