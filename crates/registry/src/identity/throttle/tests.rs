use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{LoginLimits, MAX_PAIRS, Throttle};
use crate::error::ServiceError;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const SECOND: Duration = Duration::from_secs(1);

fn throttle() -> Throttle {
    Throttle::new(LoginLimits { failures: 3, failures_per_address: 20 })
}

/// Seconds to wait.
fn wait(throttle: &Throttle, from: IpAddr, name: &str, now: Instant) -> u64 {
    match throttle.check(throttle.attempt(from, "user", name), now) {
        Ok(()) => 0,
        Err(ServiceError::TooManyAttempts { wait_seconds }) => wait_seconds,
        Err(error) => panic!("{error}"),
    }
}

fn note(throttle: &Throttle, from: IpAddr, name: &str, succeeded: bool, now: Instant) {
    throttle.note(throttle.attempt(from, "user", name), succeeded, now);
}

#[test]
fn the_wait_doubles_up_to_a_quarter_of_an_hour_and_is_over_when_it_is_over() {
    let (throttle, mut now) = (throttle(), Instant::now());
    let mut waits = Vec::new();
    for _ in 0..15 {
        note(&throttle, HERE, "a", false, now);
        let seconds = wait(&throttle, HERE, "a", now);
        waits.push(seconds);
        if seconds > 0 {
            let almost = Duration::from_secs(seconds).checked_sub(SECOND / 2).unwrap();
            assert_eq!(wait(&throttle, HERE, "a", now + almost), 1);
        }
        now += Duration::from_secs(seconds);
        assert_eq!(wait(&throttle, HERE, "a", now), 0);
    }
    assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
}

#[test]
fn a_stranger_locks_nobody_out_elsewhere() {
    let (throttle, now) = (throttle(), Instant::now());
    for _ in 0..1000 {
        note(&throttle, THERE, "victim", false, now);
    }
    assert!(wait(&throttle, THERE, "victim", now) >= 900);
    assert_eq!(wait(&throttle, HERE, "victim", now), 0);
}

#[test]
fn a_good_login_clears_its_own_counter_only() {
    let (throttle, now) = (throttle(), Instant::now());
    for name in ["a", "b"] {
        for _ in 0..3 {
            note(&throttle, HERE, name, false, now);
        }
    }
    note(&throttle, HERE, "a", true, now);
    assert_eq!((wait(&throttle, HERE, "a", now), wait(&throttle, HERE, "b", now)), (0, 1));
}

/// Many names from one address: the address is held back, but names that are known there are not.
#[test]
fn spraying_is_held_back_and_neighbours_are_not() {
    let (throttle, now) = (throttle(), Instant::now());
    note(&throttle, HERE, "neighbour", true, now);
    for number in 0..20 {
        assert_eq!(wait(&throttle, HERE, &format!("name-{number}"), now), 0, "{number}");
        note(&throttle, HERE, &format!("name-{number}"), false, now);
    }
    assert_eq!(wait(&throttle, HERE, "anybody", now), 6);
    assert_eq!(wait(&throttle, HERE, "neighbour", now), 0);
    assert_eq!(wait(&throttle, THERE, "anybody", now), 0);
    // Failures are forgiven one after another.
    assert_eq!(wait(&throttle, HERE, "anybody", now + Duration::from_secs(6)), 0);
    note(&throttle, HERE, "anybody", false, now + Duration::from_secs(6));
    assert_eq!(wait(&throttle, HERE, "another", now + Duration::from_secs(6)), 6);
    // A known name is held back too when it guesses.
    for _ in 0..4 {
        note(&throttle, HERE, "neighbour", false, now);
    }
    assert!(wait(&throttle, HERE, "neighbour", now) > 0);
}

#[test]
fn failures_are_forgotten_after_an_hour() {
    let (throttle, now) = (throttle(), Instant::now());
    for _ in 0..3 {
        note(&throttle, HERE, "a", false, now);
    }
    let later = now + Duration::from_hours(1);
    note(&throttle, HERE, "a", false, later);
    assert_eq!(wait(&throttle, HERE, "a", later), 0);
}

#[test]
fn the_tables_do_not_grow_for_ever() {
    let (throttle, now) = (throttle(), Instant::now());
    let count = u32::try_from(MAX_PAIRS * 3).unwrap();
    for number in 0..count {
        note(&throttle, IpAddr::V4(number.into()), "a", false, now + Duration::from_millis(number.into()));
    }
    throttle.with(|table| {
        assert!(table.pairs.len() <= MAX_PAIRS && table.pairs.len() > MAX_PAIRS / 2, "{}", table.pairs.len());
        assert!(table.addresses.len() <= MAX_PAIRS, "{}", table.addresses.len());
        // The newest stay.
        assert!(table.addresses.contains_key(&IpAddr::V4((count - 1).into())));
    });
}

#[test]
fn a_network_of_ipv6_is_held_back_as_one_address() {
    let (throttle, now) = (throttle(), Instant::now());
    let address = |network: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
    for host in 0..4 {
        note(&throttle, address(1, host), "victim", false, now);
    }
    assert!(wait(&throttle, address(1, 99), "victim", now) > 0, "the name waits in the whole network");
    assert_eq!(wait(&throttle, address(2, 0), "victim", now), 0, "and nowhere else");
    for host in 0..40 {
        note(&throttle, address(1, host), &format!("user {host}"), false, now);
    }
    assert!(wait(&throttle, address(1, 98), "somebody", now) > 0, "guesses over the network are counted together");
    assert_eq!(wait(&throttle, address(2, 0), "somebody", now), 0);
}
