//! Manifests: verified on the way in, conditional on the way out.

use bytes::Bytes;
use transship_oci::{Digest, DigestAlgorithm, Reference, Tag, media};

use super::support::{Script, client, name, reply, sha256};
use crate::{ErrorKind, PutCondition};

const RAW: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

fn tag() -> Reference {
    "v1".parse().unwrap()
}

#[tokio::test]
async fn a_manifest_is_read_and_verified() {
    let digest = sha256(RAW);
    for (headers, reference) in [
        (vec![("content-type", "application/vnd.oci.image.index.v1+json; charset=utf-8")], tag()),
        (vec![], tag()),
        (vec![("docker-content-digest", digest.as_str())], tag()),
        (vec![], Reference::Digest(digest.clone())),
    ] {
        let server = Script::start([reply(200, &headers, RAW)]).await;
        let found = client(&server.base).get_manifest(&name(), &reference).await.unwrap().unwrap();
        assert_eq!(found, (digest.clone(), media::OCI_INDEX.to_owned(), Bytes::from_static(RAW)));
        assert_eq!(server.take_seen().await[0].header("accept"), Some(media::ACCEPT_MANIFESTS));
    }
    let long = Digest::of(DigestAlgorithm::Sha512, RAW);
    let server = Script::start([reply(200, &[], RAW)]).await;
    let found = client(&server.base).get_manifest(&name(), &long.clone().into()).await.unwrap().unwrap();
    assert_eq!(found.0, long);
}

#[tokio::test]
async fn a_manifest_that_lies_is_refused() {
    let other = sha256(b"other");
    for (headers, reference) in [
        (vec![("docker-content-digest", other.as_str())], tag()),
        (vec![("docker-content-digest", other.as_str())], Reference::Digest(other.clone())),
        (vec![], Reference::Digest(other.clone())),
        (vec![("docker-content-digest", "sha256:short")], tag()),
    ] {
        let server = Script::start([reply(200, &headers, RAW)]).await;
        let error = client(&server.base).get_manifest(&name(), &reference).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
    }
}

#[tokio::test]
async fn what_is_absent_is_none() {
    let server = Script::start([reply(404, &[], "")]).await;
    assert!(client(&server.base).get_manifest(&name(), &tag()).await.unwrap().is_none());
    assert!(client(&server.base).head_manifest(&name(), &tag()).await.unwrap().is_none());
}

#[tokio::test]
async fn head_tells_the_digest_or_the_bytes_do() {
    let digest = sha256(RAW);
    let server = Script::start([reply(200, &[("docker-content-digest", digest.as_str())], "")]).await;
    assert_eq!(client(&server.base).head_manifest(&name(), &tag()).await.unwrap(), Some(digest.clone()));
    let other = Reference::Digest(sha256(b"other"));
    client(&server.base).head_manifest(&name(), &other).await.unwrap_err();

    let server = Script::start([reply(200, &[], ""), reply(200, &[], RAW)]).await;
    assert_eq!(client(&server.base).head_manifest(&name(), &tag()).await.unwrap(), Some(digest));
}

#[tokio::test]
async fn a_manifest_is_written_as_it_is_under_its_condition() {
    let digest = sha256(RAW);
    let quoted = format!("\"{digest}\"");
    for (condition, none_match, matches) in [
        (PutCondition::Always, None, None),
        (PutCondition::IfAbsent, Some("*"), None),
        (PutCondition::IfDigest(digest.clone()), None, Some(quoted.as_str())),
    ] {
        let server = Script::start([reply(201, &[("docker-content-digest", digest.as_str())], "")]).await;
        let raw = Bytes::from_static(RAW);
        let put = client(&server.base).put_manifest(&name(), &tag(), media::OCI_INDEX, raw, condition).await.unwrap();
        assert_eq!(put, digest);
        let seen = server.take_seen().await.remove(0);
        assert_eq!(seen.line(), "PUT /v2/team/app/manifests/v1");
        assert_eq!(seen.body, RAW);
        assert_eq!(seen.header("content-type"), Some(media::OCI_INDEX));
        assert_eq!((seen.header("if-none-match"), seen.header("if-match")), (none_match, matches));
    }
}

