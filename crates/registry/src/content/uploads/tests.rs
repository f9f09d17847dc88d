use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use transship_oci::{Action, DigestAlgorithm, Reference, RepositoryName, Scope};

use super::*;
use transship_store::BlobStore as _;

use crate::access::grants::GrantSpec;
use crate::access::token_grant::Grant;
use crate::content::blobs::Mount;
use crate::testing::{TestRegion, body, delete, name, pull, push, settings};

async fn region() -> (TestRegion, RepositoryName, Arc<Grant>) {
    let mut settings = settings("region-a");
    // Time for which a blob may be without a manifest.
    settings.collection.unlink_grace = Duration::from_hours(1);
    let region = TestRegion::start_with(settings).await;
    region.namespace("group").await;
    let app = name("group/app");
    let grant = region.grant(&region.admin, &app).await;
    (region, app, grant)
}

fn sha256(content: &[u8]) -> Digest {
    Digest::of(DigestAlgorithm::Sha256, content)
}

#[tokio::test]
async fn chunks_make_a_blob() {
    let (region, app, grant) = region().await;
    let session =
        region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let first = region
        .registry
        .content()
        .append_upload(push(&grant, &app), &session, None, body(&[b"hello", b" "]))
        .await
        .unwrap();
    assert_eq!(first.offset_bytes, 6);
    let range = ContentRange::of_chunk(6, 5);
    let second =
        region.registry.content().append_upload(push(&grant, &app), &session, range, body(&[b"world"])).await.unwrap();
    assert_eq!(second.offset_bytes, 11);
    let digest = sha256(b"hello world");
    region
        .registry
        .content()
        .finish_upload(push(&grant, &app), &session, None, body(&[]), digest.clone())
        .await
        .unwrap();
    assert_eq!(region.read_blob(&app, &digest).await, b"hello world");
    let gone = region.registry.content().upload_status(push(&grant, &app), &session).await.unwrap_err();
    assert!(matches!(gone, ServiceError::UploadAbsent), "{gone}");
}

/// A body of unknown length ends when it exceeds the quota, even one that counts only if it arrives whole.
#[tokio::test]
async fn endless_bodies_end_at_the_quota() {
    let mut limited = settings("region-a");
    limited.quotas.bytes = Some(1 << 20);
    let region = TestRegion::start_with(limited).await;
    region.namespace("group").await;
    let app = name("group/app");
    let grant = region.grant(&region.admin, &app).await;
    for closing in [false, true] {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let frames = futures::stream::iter(0..100).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from(vec![0; 1 << 20]))
        });
        let session =
            region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
        let refused = if closing {
            let digest = sha256(b"whatever");
            region
                .registry
                .content()
                .finish_upload(push(&grant, &app), &session, None, Body::new(frames, None), digest)
                .await
                .unwrap_err()
        } else {
            region
                .registry
                .content()
                .append_upload(push(&grant, &app), &session, None, Body::new(frames, None))
                .await
                .unwrap_err()
        };
        assert!(matches!(refused, ServiceError::NamespaceFull(_)), "{refused}");
        assert!(taken.load(Ordering::Relaxed) < 100, "the whole body was taken, closing: {closing}");
        let gone = region.registry.content().upload_status(push(&grant, &app), &session).await.unwrap_err();
        assert!(matches!(gone, ServiceError::UploadAbsent), "{gone}");
    }
}

/// A writer that takes a session over from one that only seems dead must not lose any bytes to it.
#[tokio::test]
async fn a_stalled_writer_removes_nothing_of_its_successor() {
    let (region, app, grant) = region().await;
    let (registry, digest) = (&region.registry, sha256(b"content"));
    let session = registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    // One writer stops after its first statement, another one after its first bytes. Their leases expire.
    let fresh = Location::fresh().to_string();
    let mut stalled = registry.catalog().take_writer(&session, "stalled", 0, &fresh).await.unwrap().unwrap();
    let mut writing = Receiving::begin(
        registry.content(),
        registry.content().upload(push(&grant, &app), &session).await.unwrap(),
        None,
        Duration::from_secs(1),
    )
    .await
    .unwrap();
    writing.writer.write(Bytes::from_static(b"cont")).await.unwrap();
    registry.catalog().release_orphans().await.unwrap();

    registry
        .content()
        .finish_upload(push(&grant, &app), &session, None, body(&[b"content"]), digest.clone())
        .await
        .unwrap();
    // Both continue with what they were about to do.
    let opened = Receiving::open(registry.content(), &mut stalled, "stalled", None).await;
    drop(opened);
    registry.content().discard(&session, Abandon::Writer("stalled")).await.unwrap();
    let ended = writing.leave(registry.content(), Ok(())).await.unwrap_err();
    assert!(matches!(ended, ServiceError::UploadBusy), "{ended}");
    assert_eq!(region.read_blob(&app, &digest).await, b"content");
    // The garbage collection finds what they left behind.
    assert_eq!(locations_in_the_end(&region).await, 1);
}

