//! Token requests, and the requests that must be refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use transship_oci::RepositoryName;

use super::support::{Lossy, Memory, Reply, Script, client, content, name, reply, sha256};
use crate::{ClientError, Credentials, ErrorKind, TokenSource};

fn basic() -> Credentials {
    Credentials::Basic { username: "robot".into(), password: "secret-password".into() }
}

fn challenge(realm: &str) -> Reply {
    let value = format!(r#"Bearer realm="{realm}",service="registry",scope="repository:team/app:pull,push""#);
    reply(401, &[("www-authenticate", &value)], "")
}

fn token(text: &str, seconds: u64) -> Reply {
    reply(200, &[], format!(r#"{{"token":"old","access_token":"{text}","expires_in":{seconds}}}"#))
}

fn session() -> Reply {
    reply(202, &[("location", "/v2/team/app/blobs/uploads/1")], "")
}

#[tokio::test]
async fn a_challenge_is_answered_once_and_the_token_kept() {
    let server =
        Script::start_with(|base| vec![challenge(&format!("{base}/token")), token("t1", 300), session(), session()])
            .await;
    let client = client(&server.base).with_credentials(basic());
    client.start_upload(&name()).await.unwrap();
    client.start_upload(&name()).await.unwrap();

    let seen = server.take_seen().await;
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[1].line(), "GET /token?service=registry&scope=repository%3Ateam%2Fapp%3Apull%2Cpush");
    assert_eq!(seen[1].header("authorization"), Some("Basic cm9ib3Q6c2VjcmV0LXBhc3N3b3Jk"));
    assert_eq!(seen[2].header("authorization"), Some("Bearer t1"));
    assert_eq!(seen[3].header("authorization"), Some("Bearer t1"));
}

#[tokio::test]
async fn a_token_that_ends_is_not_used() {
    let server = Script::start_with(|base| {
        let realm = format!("{base}/token");
        vec![challenge(&realm), token("t1", 0), session(), challenge(&realm), token("t2", 300), session()]
    })
    .await;
    let client = client(&server.base).with_credentials(basic());
    client.start_upload(&name()).await.unwrap();
    client.start_upload(&name()).await.unwrap();
    let seen = server.take_seen().await;
    assert_eq!(seen[3].header("authorization"), None);
    assert_eq!(seen[5].header("authorization"), Some("Bearer t2"));
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_ends_it() {
    let server = Script::start_with(|base| {
        let realm = format!("{base}/token");
        vec![challenge(&realm), token("t1", 300), challenge(&realm)]
    })
    .await;
    let error = client(&server.base).with_credentials(basic()).start_upload(&name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert_eq!(error.status(), Some(401));
    assert_eq!(server.take_seen().await.len(), 3);
}

#[tokio::test]
async fn basic_is_sent_where_basic_is_asked_for() {
    let asks = || reply(401, &[("www-authenticate", r#"Basic realm="registry""#)], "");
    let server = Script::start([asks(), session(), session()]).await;
    let both = client(&server.base).with_credentials(basic());
    both.start_upload(&name()).await.unwrap();
    both.start_upload(&name()).await.unwrap();
    let seen = server.take_seen().await;
    assert_eq!(seen.len(), 3);
    assert!(seen[1..].iter().all(|seen| seen.header("authorization").unwrap().starts_with("Basic ")));

    let server = Script::start([asks()]).await;
    let error = client(&server.base).with_credentials(basic()).start_upload(&name()).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert_eq!(server.take_seen().await.len(), 2);
}

#[tokio::test]
async fn a_realm_elsewhere_is_never_asked() {
    let other = Script::start([token("t1", 300)]).await;
    for realm in [
        format!("{}/token", other.base),
        other.base.replace("http://", "//"),
        other.base.replace("http://", "http://127.0.0.1@"),
        "http://169.254.169.254/latest".to_owned(),
        "https://127.0.0.1/token".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://user:pass@SELF/token".to_owned(),
    ] {
        let server = Script::start_with(|base| vec![challenge(&realm.replace("SELF", &base["http://".len()..]))]).await;
        let error = client(&server.base).with_credentials(basic()).start_upload(&name()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{realm}");
        assert!(error.to_string().contains("refused"), "{error}");
        assert_eq!(server.take_seen().await.len(), 1, "{realm}");
    }
    assert!(other.take_seen().await.is_empty());
}

#[tokio::test]
async fn neither_token_nor_password_is_ever_shown() {
    let server = Script::start_with(|base| {
        vec![challenge(&format!("{base}/token")), reply(200, &[], r#"{"token":"shown-token","expires_in":"x"}"#)]
    })
    .await;
    let client = client(&server.base).with_credentials(basic());
    let error = client.start_upload(&name()).await.unwrap_err();
    let text = format!("{error} {error:?} {client:?} {:?}", Credentials::Bearer("secret-password".into()));
    assert!(!text.contains("shown-token") && !text.contains("secret-password") && !text.contains("scope="), "{text}");
}

#[tokio::test]
async fn a_mount_asks_for_both_repositories() {
    let server = Script::start_with(|base| {
        vec![challenge(&format!("{base}/token")), token("t1", 300), reply(201, &[("location", "/x")], "")]
    })
    .await;
    let from: RepositoryName = "team/base".parse().unwrap();
    let mount = client(&server.base).mount_or_start(&name(), &sha256(b"x"), &from).await.unwrap();
    assert!(matches!(mount, crate::Mount::Mounted));
    let seen = server.take_seen().await;
    assert!(seen[1].uri.query().unwrap().ends_with("scope=repository%3Ateam%2Fbase%3Apull"), "{}", seen[1].uri);
    assert!(seen[0].uri.query().unwrap().ends_with("&from=team%2Fbase"), "{}", seen[0].uri);
}

/// Counts how often it is asked for a fresh token; the n-th one is `token-n`.
#[derive(Default)]
struct Counting {
    fresh: AtomicUsize,
}

#[async_trait]
impl TokenSource for Counting {
    async fn token(&self, _: &RepositoryName, fresh: bool) -> Result<String, ClientError> {
        let step = usize::from(fresh);
        Ok(format!("token-{}", self.fresh.fetch_add(step, Ordering::SeqCst) + step))
    }
}

#[tokio::test]
async fn a_source_is_asked_for_a_fresh_token_once() {
    let server = Script::start([reply(401, &[], ""), session()]).await;
    let source = Arc::new(Counting::default());
    let credentials = Credentials::Source(Arc::clone(&source) as Arc<dyn TokenSource>);
    client(&server.base).with_credentials(credentials.clone()).start_upload(&name()).await.unwrap();
    let sent: Vec<_> = server.take_seen().await.iter().map(|s| s.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Bearer token-0", "Bearer token-1"]);

    let server = Script::start([reply(401, &[], "")]).await;
    let error = client(&server.base).with_credentials(credentials).start_upload(&name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert_eq!(server.take_seen().await.len(), 2);
    assert_eq!(source.fresh.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_that_ends_in_mid_upload_is_renewed_and_the_upload_goes_on() {
    let server = Lossy::start().await;
    server.state.lock().await.patch_answers.push_back((401, Vec::new()));
    server.state.lock().await.cuts.push_back(50_000);
    let source = Arc::new(Counting::default());
    let client =
        client(&server.base).with_credentials(Credentials::Source(Arc::clone(&source) as Arc<dyn TokenSource>));
    let bytes = content(200_000);
    client.push_blob(&name(), &sha256(&bytes), 200_000, &Memory(bytes.clone()), &|_| ()).await.unwrap();
    assert_eq!(source.fresh.load(Ordering::SeqCst), 1);
    assert_eq!(server.state.lock().await.blobs.len(), 1);
}
