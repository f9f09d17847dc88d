use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Busy, ConnectionLimits, Connections, FRESH, Seat, TrustedProxies};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

fn limits(all: usize, of_one_address: usize, proxies: TrustedProxies) -> ConnectionLimits {
    ConnectionLimits { all, of_one_address, proxies }
}

async fn seat(connections: &Connections, from: IpAddr) -> (Option<Seat>, Busy) {
    let busy = Busy::default();
    (connections.admit(connections.place().await, from, &busy), busy)
}

fn told(seat: Option<&Seat>) -> bool {
    seat.is_some_and(|seat| seat.close().is_cancelled())
}

/// Times of idleness are counted in milliseconds.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

#[tokio::test]
async fn the_longest_idle_makes_room_for_its_own_address() {
    let connections = Connections::new(limits(10, 2, TrustedProxies::default()));
    let (other, _) = seat(&connections, THERE).await;
    a_moment().await;
    let (first, first_busy) = seat(&connections, HERE).await;
    a_moment().await;
    let (second, second_busy) = seat(&connections, HERE).await;
    let at_work = first_busy.begin();
    let (third, _) = seat(&connections, HERE).await;
    assert!(third.is_some());
    assert_eq!((told(other.as_ref()), told(first.as_ref()), told(second.as_ref())), (false, false, true));
    drop((second, third));
    let (second, second_busy2) = seat(&connections, HERE).await;
    let also_at_work = second_busy2.begin();
    // Both are at work now: a third is refused, and one from elsewhere is not.
    assert!(seat(&connections, HERE).await.0.is_none());
    assert!(seat(&connections, THERE).await.0.is_some());
    drop((at_work, also_at_work, second, second_busy));
    assert!(seat(&connections, HERE).await.0.is_some());
}

#[tokio::test]
async fn when_all_places_are_taken_the_longest_idle_leaves() {
    let connections = Connections::new(limits(2, 100, TrustedProxies::default()));
    let (first, first_busy) = seat(&connections, HERE).await;
    let (second, _second_busy) = seat(&connections, THERE).await;
    let at_work = first_busy.begin();
    let waiting = {
        let connections = connections.clone();
        tokio::spawn(async move { seat(&connections, THERE).await.0.is_some() })
    };
    second.as_ref().unwrap().close().cancelled().await;
    assert!(!told(first.as_ref()));
    assert!(!waiting.is_finished());
    drop(second);
    assert!(waiting.await.unwrap());
    drop(at_work);
}

/// While the others are busy, the newest is the longest idle, and its request is on its way.
#[tokio::test]
async fn who_has_just_come_makes_no_room() {
    let connections = Connections::new(limits(2, 100, TrustedProxies::default()));
    let (_first, first_busy) = seat(&connections, HERE).await;
    let _at_work = first_busy.begin();
    let start = Instant::now();
    let (second, _second_busy) = seat(&connections, HERE).await;
    let place = tokio::time::timeout(FRESH / 4, connections.place()).await;
    // After a stall of this length on a slow machine, it is no longer fresh.
    assert!(place.is_err() && (!told(second.as_ref()) || start.elapsed() >= FRESH));
    let second = second.unwrap();
    tokio::select! {
        _ = connections.place() => panic!("there is no place"),
        () = second.close().cancelled() => {}
    }
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_many() {
    let proxies = TrustedProxies::new(vec!["192.0.2.1".parse().unwrap()]);
    let connections = Connections::new(limits(10, 1, proxies));
    let seats = [seat(&connections, HERE).await, seat(&connections, HERE).await];
    let _at_work = [seats[0].1.begin(), seats[1].1.begin()];
    assert!(seat(&connections, HERE).await.0.is_some());
    assert!(!told(seats[0].0.as_ref()));
}

#[tokio::test]
async fn limits_change_while_connections_are_open() {
    let connections = Connections::new(limits(1, 1, TrustedProxies::default()));
    let (first, _first_busy) = seat(&connections, HERE).await;
    connections.set_limits(limits(3, 2, TrustedProxies::default()));
    let (second, _second_busy) = seat(&connections, HERE).await;
    assert!(first.is_some() && second.is_some() && !told(first.as_ref()));
    connections.set_limits(limits(2, 2, TrustedProxies::default()));
    assert!(!told(first.as_ref()) && !told(second.as_ref()), "the free place is taken first");
    // The remaining place is removed, and the next connection has to wait for one of the two.
    let third = tokio::time::timeout(Duration::from_millis(300), connections.place()).await;
    assert!(third.is_err(), "two connections are open, and two may be");
    drop((first, second));
    assert!(tokio::time::timeout(Duration::from_secs(10), connections.place()).await.is_ok());
}

#[tokio::test]
async fn fewer_connections_end_as_many_idle_ones_at_once() {
    let connections = Connections::new(limits(6, 6, TrustedProxies::default()));
    let mut seats = Vec::new();
    for _ in 0..6 {
        seats.push(seat(&connections, HERE).await);
        a_moment().await;
    }
    let at_work = [seats[0].1.begin(), seats[1].1.begin()];
    connections.set_limits(limits(3, 6, TrustedProxies::default()));
    let ended = |seats: &[(Option<Seat>, Busy)]| seats.iter().map(|(seat, _)| told(seat.as_ref())).collect::<Vec<_>>();
    assert_eq!(ended(&seats), [false, false, true, true, true, false], "the longest idle");
    // They end, and so does one more: there is a place again, although all that are left are busy.
    seats.truncate(2);
    assert!(tokio::time::timeout(Duration::from_secs(10), connections.place()).await.is_ok());
    // If all are busy, there is nothing to end.
    connections.set_limits(limits(1, 6, TrustedProxies::default()));
    assert_eq!(ended(&seats), [false, false]);
    drop(at_work);
}