/// Number of locations that hold bytes after all garbage is gone.
async fn locations_in_the_end(region: &TestRegion) -> usize {
    region.registry.upkeep().collect_once().await;
    region.store.list(None, 10).await.unwrap().len()
}

/// A writer that has lost its session and then finds a wrong digest does not end the session of the next writer.
#[tokio::test]
async fn a_writer_that_lost_its_session_does_not_end_it() {
    let (region, app, grant) = region().await;
    let registry = &region.registry;
    let session = registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let upload = registry.content().upload(push(&grant, &app), &session).await.unwrap();
    let mut old = Receiving::begin(registry.content(), upload, None, Duration::ZERO).await.unwrap();
    old.receive(registry.content(), None, body(&[b"other"])).await.unwrap();
    registry.catalog().release_orphans().await.unwrap();
    let fresh = Location::fresh().to_string();
    registry.catalog().take_writer(&session, "new", WRITER_LEASE_MS, &fresh).await.unwrap().unwrap();
    let error = old.commit(registry.content(), sha256(b"content")).await.unwrap_err();
    assert!(matches!(error, ServiceError::DigestMismatch { .. }), "{error}");
    assert_eq!(
        registry.content().upload_status(push(&grant, &app), &session).await.unwrap().offset_bytes,
        0,
        "it is still there"
    );
}

/// After a power cut the row may know less than the disk: bytes lie where, as far as the row knows, nobody has written.
#[tokio::test]
async fn bytes_that_nobody_wrote_are_stepped_round() {
    let (region, app, grant) = region().await;
    let session =
        region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let upload = region.registry.content().upload(push(&grant, &app), &session).await.unwrap();
    let mut writer = region.store.create(&Location::from(upload.location.clone())).await.unwrap();
    writer.write(Bytes::from_static(b"from before")).await.unwrap();
    writer.finish().await.unwrap();
    let digest = sha256(b"content");
    region
        .registry
        .content()
        .finish_upload(push(&grant, &app), &session, None, body(&[b"content"]), digest.clone())
        .await
        .unwrap();
    assert_eq!(region.read_blob(&app, &digest).await, b"content");
    assert_eq!(locations_in_the_end(&region).await, 1);
}

#[tokio::test]
async fn known_content_without_its_bytes_takes_those_that_came() {
    let (region, app, _) = region().await;
    for cut in [false, true] {
        let digest = region.push_blob(&app, b"content").await;
        let stored = region.registry.catalog().stored_blob(&digest).await.unwrap().unwrap().blob;
        let location = Location::from(stored.location.clone());
        region.store.delete(&location).await.unwrap();
        if cut {
            let mut writer = region.store.create(&location).await.unwrap();
            writer.write(Bytes::from_static(b"cont")).await.unwrap();
            writer.finish().await.unwrap();
        }
        region.push_blob(&app, b"content").await;
        assert_eq!(region.read_blob(&app, &digest).await, b"content", "cut short: {cut}");
        let now = region.registry.catalog().stored_blob(&digest).await.unwrap().unwrap();
        assert!(now.quarantined.is_none() && now.blob.location != stored.location);
        assert_eq!(locations_in_the_end(&region).await, 1, "the old bytes are gone");
    }
}