#[tokio::test]
async fn a_conditional_write_is_not_repeated() {
    let raw = || Bytes::from_static(RAW);
    let server = Script::start([reply(500, &[], ""), reply(412, &[], "")]).await;
    let client = client(&server.base);
    let (name, tag) = (name(), tag());
    let put = |condition| client.put_manifest(&name, &tag, media::OCI_INDEX, raw(), condition);
    assert_eq!(put(PutCondition::IfAbsent).await.unwrap_err().kind(), ErrorKind::Retry);
    assert_eq!(put(PutCondition::IfAbsent).await.unwrap_err().kind(), ErrorKind::PreconditionFailed);
    assert_eq!(server.take_seen().await.len(), 2);
}

#[tokio::test]
async fn a_registry_that_stores_something_else_is_found_out() {
    let other = sha256(b"other");
    let server = Script::start([reply(201, &[("docker-content-digest", other.as_str())], "")]).await;
    let client = client(&server.base);
    let raw = Bytes::from_static(RAW);
    client.put_manifest(&name(), &tag(), media::OCI_INDEX, raw.clone(), PutCondition::Always).await.unwrap_err();
    server.take_seen().await;
    // A manifest is not sent under a wrong digest.
    client.put_manifest(&name(), &other.into(), media::OCI_INDEX, raw, PutCondition::Always).await.unwrap_err();
    assert!(server.take_seen().await.is_empty());
}

#[tokio::test]
async fn a_tag_on_a_sha512_manifest_is_a_parameter_of_the_push_by_digest() {
    let raw = || Bytes::from_static(RAW);
    let long = Digest::of(DigestAlgorithm::Sha512, RAW);
    let tag: Tag = "v1".parse().unwrap();
    let told = [("docker-content-digest", long.as_str()), ("oci-tag", "v0, v1")];
    let server = Script::start([reply(201, &told, ""), reply(201, &told[..1], ""), reply(412, &[], "")]).await;
    let client = client(&server.base);
    let name = name();
    let put = |digest: Digest, condition| {
        let (client, name, tag) = (&client, &name, &tag);
        async move { client.put_tagged(name, tag, &digest, media::OCI_INDEX, raw(), condition).await }
    };
    put(long.clone(), PutCondition::IfDigest(sha256(b"old"))).await.unwrap();
    // The second registry stored the manifest and ignored the parameter; the third returned another tag.
    let silent = put(long.clone(), PutCondition::IfAbsent).await.unwrap_err();
    assert!(silent.kind() == ErrorKind::Permanent && silent.to_string().contains("does not set tags"), "{silent}");
    let moved = put(long.clone(), PutCondition::IfAbsent).await.unwrap_err();
    assert_eq!(moved.kind(), ErrorKind::PreconditionFailed);
    let seen = server.take_seen().await;
    assert_eq!(seen[0].line(), format!("PUT /v2/team/app/manifests/{long}?tag=v1"));
    assert_eq!(seen[0].header("if-match"), Some(format!("\"{}\"", sha256(b"old")).as_str()));
    assert_eq!(seen[1].header("if-none-match"), Some("*"));

    // A manifest with a sha256 digest is pushed by tag, as by any client, and never under a wrong digest.
    let short = sha256(RAW);
    let server = Script::start([reply(201, &[("docker-content-digest", short.as_str())], "")]).await;
    let client = super::support::client(&server.base);
    client.put_tagged(&name, &tag, &short, media::OCI_INDEX, raw(), PutCondition::Always).await.unwrap();
    client.put_tagged(&name, &tag, &sha256(b"x"), media::OCI_INDEX, raw(), PutCondition::Always).await.unwrap_err();
    let seen = server.take_seen().await;
    assert_eq!((seen.len(), seen[0].line()), (1, "PUT /v2/team/app/manifests/v1".to_owned()));
}
