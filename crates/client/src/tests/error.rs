//! The retry kind of each status, and the text of messages.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{Script, client, name, reply};
use crate::ErrorKind;
use crate::peer::{PeerClient, TokenRequest};

async fn error_of(status: u16, headers: &[(&str, &str)], body: &'static str) -> crate::ClientError {
    let server = Script::start([reply(status, headers, body)]).await;
    client(&server.base).start_upload(&name()).await.unwrap_err()
}

#[tokio::test]
async fn every_status_has_a_kind() {
    for (status, kind) in [
        (400, ErrorKind::Permanent),
        (401, ErrorKind::Permanent),
        (403, ErrorKind::Permanent),
        (404, ErrorKind::Permanent),
        (405, ErrorKind::Permanent),
        (408, ErrorKind::Retry),
        (409, ErrorKind::Permanent),
        (412, ErrorKind::PreconditionFailed),
        (413, ErrorKind::Permanent),
        (429, ErrorKind::Retry),
        (500, ErrorKind::Retry),
        (501, ErrorKind::Permanent),
        (502, ErrorKind::Retry),
        (503, ErrorKind::Retry),
        (504, ErrorKind::Retry),
        (507, ErrorKind::Retry),
        (200, ErrorKind::Permanent),
    ] {
        let error = error_of(status, &[], "<html>no JSON</html>").await;
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.status(), Some(status));
    }
}

/// The errors that a job waits out without counting them as failures.
#[tokio::test]
async fn away_is_who_cannot_be_reached_or_is_too_busy() {
    for (status, away) in [(429, true), (502, true), (503, true), (504, true), (500, false), (507, false), (403, false)]
    {
        let error = error_of(status, &[], "").await;
        assert_eq!(error.is_away(), away, "{error}");
    }
    assert!(error_of(503, &[("retry-after", "600")], "").await.is_away());
    assert!(client("http://127.0.0.1:1").start_upload(&name()).await.unwrap_err().is_away(), "refused");
    // It answered, and then gave up on this request: that is a failure.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let error = client(&base).start_upload(&name()).await.unwrap_err();
    assert!(!error.is_away(), "{error}");
}

/// A TCP proxy accepts every connection, and closes it if there is no server behind it.
#[tokio::test]
async fn who_closes_the_connection_at_the_first_request_of_a_copy_is_away() {
    let ask = async |read_first: bool, answer: &'static [u8]| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = Vec::new();
                // A connection that is closed with unread bytes is reset.
                while read_first && !request.ends_with(b"}") {
                    connection.read_buf(&mut request).await.unwrap();
                }
                connection.write_all(answer).await.unwrap();
            }
        });
        let request = TokenRequest { namespace: "team".parse().unwrap(), repository: "app".parse().unwrap() };
        PeerClient::new(&base, None).unwrap().token("proof", &request).await.map(|_| ()).unwrap_err()
    };
    for read_first in [true, false] {
        let error = ask(read_first, b"").await;
        assert!(error.is_away(), "{error}");
    }
    for answer in [&b"SSH-2.0-OpenSSH_9.6\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"] {
        let error = ask(true, answer).await;
        assert!(!error.is_away(), "somebody answered: {error}");
    }
}

#[tokio::test]
async fn retry_after_is_seconds_or_a_date() {
    let after = |text: String| async move { error_of(429, &[("retry-after", &text)], "").await.kind() };
    assert_eq!(after("7".into()).await, ErrorKind::RetryAfter(Duration::from_secs(7)));
    assert_eq!(after("99999999999".into()).await, ErrorKind::RetryAfter(Duration::from_hours(1)));
    assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT".into()).await, ErrorKind::RetryAfter(Duration::ZERO));
    assert_eq!(after("soon".into()).await, ErrorKind::Retry);

    let soon = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC) + Duration::from_secs(100);
    let ErrorKind::RetryAfter(pause) = after(soon.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).await else {
        panic!("a date is a pause");
    };
    assert!((95..=100).contains(&pause.as_secs()), "{pause:?}");
    assert_eq!(error_of(503, &[("retry-after", "2")], "").await.kind(), ErrorKind::RetryAfter(Duration::from_secs(2)));
    // Only these two statuses ask for a pause.
    assert_eq!(error_of(500, &[("retry-after", "2")], "").await.kind(), ErrorKind::Retry);
}

#[tokio::test]
async fn a_message_says_what_was_asked_and_what_came_back() {
    let body = r#"{"errors":[{"code":"DENIED","message":"no\r\nwrite access"}]}"#;
    let error = error_of(403, &[], body).await;
    assert_eq!(error.code(), Some("DENIED"));
    let text = error.to_string();
    assert!(text.starts_with("POST http://127.0.0.1:"), "{text}");
    assert!(text.ends_with("/v2/team/app/blobs/uploads/: answered 403 DENIED: no  write access"), "{text}");
}

#[tokio::test]
async fn a_long_message_is_cut() {
    let long = "x".repeat(10_000);
    let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"{long}"}}]}}"#);
    let server = Script::start([reply(403, &[], body)]).await;
    let text = client(&server.base).start_upload(&name()).await.unwrap_err().to_string();
    assert!(text.len() < 500, "{}", text.len());
}

#[tokio::test]
async fn a_small_request_is_repeated_after_a_momentary_failure_only() {
    let server = Script::start([reply(500, &[], ""), reply(502, &[], ""), reply(404, &[], "")]).await;
    let digest = super::support::sha256(b"x");
    assert_eq!(client(&server.base).head_blob(&name(), &digest).await.unwrap(), None);
    assert_eq!(server.take_seen().await.len(), 3);

    let server = Script::start([reply(503, &[("retry-after", "1")], "")]).await;
    client(&server.base).head_blob(&name(), &digest).await.unwrap_err();
    assert_eq!(server.take_seen().await.len(), 1);
}

#[tokio::test]
async fn nobody_there_is_worth_a_retry_and_is_said() {
    let error = client("http://127.0.0.1:1").start_upload(&name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
}

#[test]
fn the_base_url_is_an_origin() {
    for base in ["", "host:5000", "ftp://host", "http://host/path", "http://user@host", "http://host/?q", "/v2"] {
        crate::RegistryClient::new(&crate::ClientSettings::new(base)).unwrap_err();
    }
    for base in ["http://host", "http://host:5000/", "http://[::1]:5000"] {
        crate::RegistryClient::new(&crate::ClientSettings::new(base)).unwrap();
    }
}
