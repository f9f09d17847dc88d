use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use http::request::Parts;
use tokio::sync::mpsc;

use super::{ADDRESS_BYTES, Bodies, Sender, WholeBodyError, read_whole, read_within};

fn parts(bodies: &Bodies, length: Option<usize>) -> Parts {
    let mut request = http::Request::builder().extension(bodies.clone());
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    request.body(()).unwrap().into_parts().0
}

/// A body that sends what it is given, and ends when the sender is dropped.
fn open_body() -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let stream = futures::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    (sender, Body::from_stream(stream.map(Ok::<Bytes, Infallible>)))
}

#[tokio::test]
async fn the_limit_is_exact() {
    let parts = parts(&Bodies::default(), None);
    for (bytes, fine) in [(0, true), (9, true), (10, true), (11, false), (1000, false)] {
        let pieces = vec![7_u8; bytes].chunks(4).map(|c| Ok::<_, Infallible>(c.to_vec())).collect::<Vec<_>>();
        let body = Body::from_stream(futures::stream::iter(pieces));
        let read = read_whole(&parts, body, 10, Sender::Stranger).await.map(|read| read.bytes.len());
        assert_eq!(read, if fine { Ok(bytes) } else { Err(WholeBodyError::TooLarge { limit_bytes: 10 }) });
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_from_a_large_one() {
    let pieces = [Ok("abc"), Err(std::io::Error::other("gone"))];
    let body = Body::from_stream(futures::stream::iter(pieces));
    let read = read_whole(&parts(&Bodies::default(), None), body, 10, Sender::Stranger).await;
    assert_eq!(read.unwrap_err(), WholeBodyError::Broken);
}

#[tokio::test]
async fn a_body_that_is_announced_as_too_large_is_not_read() {
    let (sender, body) = open_body();
    let read = read_whole(&parts(&Bodies::default(), Some(11)), body, 10, Sender::Stranger).await;
    assert_eq!(read.unwrap_err(), WholeBodyError::TooLarge { limit_bytes: 10 });
    assert!(sender.is_closed());
}

/// A body that is never silent has a time limit too.
#[tokio::test]
async fn a_body_that_trickles_has_an_end() {
    let (sender, body) = open_body();
    let trickle = tokio::spawn(async move {
        while sender.send(Bytes::from_static(b"x")).is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let parts = parts(&Bodies::default(), None);
    let read = read_within(Duration::from_secs(1), &parts, body, 1 << 20, Sender::Proved("account")).await;
    assert_eq!(read.unwrap_err(), WholeBodyError::TooSlow { seconds: 1 });
    trickle.await.unwrap();
    // What operations.md promises.
    assert_eq!(Sender::Stranger.time(), Duration::from_secs(30));
    assert_eq!(Sender::Proved("account").time(), Duration::from_mins(2));
}

/// Slow bodies of one address leave for its next ones; a body that arrives at once is read whatever the others do.
#[tokio::test]
async fn slow_bodies_make_room_for_those_that_come() {
    const EACH: usize = 256 * 1024;
    let bodies = Bodies::default();
    let mut slow = Vec::new();
    for _ in 0..3 * ADDRESS_BYTES / EACH {
        let (sender, body) = open_body();
        let parts = parts(&bodies, None);
        sender.send(vec![0; EACH - 1].into()).unwrap();
        let reading = tokio::spawn(async move { read_whole(&parts, body, EACH, Sender::Stranger).await });
        slow.push((sender, reading));
        let quick = read_whole(&self::parts(&bodies, None), Body::from("{}"), 100, Sender::Stranger).await;
        assert_eq!(quick.unwrap().bytes, "{}");
        tokio::task::yield_now().await;
    }
    let mut left = 0;
    for (sender, reading) in slow {
        drop(sender);
        match reading.await.unwrap() {
            Ok(whole) => assert_eq!(whole.bytes.len(), EACH - 1),
            Err(error) => {
                assert_eq!(error, WholeBodyError::NoRoom);
                left += 1;
            }
        }
    }
    assert!(left >= 2 * ADDRESS_BYTES / EACH, "{left} left");
}