#[tokio::test]
async fn a_mount_of_what_is_not_there_asks_for_it() {
    let (region, app, _) = region().await;
    let other = name("group/other");
    let digest = region.push_blob(&app, b"content").await;
    let stored = region.registry.catalog().stored_blob(&digest).await.unwrap().unwrap().blob;
    region.store.delete(&Location::from(stored.location)).await.unwrap();
    let scopes = [Scope::repository(&other, &[Action::All]), Scope::repository(&app, &[Action::Pull])];
    let token = region.registry.identity().issue_registry_token(Some(&region.admin), &scopes).await.unwrap().token;
    let grant = region.registry.identity().verify_registry_token(&token).unwrap();
    let mount = async || region.registry.content().mount_blob(push(&grant, &other), &digest, &app).await.unwrap();
    assert_eq!(mount().await, Mount::Nothing);
    region.push_blob(&other, b"content").await;
    for repository in [&app, &other] {
        assert_eq!(region.read_blob(repository, &digest).await, b"content");
    }
    assert_eq!(mount().await, Mount::Done);
}

/// A closing PUT names its digest, so it may bring content that the organization has, of any size and in any way.
#[tokio::test]
async fn what_the_organization_has_comes_beyond_the_limit() {
    let (region, app, _) = region().await;
    let content = vec![7; 65 << 20];
    let digest = region.push_blob(&app, &content).await;
    let limit = [(transship_catalog::Resource::Bytes, transship_catalog::Limit::At(66 << 20))];
    region.registry.content().set_quotas(app.namespace(), &limit).await.unwrap();
    let other = name("group/other");
    let grant = region.grant(&region.admin, &other).await;
    let frames = |count: usize| -> Body {
        let frame = Bytes::from(vec![7; 1 << 20]);
        Body::new(futures::stream::iter((0..count).map(move |_| Ok(frame.clone()))), None)
    };
    let close = async |count: usize, digest: &Digest| {
        let session = region
            .registry
            .content()
            .start_upload(push(&grant, &other), DigestAlgorithm::Sha256)
            .await
            .unwrap()
            .session;
        region
            .registry
            .content()
            .finish_upload(push(&grant, &other), &session, None, frames(count), digest.clone())
            .await
    };
    close(65, &digest).await.unwrap();
    // That does not get round the limit: more bytes than that content has are refused, and so is any other content.
    for (count, digest) in [(140, &digest), (65, &sha256(b"something else"))] {
        let refused = close(count, digest).await.unwrap_err();
        assert!(matches!(refused, ServiceError::NamespaceFull(_)), "{refused}");
    }
    // A PATCH does not name a digest, so its bytes must fit.
    let session =
        region.registry.content().start_upload(push(&grant, &other), DigestAlgorithm::Sha256).await.unwrap().session;
    let refused =
        region.registry.content().append_upload(push(&grant, &other), &session, None, frames(2)).await.unwrap_err();
    assert!(matches!(refused, ServiceError::NamespaceFull(_)), "{refused}");
    assert!(region.registry.content().upload_status(push(&grant, &other), &session).await.is_err());
    let usages = region.registry.content().namespace_usages().await.unwrap();
    assert_eq!(usages[0].usage[0].used, 65 << 20, "what was refused counts no more");
}

/// Bytes accepted as content that the organization has, whose upload broke off, may not become other content.
#[tokio::test]
async fn what_came_beyond_the_limit_becomes_nothing_else() {
    let (region, app, grant) = region().await;
    let registry = &region.registry;
    let known = region.push_blob(&app, &vec![7; 65 << 20]).await;
    let limit = [(transship_catalog::Resource::Bytes, transship_catalog::Limit::At(65 << 20))];
    registry.content().set_quotas(app.namespace(), &limit).await.unwrap();
    let used = async || registry.content().namespace_usages().await.unwrap()[0].usage[0].used;
    let junk = Bytes::from(vec![8; 1 << 20]);
    let broken = |frames: usize| -> Body {
        let frame = junk.clone();
        let frames = futures::stream::iter((0..frames).map(move |_| Ok(frame.clone())));
        Body::new(frames.chain(futures::stream::iter([Err("cut".to_owned())])), None)
    };
    // With a range the bytes stay. Without one the next body begins anew, and may be too short for a checkpoint.
    for (range, frames, rest) in [(ContentRange::of_chunk(0, 65 << 20), 1, &[][..]), (None, 64, &junk[..])] {
        let session =
            registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
        let cut =
            registry.content().finish_upload(push(&grant, &app), &session, range, broken(frames), known.clone()).await;
        let cut = cut.unwrap_err();
        assert!(matches!(cut, ServiceError::BodyBroken(_)), "{cut}");
        let status = registry.content().upload_status(push(&grant, &app), &session).await.unwrap();
        assert_eq!(status.offset_bytes + rest.len() as u64, 1 << 20);
        assert_eq!(used().await, 65 << 20);
        let junk = sha256(&junk);
        let refused =
            registry.content().finish_upload(push(&grant, &app), &session, None, body(&[rest]), junk.clone()).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, ServiceError::NamespaceFull(_)), "{refused}");
        assert!(registry.content().find_blob(pull(&app), &junk).await.is_err());
        assert_eq!(used().await, 65 << 20);
    }
    // The content itself may be cut off again, and then arrive whole.
    let session = registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let frame = Bytes::from(vec![7; 1 << 20]);
    let frames = |count: usize| futures::stream::iter(std::iter::repeat_n(Ok(frame.clone()), count));
    let cut = frames(30).chain(futures::stream::iter([Err("cut".to_owned())]));
    let range = ContentRange::of_chunk(0, 65 << 20);
    registry
        .content()
        .finish_upload(push(&grant, &app), &session, range, Body::new(cut, None), known.clone())
        .await
        .unwrap_err();
    registry
        .content()
        .finish_upload(push(&grant, &app), &session, None, Body::new(frames(35), None), known.clone())
        .await
        .unwrap();
    assert_eq!(used().await, 65 << 20);
}

