//! Uploads that are interrupted in every way.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use tokio::net::TcpListener;

use super::support::{Lossy, Memory, Script, client, content, name, reply, settings, sha256};
use crate::{BlobSource, ErrorKind, Mount, RegistryClient, SourceStream};

const LEN: usize = 300_000;

/// Pushes `LEN` bytes; returns the bytes sent and the sum of the progress.
async fn push(server: &Lossy) -> Result<(u64, u64), crate::ClientError> {
    let bytes = content(LEN);
    let done = AtomicU64::new(0);
    let progress = |delta| {
        done.fetch_add(delta, Ordering::SeqCst);
    };
    let sent =
        client(&server.base).push_blob(&name(), &sha256(&bytes), LEN as u64, &Memory(bytes.clone()), &progress).await?;
    assert_eq!(server.state.lock().await.blobs[sha256(&bytes).as_str()], bytes);
    Ok((sent, done.into_inner()))
}

#[tokio::test]
async fn an_undisturbed_push_is_three_requests() {
    let server = Lossy::start().await;
    assert_eq!(push(&server).await.unwrap(), (LEN as u64, LEN as u64));
    assert_eq!(server.state.lock().await.log.len(), 3);
}

#[tokio::test]
async fn an_empty_blob_is_pushed_without_a_patch() {
    let server = Lossy::start().await;
    let empty = Memory(Bytes::new());
    client(&server.base).push_blob(&name(), &sha256(b""), 0, &empty, &|_| ()).await.unwrap();
    assert_eq!(server.count("PATCH").await, 0);
    assert!(server.state.lock().await.blobs.contains_key(sha256(b"").as_str()));
}

#[tokio::test]
async fn a_push_goes_on_where_it_was_cut() {
    for k in [1, 2, 4095, 100_000, LEN - 1, LEN] {
        let server = Lossy::start().await;
        server.state.lock().await.cuts.push_back(k);
        let (sent, done) = push(&server).await.unwrap();
        assert_eq!(done, LEN as u64, "cut at {k}");
        // Bytes in flight when the connection broke are sent twice, and so is the byte that the protocol cannot report.
        assert!(sent <= (2 * LEN - k + 1) as u64, "cut at {k}: {sent}");
        assert_eq!(server.count("PATCH").await, if k == LEN { 1 } else { 2 }, "cut at {k}");
        assert_eq!(server.count("POST").await, if k == 1 { 2 } else { 1 }, "cut at {k}");
        assert!(server.state.lock().await.sessions.is_empty(), "cut at {k}: a session is left over");
    }
}

#[tokio::test]
async fn progress_resets_the_attempts() {
    let server = Lossy::start().await;
    server.state.lock().await.cuts.extend([10_000; 20]);
    push(&server).await.unwrap();
    assert_eq!(server.count("PATCH").await, 21);
}

#[tokio::test]
async fn attempts_without_progress_are_bounded() {
    let server = Lossy::start().await;
    server.state.lock().await.patch_answers.extend((0..100).map(|_| (500, Vec::new())));
    let error = push(&server).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(server.count("PATCH").await, 6);
}

#[tokio::test]
async fn a_session_that_is_lost_is_started_anew_but_not_for_ever() {
    let server = Lossy::start().await;
    server.state.lock().await.cuts.extend([200_000, 200_000]);
    server.state.lock().await.forgets = true;
    push(&server).await.unwrap();
    assert_eq!(server.count("POST").await, 3);

    let server = Lossy::start().await;
    server.state.lock().await.cuts.extend([200_000; 100]);
    server.state.lock().await.forgets = true;
    push(&server).await.unwrap_err();
    assert_eq!(server.count("POST").await, 6);
}

#[tokio::test]
async fn a_lost_answer_to_the_commit_does_not_send_the_blob_again() {
    let server = Lossy::start().await;
    server.state.lock().await.lost_answers = 1;
    assert_eq!(push(&server).await.unwrap(), (LEN as u64, LEN as u64));
    assert_eq!(server.count("HEAD").await, 1);
}

#[tokio::test]
async fn a_wrong_digest_is_tried_once_more() {
    let server = Lossy::start().await;
    server.state.lock().await.flips = 1;
    assert_eq!(push(&server).await.unwrap(), (2 * LEN as u64, LEN as u64));

    let server = Lossy::start().await;
    server.state.lock().await.flips = 100;
    let error = push(&server).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert_eq!(error.code(), Some("DIGEST_INVALID"));
    assert_eq!(server.count("PATCH").await, 2);
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_waited_out_if_it_is_short() {
    let server = Lossy::start().await;
    let pause = |seconds: &str| (429, vec![("retry-after", seconds.to_owned())]);
    server.state.lock().await.patch_answers.push_back(pause("1"));
    let begun = tokio::time::Instant::now();
    push(&server).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));

    server.state.lock().await.patch_answers.push_back(pause("600"));
    let error = push(&server).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RetryAfter(Duration::from_mins(10)));
}

