use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::super::address::TrustedProxies;
use super::{Busy, Connection, GuardedStream, Patience};

/// The time-outs of a server divided by a hundred, except `linger`.
const HURRIED: Patience = Patience {
    head: Duration::from_millis(100),
    first_byte: Duration::from_millis(300),
    keep_alive: Duration::from_millis(750),
    stalled_write: Duration::from_millis(600),
    stalled_answer: Duration::from_millis(1200),
    linger: Duration::from_millis(100),
};

fn pair() -> (DuplexStream, GuardedStream<DuplexStream>, Busy) {
    let (client, server) = duplex(1024);
    let busy = Busy::default();
    let connection =
        Connection { remote: [127, 0, 0, 1].into(), proxies: TrustedProxies::default(), busy: busy.clone() };
    (client, GuardedStream::new(server, &connection, HURRIED), busy)
}

/// A time-out fires at its time, or later on a busy machine; never so late that it must have been another one.
#[track_caller]
fn assert_timed_out((kind, after): (ErrorKind, Duration), expected: Duration) {
    assert_eq!(kind, ErrorKind::TimedOut);
    assert!(after >= expected && after < expected * 5 / 2, "{after:?} instead of {expected:?}");
}

/// Reads until nothing more comes; returns how, and when.
async fn read_out(stream: &mut GuardedStream<DuplexStream>) -> (ErrorKind, Duration) {
    let started = Instant::now();
    let mut buffer = [0_u8; 64];
    loop {
        if let Err(error) = stream.read(&mut buffer).await {
            return (error.kind(), started.elapsed());
        }
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_ends() {
    let (_client, mut server, _) = pair();
    assert_timed_out(read_out(&mut server).await, HURRIED.first_byte);
}

#[tokio::test]
async fn a_head_that_trickles_in_ends_ten_seconds_after_its_first_byte() {
    let (client, mut server, _) = pair();
    let (mut answer, mut trickle) = tokio::io::split(client);
    let writer = tokio::spawn(async move {
        while trickle.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(40)).await;
        }
    });
    let reader = tokio::spawn(async move {
        let mut text = String::new();
        answer.read_to_string(&mut text).await.map(|_| text)
    });
    let started = Instant::now();
    let mut head = Vec::new();
    server.read_to_end(&mut head).await.unwrap();
    let after = started.elapsed();
    assert!(after >= HURRIED.head && after < HURRIED.head * 5, "{after:?}");
    drop(server);
    writer.await.unwrap();
    let text = reader.await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
}

/// Two requests in one packet, the second malformed: the first is answered before the refusal is sent.
#[tokio::test]
async fn a_refusal_waits_for_the_answers_before_it() {
    let (mut client, mut server, busy) = pair();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\nHost: x\r\n\r\n").await.unwrap();
    let mut buffer = [0_u8; 100];
    let head = server.read(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..head], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let guard = busy.begin();
    let waiting = tokio::time::timeout(Duration::from_millis(200), server.read(&mut buffer)).await;
    assert!(waiting.is_err(), "the end is not told while a request is handled");
    server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    server.flush().await.unwrap();
    drop(guard);
    assert_eq!(server.read(&mut buffer).await.unwrap(), 0);
    drop(server);
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    let (first, second) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(first, "HTTP/1.1 200 OK");
    assert!(second.starts_with("HTTP/1.1 400 Bad Request\r\n") && second.contains("Connection: close"), "{second}");
}

#[tokio::test]
async fn a_request_may_take_its_time_and_the_next_may_wait_a_minute() {
    let (mut client, mut server, busy) = pair();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut buffer = [0_u8; 64];
    assert_eq!(server.read(&mut buffer).await.unwrap(), 18);
    let guard = busy.begin();
    // The handler takes twice the keep-alive time: no time-out applies.
    let waiting = tokio::time::timeout(Duration::from_millis(1500), server.read(&mut buffer)).await;
    assert!(waiting.is_err());
    drop(guard);
    assert_timed_out(read_out(&mut server).await, HURRIED.keep_alive);
    drop(client);
}

#[tokio::test]
async fn frames_of_http2_are_not_heads() {
    let (mut client, mut server, _) = pair();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert_timed_out(read_out(&mut server).await, HURRIED.keep_alive);
    drop(client);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let (client, mut server, busy) = pair();
    let _guard = busy.begin();
    let started = Instant::now();
    let error = server.write_all(&[0; 4096]).await.unwrap_err();
    assert_timed_out((error.kind(), started.elapsed()), HURRIED.stalled_write);
    drop(client);
}

#[tokio::test]
async fn a_slow_reader_is_not_a_stalled_one() {
    let (mut client, mut server, busy) = pair();
    let _guard = busy.begin();
    let reader = tokio::spawn(async move {
        let (mut buffer, mut total) = ([0_u8; 512], 0);
        loop {
            match client.read(&mut buffer).await.unwrap() {
                0 => return total,
                bytes => total += bytes,
            }
            sleep(Duration::from_millis(60)).await;
        }
    });
    server.write_all(&[0; 4096]).await.unwrap();
    drop(server);
    assert_eq!(reader.await.unwrap(), 4096);
}

/// HTTP/2: the socket takes everything, and the window of the client takes nothing.
#[tokio::test]
async fn an_answer_that_is_left_alone_ends_its_connection() {
    let (mut client, mut server, busy) = pair();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let _guard = busy.begin();
    let (moving, waiting, left) = (busy.flow(), busy.flow(), busy.flow());
    waiting.asked(false);
    let mover = tokio::spawn(async move {
        loop {
            moving.asked(true);
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert_timed_out(read_out(&mut server).await, HURRIED.stalled_answer);
    drop(left);
    // Answers that move, or that wait for the region itself, may go on.
    let quiet = tokio::time::timeout(Duration::from_secs(2), read_out(&mut server)).await;
    assert!(quiet.is_err());
    mover.abort();
    drop((client, waiting));
}