#[tokio::test]
async fn a_chunk_out_of_order_changes_nothing() {
    let (region, app, grant) = region().await;
    let session =
        region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    region.registry.content().append_upload(push(&grant, &app), &session, None, body(&[b"0123"])).await.unwrap();
    for first in [0, 2, 5] {
        let range = ContentRange::of_chunk(first, 4);
        let error = region
            .registry
            .content()
            .append_upload(push(&grant, &app), &session, range, body(&[b"4567"]))
            .await
            .unwrap_err();
        assert!(matches!(error, ServiceError::RangeInvalid { offset_bytes: 4, .. }), "{first}: {error}");
        let digest = sha256(b"01234567");
        let error = region
            .registry
            .content()
            .finish_upload(push(&grant, &app), &session, range, body(&[b"4567"]), digest)
            .await;
        assert!(matches!(error.unwrap_err(), ServiceError::RangeInvalid { offset_bytes: 4, .. }), "{first}, closing");
    }
    let digest = sha256(b"01234567");
    let range = ContentRange::of_chunk(4, 4);
    region
        .registry
        .content()
        .finish_upload(push(&grant, &app), &session, range, body(&[b"4567"]), digest.clone())
        .await
        .unwrap();
    assert_eq!(region.read_blob(&app, &digest).await, b"01234567");
}

#[tokio::test]
async fn a_client_that_vanishes_goes_on_where_its_bytes_are_durable() {
    let (region, app, grant) = region().await;
    let session =
        region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let frames = futures::stream::iter([Ok(Bytes::from_static(b"abc")), Err("cut".to_owned())]);
    let broken = Body::new(frames, Some(6));
    let error = region.registry.content().append_upload(push(&grant, &app), &session, None, broken).await.unwrap_err();
    assert!(matches!(error, ServiceError::BodyBroken(_)), "{error}");
    let status = region.registry.content().upload_status(push(&grant, &app), &session).await.unwrap();
    assert_eq!(status.offset_bytes, 3);
    let digest = sha256(b"abcdef");
    region
        .registry
        .content()
        .finish_upload(push(&grant, &app), &session, None, body(&[b"def"]), digest.clone())
        .await
        .unwrap();
    assert_eq!(region.read_blob(&app, &digest).await, b"abcdef");
}

#[tokio::test]
async fn wrong_bytes_are_never_linked_and_end_the_session() {
    let (region, app, grant) = region().await;
    let session =
        region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let digest = sha256(b"what was promised");
    let error = region
        .registry
        .content()
        .finish_upload(push(&grant, &app), &session, None, body(&[b"other"]), digest.clone())
        .await;
    assert!(matches!(error.unwrap_err(), ServiceError::DigestMismatch { .. }));
    assert!(matches!(
        region.registry.content().find_blob(pull(&app), &digest).await.unwrap_err(),
        ServiceError::BlobAbsent(_)
    ));
    assert!(region.registry.content().upload_status(push(&grant, &app), &session).await.is_err());
    assert!(region.store.list(None, 10).await.unwrap().is_empty(), "the bytes are freed");
}