#[tokio::test]
async fn a_refusal_ends_the_push_and_cancels_the_session() {
    for status in [403, 405, 413] {
        let server = Lossy::start().await;
        server.state.lock().await.patch_answers.push_back((status, Vec::new()));
        let error = push(&server).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Permanent, Some(status)));
        assert_eq!(server.count("DELETE").await, 1);
        assert!(server.state.lock().await.sessions.is_empty());
    }
}

#[tokio::test]
async fn an_offset_that_differs_is_asked_for() {
    let server = Lossy::start().await;
    let bytes = content(LEN);
    let client = client(&server.base);
    let session = client.start_upload(&name()).await.unwrap();
    // Bytes arrive that this client does not know of: its earlier request is still being served.
    server.state.lock().await.sessions.get_mut("s1").unwrap().extend_from_slice(&bytes[..1000]);
    let sent =
        client.push_blob_from(session, &sha256(&bytes), LEN as u64, &Memory(bytes.clone()), &|_| ()).await.unwrap();
    assert!(sent >= LEN as u64 - 1000);
    assert_eq!(server.state.lock().await.blobs.len(), 1);
}

#[tokio::test]
async fn a_session_is_resumed_by_its_location() {
    let server = Lossy::start().await;
    let bytes = content(LEN);
    let first = client(&server.base);
    let mut session = first.start_upload(&name()).await.unwrap();
    let half = stream::iter([Ok(bytes.slice(..LEN / 2))]).boxed();
    session.append(0, half, LEN as u64 / 2).await.unwrap();
    assert_eq!(session.offset_bytes(), LEN as u64 / 2);
    let location = session.location().to_owned();
    assert!(!format!("{session:?}").contains("secret"));
    drop((first, session));

    let second = client(&server.base);
    let session = second.resume_upload(&name(), &location).await.unwrap();
    let (digest, source) = (sha256(&bytes), Memory(bytes.clone()));
    let sent = second.push_blob_from(session, &digest, LEN as u64, &source, &|_| ()).await.unwrap();
    assert_eq!(sent, LEN as u64 / 2);

    let error = second.resume_upload(&name(), &location).await.unwrap_err();
    assert!(error.is_session_lost(), "{error}");
    let error = second.resume_upload(&name(), "http://127.0.0.1:1/v2/team/app/blobs/uploads/s1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
}

#[tokio::test]
async fn a_mount_that_is_not_granted_is_an_upload() {
    let from = "team/base".parse().unwrap();
    let digest = sha256(b"x");
    let session = || reply(202, &[("location", "/v2/team/app/blobs/uploads/1"), ("oci-chunk-min-length", "5")], "");
    for first in [None, Some(405), Some(403), Some(400)] {
        let server = Script::start(first.map(|status| reply(status, &[], "")).into_iter().chain([session()])).await;
        let Mount::Session(session) = client(&server.base).mount_or_start(&name(), &digest, &from).await.unwrap()
        else {
            panic!("it was not mounted");
        };
        assert_eq!(session.chunk_min_bytes(), Some(5));
    }
}

/// A source whose stream does not match its size.
struct Odd(Box<dyn Fn(u64) -> io::Result<SourceStream> + Send + Sync>);

#[async_trait]
impl BlobSource for Odd {
    async fn open(&self, offset_bytes: u64) -> io::Result<SourceStream> {
        (self.0)(offset_bytes)
    }
}

async fn push_odd(server: &Lossy, open: impl Fn(u64) -> io::Result<SourceStream> + Send + Sync + 'static) -> ErrorKind {
    let source = Odd(Box::new(open));
    client(&server.base).push_blob(&name(), &sha256(b"x"), 100, &source, &|_| ()).await.unwrap_err().kind()
}

#[tokio::test]
async fn a_source_that_is_not_what_it_should_be_is_never_committed() {
    let server = Lossy::start().await;
    let longer = |_| Ok(stream::iter([Ok(Bytes::from(vec![0; 101]))]).boxed());
    assert_eq!(push_odd(&server, longer).await, ErrorKind::Permanent);
    let shorter = |offset: u64| Ok(stream::iter((offset == 0).then(|| Ok(Bytes::from(vec![0; 99])))).boxed());
    assert_eq!(push_odd(&server, shorter).await, ErrorKind::Retry);
    let gone = |_| Err(io::ErrorKind::NotFound.into());
    assert_eq!(push_odd(&server, gone).await, ErrorKind::Permanent);
    let spoilt = |_| Ok(stream::iter([Err(io::ErrorKind::InvalidData.into())]).boxed());
    assert_eq!(push_odd(&server, spoilt).await, ErrorKind::Permanent);
    assert_eq!(server.count("PUT").await, 0);
}

#[tokio::test]
async fn a_source_that_breaks_once_is_read_on() {
    let server = Lossy::start().await;
    let bytes = content(LEN);
    let copy = bytes.clone();
    let opened = AtomicUsize::new(0);
    let source = Odd(Box::new(move |offset| {
        let rest = copy.slice(usize::try_from(offset).unwrap()..);
        if opened.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(stream::iter([Ok(rest)]).boxed());
        }
        Ok(stream::iter([Ok(rest.slice(..1000)), Err(io::ErrorKind::ConnectionReset.into())]).boxed())
    }));
    client(&server.base).push_blob(&name(), &sha256(&bytes), LEN as u64, &source, &|_| ()).await.unwrap();
    assert_eq!(server.state.lock().await.blobs.len(), 1);
}

