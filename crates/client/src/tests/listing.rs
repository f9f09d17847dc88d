//! Pages of tags and referrers.

use transship_oci::{Digest, Tag, media};

use super::support::{Script, client, name, reply, sha256};
use crate::ErrorKind;

fn index(digest: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{}","digest":"{digest}","size":2,"artifactType":"a/b"}}]}}"#,
        media::OCI_INDEX,
        media::OCI_MANIFEST
    )
}

#[tokio::test]
async fn tags_are_read_page_by_page() {
    let link = r#"</v2/team/app/tags/list?n=1000&last=b>; rel="next""#;
    let server = Script::start([
        reply(200, &[("link", link)], r#"{"name":"team/app","tags":["a","b"]}"#),
        reply(200, &[], r#"{"name":"team/app","tags":["c"]}"#),
    ])
    .await;
    let tags = client(&server.base).list_tags(&name()).await.unwrap();
    assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
    let lines: Vec<_> = server.take_seen().await.iter().map(super::support::Seen::line).collect();
    assert_eq!(lines, ["GET /v2/team/app/tags/list?n=1000", "GET /v2/team/app/tags/list?n=1000&last=b"]);

    for empty in [reply(404, &[], ""), reply(200, &[], r#"{"name":"x","tags":null}"#)] {
        let server = Script::start([empty]).await;
        assert!(client(&server.base).list_tags(&name()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_endless_or_hostile_list_ends() {
    let own = r#"</v2/team/app/tags/list?last=a>; rel="next""#;
    let server = Script::start([reply(200, &[("link", own)], r#"{"tags":["a"]}"#)]).await;
    let error = client(&server.base).list_tags(&name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert_eq!(server.take_seen().await.len(), 1000);

    let other = Script::start([reply(200, &[], r#"{"tags":[]}"#)]).await;
    let link = format!("<{}/v2/x>; rel=\"next\"", other.base);
    let server = Script::start([reply(200, &[("link", &link)], r#"{"tags":["a"]}"#)]).await;
    client(&server.base).list_tags(&name()).await.unwrap_err();
    assert!(other.take_seen().await.is_empty());

    for body in [r#"{"tags":["a\u0000"]}"#, r#"{"tags":["a/b"]}"#, "[]", "<html>"] {
        let server = Script::start([reply(200, &[], body)]).await;
        assert_eq!(client(&server.base).list_tags(&name()).await.unwrap_err().kind(), ErrorKind::Permanent, "{body}");
    }
}

#[tokio::test]
async fn referrers_come_from_the_api_or_from_the_tag_that_stands_in() {
    let (subject, referrer) = (sha256(b"subject"), sha256(b"{}"));
    let server = Script::start([reply(200, &[], index(referrer.as_str()))]).await;
    let found = client(&server.base).referrers(&name(), &subject).await.unwrap();
    assert_eq!((&found[0].digest, found[0].artifact_type.as_deref()), (&referrer, Some("a/b")));

    let types = [("content-type", media::OCI_INDEX)];
    let server = Script::start([reply(404, &[], ""), reply(200, &types, index(referrer.as_str()))]).await;
    assert_eq!(client(&server.base).referrers(&name(), &subject).await.unwrap(), found);
    assert_eq!(server.take_seen().await[1].line(), format!("GET /v2/team/app/manifests/sha256-{}", subject.hex()));

    // A tag keeps 64 of the 128 digits of a sha512 digest.
    let long: Digest = format!("sha512:{}", "0f".repeat(64)).parse().unwrap();
    let server = Script::start([reply(404, &[], ""), reply(200, &types, index(referrer.as_str()))]).await;
    assert_eq!(client(&server.base).referrers(&name(), &long).await.unwrap(), found);
    assert_eq!(server.take_seen().await[1].line(), format!("GET /v2/team/app/manifests/sha512-{}", "0f".repeat(32)));

    for second in [reply(404, &[], ""), reply(200, &[("content-type", media::OCI_MANIFEST)], "{}")] {
        let server = Script::start([reply(404, &[], ""), second]).await;
        assert!(client(&server.base).referrers(&name(), &subject).await.unwrap().is_empty());
    }
}
