//! Reading blobs.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::support::{Reply, Script, client, content, name, reply, sha256};
use crate::{ClientError, ErrorKind};

async fn read(server: &Script, range: Option<std::ops::Range<u64>>) -> Result<Vec<u8>, ClientError> {
    let stream = client(&server.base).get_blob(&name(), &sha256(b"x"), range).await?;
    stream
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

#[tokio::test]
async fn head_tells_the_size() {
    let server = Script::start([reply(200, &[("content-length", "12345")], "")]).await;
    assert_eq!(client(&server.base).head_blob(&name(), &sha256(b"x")).await.unwrap(), Some(12345));
    assert_eq!(server.take_seen().await[0].line(), format!("HEAD /v2/team/app/blobs/{}", sha256(b"x")));
}

#[tokio::test]
async fn a_blob_and_a_part_of_it_are_read() {
    let bytes = content(50_000);
    let server = Script::start([reply(200, &[], bytes.clone())]).await;
    assert_eq!(read(&server, None).await.unwrap(), bytes);

    let part = reply(206, &[("content-range", "bytes 10-19/50000")], bytes.slice(10..20));
    let server = Script::start([part]).await;
    assert_eq!(read(&server, Some(10..20)).await.unwrap(), bytes[10..20]);
    assert_eq!(server.take_seen().await[0].header("range"), Some("bytes=10-19"));
    assert!(read(&server, Some(7..7)).await.unwrap().is_empty());
}

#[tokio::test]
async fn another_part_than_the_wanted_one_is_an_error() {
    for answer in [
        reply(200, &[], "whole"),
        reply(206, &[("content-range", "bytes 0-9/100")], "0123456789"),
        reply(206, &[("content-range", "bytes 10-18/100")], "012345678"),
        reply(206, &[], "0123456789"),
    ] {
        let server = Script::start([answer]).await;
        assert_eq!(read(&server, Some(10..20)).await.unwrap_err().kind(), ErrorKind::Permanent);
    }
    for answer in
        [reply(206, &[("content-range", "bytes 0-1/2")], "ab"), reply(200, &[("content-encoding", "gzip")], "x")]
    {
        let server = Script::start([answer]).await;
        assert_eq!(read(&server, None).await.unwrap_err().kind(), ErrorKind::Permanent);
    }
    let server = Script::start([reply(404, &[], "")]).await;
    assert!(read(&server, None).await.unwrap_err().is_not_found());
}

/// An answer that announces 100 bytes, sends ten, and then ends or goes silent.
fn broken(silent: bool) -> Reply {
    Box::new(move || {
        let begin = stream::iter([Ok(&[0_u8; 10][..])]);
        let end = stream::once(async move {
            if silent {
                tokio::time::sleep(Duration::from_mins(10)).await;
            }
            Err(std::io::Error::other("broken"))
        });
        Response::builder().header("content-length", 100).body(Body::from_stream(begin.chain(end))).unwrap()
    })
}

#[tokio::test]
async fn a_stream_that_breaks_or_stops_ends_with_an_error() {
    for silent in [false, true] {
        let server = Script::start([broken(silent)]).await;
        let error = read(&server, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    }
}