#[tokio::test]
async fn either_algorithm_verifies_whatever_the_session_expected() {
    let (region, app, grant) = region().await;
    let digest = Digest::of(DigestAlgorithm::Sha512, b"content");
    for expects in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512] {
        let session = region.registry.content().start_upload(push(&grant, &app), expects).await.unwrap().session;
        region
            .registry
            .content()
            .finish_upload(push(&grant, &app), &session, None, body(&[b"content"]), digest.clone())
            .await
            .unwrap();
        assert_eq!(region.read_blob(&app, &digest).await, b"content");
    }
    assert_eq!(region.store.list(None, 10).await.unwrap().len(), 1, "the same content is stored once");
}

#[tokio::test]
async fn the_closing_put_may_be_repeated_by_whoever_closed() {
    let (region, app, grant) = region().await;
    let registry = &region.registry;
    let session = registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let digest = sha256(b"content");
    for _ in 0..3 {
        registry
            .content()
            .finish_upload(push(&grant, &app), &session, None, body(&[b"content"]), digest.clone())
            .await
            .unwrap();
    }
    let other = registry
        .content()
        .finish_upload(push(&grant, &app), &session, None, body(&[]), sha256(b"other"))
        .await
        .unwrap_err();
    assert!(matches!(other, ServiceError::UploadAbsent), "{other}");
    // Another user who may push here does not get a blob by knowing session and digest (H2).
    let other = region.user("other").await;
    let spec = crate::access::grants::GrantSpec { user_id: other.user_id.clone(), user_name: String::new(), level: 3 };
    registry.access().add_namespace_grants(&region.admin, app.namespace(), &[spec]).await.unwrap();
    let theirs = region.grant(&other, &app).await;
    let refused = registry
        .content()
        .finish_upload(push(&theirs, &app), &session, None, body(&[b"content"]), digest.clone())
        .await;
    assert!(matches!(refused.unwrap_err(), ServiceError::UploadAbsent));
    // Nor does a deleted blob come back.
    registry.content().delete_blob(delete(&app), &digest).await.unwrap();
    let gone =
        registry.content().finish_upload(push(&grant, &app), &session, None, body(&[b"content"]), digest.clone()).await;
    assert!(matches!(gone.unwrap_err(), ServiceError::UploadAbsent));
    assert!(registry.content().find_blob(pull(&app), &digest).await.is_err());
}

#[tokio::test]
async fn a_closing_body_that_was_cut_short_may_be_repeated() {
    let (region, app, grant) = region().await;
    let registry = &region.registry;
    let session = registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    for begun in [0, 3] {
        let cut = futures::stream::iter([Ok(Bytes::from_static(b"de")), Err("cut".to_owned())]);
        let cut = Body::new(cut, None);
        let digest = sha256(b"abcdef");
        let error =
            registry.content().finish_upload(push(&grant, &app), &session, None, cut, digest).await.unwrap_err();
        assert!(matches!(error, ServiceError::BodyBroken(_)), "{error}");
        assert_eq!(registry.content().upload_status(push(&grant, &app), &session).await.unwrap().offset_bytes, begun);
        if begun == 0 {
            registry.content().append_upload(push(&grant, &app), &session, None, body(&[b"abc"])).await.unwrap();
        }
    }
    let digest = sha256(b"abcdef");
    registry
        .content()
        .finish_upload(push(&grant, &app), &session, None, body(&[b"def"]), digest.clone())
        .await
        .unwrap();
    assert_eq!(region.read_blob(&app, &digest).await, b"abcdef");
}

#[tokio::test]
async fn two_closers_at_once_both_hear_of_the_blob() {
    let (region, app, grant) = region().await;
    let session =
        region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let digest = sha256(b"content");
    let close = || {
        region.registry.content().finish_upload(push(&grant, &app), &session, None, body(&[b"content"]), digest.clone())
    };
    let (one, other) = tokio::join!(close(), close());
    one.unwrap();
    other.unwrap();
    assert_eq!(region.read_blob(&app, &digest).await, b"content");
}