#[tokio::test]
async fn slow_is_no_error_but_silent_is() {
    let server = Lossy::start().await;
    let bytes = content(100);
    let drip = |bytes: Bytes, pause: Duration| {
        move |offset: u64| {
            let rest = bytes.slice(usize::try_from(offset).unwrap()..);
            let pieces: Vec<Bytes> = rest.chunks(10).map(|piece| rest.slice_ref(piece)).collect();
            Ok(stream::iter(pieces)
                .then(move |piece| async move {
                    tokio::time::sleep(pause).await;
                    Ok(piece)
                })
                .boxed())
        }
    };
    // Ten times 80 ms: longer in all than the idle time of 300 ms.
    let slow = Odd(Box::new(drip(bytes.clone(), Duration::from_millis(80))));
    client(&server.base).push_blob(&name(), &sha256(&bytes), 100, &slow, &|_| ()).await.unwrap();
    assert_eq!(server.count("PATCH").await, 1);

    let silent = Odd(Box::new(drip(bytes.clone(), Duration::from_mins(10))));
    let mut session = client(&server.base).start_upload(&name()).await.unwrap();
    let error = session.append(0, silent.open(0).await.unwrap(), 100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains("no byte moved"), "{error}");
}

/// Pushes a gigabyte: at any time, only a few megabytes are between the source and the registry's reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_blob_is_never_held() {
    const SIZE: u64 = 1 << 30;
    const PIECE: usize = 256 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    let app = axum::Router::new().fallback(move |request: Request| {
        let counter = Arc::clone(&counter);
        async move {
            let (parts, body) = request.into_parts();
            let mut pieces = body.into_data_stream();
            while let Some(piece) = pieces.next().await {
                counter.fetch_add(piece.unwrap().len() as u64, Ordering::SeqCst);
            }
            let status = if parts.method == "PUT" { StatusCode::CREATED } else { StatusCode::ACCEPTED };
            let response = Response::builder().status(status).header(header::LOCATION, "/v2/team/app/blobs/uploads/1");
            response.body(Body::empty()).unwrap()
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });

    let most = Arc::new(AtomicU64::new(0));
    let (seen, highest) = (Arc::clone(&received), Arc::clone(&most));
    let source = Odd(Box::new(move |_| {
        let piece = Bytes::from(vec![0; PIECE]);
        let (seen, highest) = (Arc::clone(&seen), Arc::clone(&highest));
        let pieces = stream::iter(1..=SIZE / PIECE as u64).map(move |count| {
            highest.fetch_max(count * PIECE as u64 - seen.load(Ordering::SeqCst), Ordering::SeqCst);
            Ok(piece.clone())
        });
        Ok(pieces.boxed())
    }));
    let client =
        RegistryClient::new(&crate::ClientSettings { idle_timeout: Duration::from_secs(10), ..settings(&base) })
            .unwrap();
    let sent = client.push_blob(&name(), &sha256(b"x"), SIZE, &source, &|_| ()).await.unwrap();
    assert_eq!((sent, received.load(Ordering::SeqCst)), (SIZE, SIZE));
    let most = most.load(Ordering::SeqCst);
    // Most of it is in the socket buffers.
    assert!(most < 24 << 20, "{most} bytes were on their way at once");
}
