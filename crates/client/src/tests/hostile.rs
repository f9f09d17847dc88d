//! Peers that direct the client to another origin, or make it hold too much.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::support::{Reply, Script, client, name, reply, sha256};
use crate::ErrorKind;

#[tokio::test]
async fn a_redirect_is_followed_by_reads_within_the_origin_only() {
    let digest = sha256(b"x");
    let server = Script::start([reply(307, &[("location", "/elsewhere")], ""), reply(200, &[], "x")]).await;
    drop(client(&server.base).get_blob(&name(), &digest, None).await.unwrap());
    assert_eq!(server.take_seen().await[1].line(), "GET /elsewhere");

    let other = Script::start([reply(200, &[], "x")]).await;
    for target in
        [other.base.as_str(), "http://169.254.169.254/", "file:///etc/passwd", "https://127.0.0.1/", "//evil/"]
    {
        let server = Script::start([reply(307, &[("location", target)], "")]).await;
        let error = client(&server.base).get_blob(&name(), &digest, None).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
        let error = client(&server.base).start_upload(&name()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
        assert_eq!(server.take_seen().await.len(), 2);
    }
    assert!(other.take_seen().await.is_empty());

    let server = Script::start([reply(302, &[("location", "/loop")], "")]).await;
    let error = client(&server.base).head_blob(&name(), &digest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert_eq!(server.take_seen().await.len(), 4);
    client(&server.base).start_upload(&name()).await.unwrap_err();
    assert_eq!(server.take_seen().await.len(), 1);
}

#[tokio::test]
async fn an_upload_location_elsewhere_is_refused() {
    let other = Script::start([reply(202, &[], "")]).await;
    let server = Script::start([reply(202, &[("location", &format!("{}/u", other.base))], "")]).await;
    let error = client(&server.base).start_upload(&name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);

    // In the middle of an upload too.
    let elsewhere = format!("{}/u?_state=secret", other.base);
    let server = Script::start([
        reply(202, &[("location", "/v2/team/app/blobs/uploads/1")], ""),
        reply(202, &[("location", &elsewhere), ("range", "0-2")], ""),
    ])
    .await;
    let mut session = client(&server.base).start_upload(&name()).await.unwrap();
    let error = session.append(0, stream::iter([Ok(Bytes::from_static(b"abc"))]).boxed(), 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(other.take_seen().await.is_empty());

    let server = Script::start([reply(202, &[], "")]).await;
    assert_eq!(client(&server.base).start_upload(&name()).await.unwrap_err().kind(), ErrorKind::Permanent);
}

/// A body without an end, as fast as it is read or a byte now and then.
fn endless(status: u16, pause: Option<Duration>) -> Reply {
    Box::new(move || {
        let pieces = stream::repeat(()).then(move |()| async move {
            match pause {
                None => Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 16 * 1024])),
                Some(pause) => {
                    tokio::time::sleep(pause).await;
                    Ok(Bytes::from_static(b" "))
                }
            }
        });
        Response::builder().status(status).body(Body::from_stream(pieces)).unwrap()
    })
}

#[tokio::test]
async fn bodies_without_an_end_are_cut_off() {
    let tag = "v1".parse().unwrap();
    let server = Script::start([endless(200, None)]).await;
    let error = client(&server.base).get_manifest(&name(), &tag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert!(error.to_string().contains("more than 4194304 bytes"), "{error}");

    let server = Script::start([endless(403, None)]).await;
    let error = client(&server.base).start_upload(&name()).await.unwrap_err();
    assert_eq!(error.status(), Some(403));

    let drip = Duration::from_millis(100);
    let server = Script::start([endless(200, Some(drip))]).await;
    let error = client(&server.base).get_manifest(&name(), &tag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
}

#[tokio::test]
async fn a_peer_that_does_not_answer_is_given_up_after_the_idle_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let begun = tokio::time::Instant::now();
    let error = client(&base).head_blob(&name(), &sha256(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.is_away());
    // One attempt, not three: a silence has already taken the idle time.
    assert!(begun.elapsed() < Duration::from_millis(600), "{:?}", begun.elapsed());
}