#[tokio::test]
async fn a_session_belongs_to_its_repository_and_its_user() {
    let (region, app, grant) = region().await;
    let other = region.user("other").await;
    let spec = crate::access::grants::GrantSpec { user_id: other.user_id.clone(), user_name: String::new(), level: 3 };
    region.registry.access().add_namespace_grants(&region.admin, app.namespace(), &[spec]).await.unwrap();
    let session =
        region.registry.content().start_upload(push(&grant, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let theirs = region.grant(&other, &app).await;
    let status = region.registry.content().upload_status(push(&theirs, &app), &session).await.unwrap_err();
    assert!(matches!(status, ServiceError::UploadAbsent), "{status}");
    assert!(region.registry.content().cancel_upload(push(&theirs, &app), &session).await.is_err());
    let elsewhere = name("group/elsewhere");
    region.push_image(&elsewhere, "v1", b"layer").await;
    let grant_elsewhere = region.grant(&region.admin, &elsewhere).await;
    assert!(region.registry.content().upload_status(push(&grant_elsewhere, &elsewhere), &session).await.is_err());
    region.registry.content().cancel_upload(push(&grant, &app), &session).await.unwrap();
}

#[tokio::test]
async fn a_manifest_names_only_what_its_own_repository_holds() {
    let (region, app, _) = region().await;
    let digest = region.push_image(&app, "v1", b"layer").await;
    let elsewhere = name("group/elsewhere");
    region.push_image(&elsewhere, "v1", b"another layer").await;
    let manifest = region.registry.content().find_manifest(pull(&app), &Reference::Digest(digest)).await.unwrap();
    let value: serde_json::Value = serde_json::from_slice(manifest.raw.as_ref().unwrap()).unwrap();
    let error = region.push_manifest(&elsewhere, "stolen", &value).await.unwrap_err();
    assert!(matches!(error, ServiceError::BlobUnknown(_)), "{error}");
}

#[tokio::test]
async fn a_mount_needs_pull_on_the_source_in_the_same_token() {
    let (region, app, grant) = region().await;
    let layer = region.push_blob(&app, b"layer").await;
    let target = name("group/target");
    let mount = async |grant: &Arc<Grant>, digest: &Digest, from: &RepositoryName| {
        region.registry.content().mount_blob(push(grant, &target), digest, from).await.unwrap()
    };
    // The user may pull from the source, but the token was not requested with that scope.
    let only_target = region.grant(&region.admin, &target).await;
    assert_eq!(mount(&only_target, &layer, &app).await, Mount::AskForMore);
    assert_eq!(mount(&only_target, &layer, &name("group/none")).await, Mount::Nothing);
    let scopes = [Scope::repository(&target, &[Action::All]), Scope::repository(&app, &[Action::Pull])];
    let both = region.registry.identity().issue_registry_token(Some(&region.admin), &scopes).await.unwrap().token;
    let both = region.registry.identity().verify_registry_token(&both).unwrap();
    assert_eq!(mount(&both, &layer, &app).await, Mount::Done);
    assert_eq!(region.read_blob(&target, &layer).await, b"layer");
    assert_eq!(mount(&both, &sha256(b"absent"), &app).await, Mount::Nothing);
    // A token that was requested with the source, and got no pull there, is not sent back for more.
    let scopes = [Scope::repository(&target, &[Action::All]), Scope::repository(&app, &[Action::Push])];
    let push_only = region.registry.identity().issue_registry_token(Some(&region.admin), &scopes).await.unwrap().token;
    let push_only = region.registry.identity().verify_registry_token(&push_only).unwrap();
    assert_eq!(mount(&push_only, &layer, &app).await, Mount::Nothing);
    // A user who may not pull from the source does not learn whether it exists.
    let writer = region.user("writer").await;
    region.namespace("hidden").await;
    let hidden = name("hidden/app");
    let secret = region.push_blob(&hidden, b"secret").await;
    region
        .registry
        .access()
        .add_namespace_grants(
            &region.admin,
            target.namespace(),
            &[GrantSpec { user_id: writer.user_id.clone(), user_name: writer.user_name.clone(), level: 3 }],
        )
        .await
        .unwrap();
    let theirs = region.grant(&writer, &target).await;
    assert_eq!(mount(&theirs, &secret, &hidden).await, Mount::Nothing);
    assert_eq!(mount(&theirs, &secret, &name("hidden/none")).await, Mount::Nothing);
    let _ = grant;
}
