use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use transship_catalog::StoredBlob;
use transship_oci::DigestAlgorithm;
use transship_store::{BlobStore as _, Fault, FaultyStore, Location, Operation};

use super::*;
use crate::identity::tokens::TokenError;
use crate::replication::copy::wire::TokenRequest;
use crate::replication::region_tokens::RegionTokenError;
use crate::settings::{Peer, Settings};
use crate::testing::{TestRegion, name, pull, settings};

async fn only_blob(region: &TestRegion) -> StoredBlob {
    let mut all = region.registry.catalog().stored_blobs(None, 10).await.unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

async fn region_with_blob(id: &str, peers: Vec<Peer>) -> (TestRegion, Blob) {
    let region = TestRegion::start_with(Settings { peers, ..settings(id) }).await;
    region.namespace("group").await;
    region.push_blob(&name("group/app"), b"content").await;
    let blob = only_blob(&region).await.blob;
    (region, blob)
}

#[tokio::test]
async fn bytes_that_are_gone_are_not_served_until_they_come_again() {
    let (region, blob) = region_with_blob("region-a", Vec::new()).await;
    let (registry, app) = (&region.registry, name("group/app"));
    let found = registry.content().find_blob(pull(&app), &blob.digest).await.unwrap();
    region.store.delete(&Location::from(blob.location.clone())).await.unwrap();
    let error = registry.content().read_blob(&found, Some(0..3)).await.err();
    assert!(matches!(error, Some(ServiceError::BlobAbsent(_))), "{error:?}");
    let error = registry.content().find_blob(pull(&app), &blob.digest).await.unwrap_err();
    assert!(matches!(error, ServiceError::BlobAbsent(_)), "{error}");
    let quarantined = only_blob(&region).await;
    assert_eq!((quarantined.quarantined.as_deref(), &quarantined.blob), (Some("its bytes are missing"), &blob));

    region.push_blob(&app, b"content").await;
    assert_eq!(region.read_blob(&app, &blob.digest).await, b"content");
    let healed = only_blob(&region).await;
    assert!(healed.quarantined.is_none() && healed.blob.location != blob.location);
    // A damage that was seen in the old bytes does not quarantine the new ones, and the round finds nothing more.
    assert!(!registry.content().quarantine(&blob, "seen long ago").await.unwrap());
    registry.upkeep().scrub_round("me", &mut Pace::new(0)).await.unwrap();
    assert!(only_blob(&region).await.quarantined.is_none());
}

#[tokio::test]
async fn bytes_that_are_put_back_are_served_again() {
    let (region, blob) = region_with_blob("region-a", Vec::new()).await;
    let (registry, location) = (&region.registry, Location::from(blob.location.clone()));
    region.store.delete(&location).await.unwrap();
    let write = async |bytes: &'static [u8]| {
        let mut writer = region.store.create(&location).await.unwrap();
        writer.write(Bytes::from_static(bytes)).await.unwrap();
        writer.finish().await.unwrap();
    };
    write(b"c0ntent").await;
    registry.upkeep().scrub_round("me", &mut Pace::new(0)).await.unwrap();
    let reason = only_blob(&region).await.quarantined.unwrap();
    assert!(reason.contains("digest"), "{reason}");
    // The round is not due again, and no other process can take it.
    registry.upkeep().scrub_round("me", &mut Pace::new(0)).await.unwrap();
    assert_eq!(registry.catalog().take_scrub("other", 1000).await.unwrap(), None);

    region.store.delete(&location).await.unwrap();
    write(b"content").await;
    registry.upkeep().repair_due().await.unwrap();
    assert_eq!(region.read_blob(&name("group/app"), &blob.digest).await, b"content");
}

#[tokio::test]
async fn a_peer_gives_only_what_accounts_of_the_same_name_link() {
    let (asking, blob) = region_with_blob("region-a", Vec::new()).await;
    let stranger = TestRegion::start("region-a").await;
    let peer = asking.as_peer("http://a.example.test");
    let (giving, _) = region_with_blob("region-b", vec![peer.clone()]).await;
    let b = "region-b".parse().unwrap();
    let proof = |accounts: &[&str]| {
        let accounts: Vec<String> = accounts.iter().map(|&name| name.to_owned()).collect();
        asking.registry.trust().mint_repair_token(&b, &blob.digest, &accounts)
    };
    let (size_bytes, _) = giving.registry.upkeep().answer_repair(&proof(&["nobody", "demo"])).await.unwrap().unwrap();
    assert_eq!(size_bytes, blob.size_bytes);
    for accounts in [&["nobody"][..], &[]] {
        let refused = giving.registry.upkeep().answer_repair(&proof(accounts)).await.err().unwrap();
        assert!(matches!(refused, ServiceError::BlobAbsent(_)), "{accounts:?}: {refused}");
    }
    let absent = transship_oci::Digest::of(DigestAlgorithm::Sha256, b"absent");
    let absent = asking.registry.trust().mint_repair_token(&b, &absent, &["demo".to_owned()]);
    assert!(matches!(
        giving.registry.upkeep().answer_repair(&absent).await.err().unwrap(),
        ServiceError::BlobAbsent(_)
    ));

    // A token for one purpose is refused for the other, and so is one with another key, target or region.
    let request = TokenRequest { namespace: "group".parse().unwrap(), repository: "app".parse().unwrap() };
    let crossed = giving.registry.replication().answer_token(&proof(&["demo"]), &request).await.unwrap();
    assert_eq!(crossed.err(), Some(TokenError::Invalid.into()));
    let accounts = ["demo".to_owned()];
    for bad in [
        asking.registry.trust().mint_region_token(&b, "demo", "admin", &name("group/app")),
        asking.registry.trust().mint_repair_token(&"region-c".parse().unwrap(), &blob.digest, &accounts),
        String::new(),
    ] {
        let answer = giving.registry.upkeep().answer_repair(&bad).await.unwrap();
        assert_eq!(answer.err(), Some(TokenError::Invalid.into()), "{bad}");
    }
    let foreign = stranger.registry.trust().mint_repair_token(&b, &blob.digest, &accounts);
    let answer = giving.registry.upkeep().answer_repair(&foreign).await.unwrap();
    assert!(matches!(answer.err(), Some(RegionTokenError::NotPinned { .. })));
    let (closed, _) = region_with_blob("region-b", vec![Peer { repair: false, ..peer }]).await;
    let refused = closed.registry.upkeep().answer_repair(&proof(&["demo"])).await.err().unwrap();
    assert!(matches!(refused, ServiceError::Denied(_)), "{refused}");
}

/// EMFILE, ENFILE, ENOMEM, EACCES: the process cannot read, and nobody has lost anything.
#[tokio::test]
async fn what_the_process_lacks_is_no_damage() {
    let (mut faulty, (url, asked)) = (None, peer_without_bytes().await);
    let peers = vec![TestRegion::start("region-b").await.as_peer(&url)];
    let region = TestRegion::start_on(Settings { peers, ..settings("region-a") }, |store| {
        let store = FaultyStore::new(store);
        faulty = Some(store.clone());
        Arc::new(store)
    })
    .await;
    let faulty = faulty.unwrap();
    region.namespace("group").await;
    let (registry, app) = (&region.registry, name("group/app"));
    region.push_blob(&app, b"content").await;
    let blob = only_blob(&region).await.blob;
    let found = registry.content().find_blob(pull(&app), &blob.digest).await.unwrap();
    for code in [24, 23, 12, 13] {
        for operation in [Operation::Read, Operation::ReadPiece] {
            faulty.fail_from(operation, 1, Fault::Os(code));
            registry.content().inspect(&blob, &mut Pace::new(0)).await.unwrap_err();
            if operation == Operation::Read {
                let error = registry.content().read_blob(&found, None).await.err().unwrap();
                assert!(matches!(error, ServiceError::StorageFault(_)), "{code}: {error}");
            }
            assert!(!registry.upkeep().check(&blob, &mut Pace::new(0), "me").await.unwrap());
            assert_eq!(only_blob(&region).await.quarantined, None, "{code}");
            let mut told = Vec::new();
            let options =
                crate::upkeep::fsck::FsckOptions { repair: true, ..crate::upkeep::fsck::FsckOptions::default() };
            registry.upkeep().fsck(options, |finding| told.push(finding.problem)).await.unwrap();
            assert_eq!(told, [crate::upkeep::fsck::Problem::UncheckedBlob], "{code}");
            faulty.heal();
        }
    }
    assert_eq!(only_blob(&region).await.quarantined, None);
    assert_eq!(region.read_blob(&app, &blob.digest).await, b"content");
    // After EIO the medium is read a second time.
    faulty.fail(Operation::ReadPiece, 1, Fault::Os(5));
    assert_eq!(registry.content().inspect(&blob, &mut Pace::new(0)).await.unwrap(), Verdict::Sound);
    faulty.fail_from(Operation::ReadPiece, 1, Fault::Os(5));
    assert!(registry.upkeep().check(&blob, &mut Pace::new(0), "me").await.unwrap());
    let reason = only_blob(&region).await.quarantined.unwrap();
    assert!(reason.starts_with("its bytes cannot be read"), "{reason}");
    // The fault has passed, as with a loose cable: the blob comes back by itself.
    faulty.heal();
    registry.upkeep().repair_due().await.unwrap();
    assert_eq!(only_blob(&region).await.quarantined, None);
    // If a file may not be read (EACCES), peers are asked for its blob, and the other blob does not wait for that.
    region.push_blob(&app, b"more").await;
    let all = async || registry.catalog().stored_blobs(None, 10).await.unwrap();
    for stored in all().await {
        assert!(registry.content().quarantine(&stored.blob, "for a test").await.unwrap());
    }
    faulty.fail(Operation::Read, 1, Fault::Os(13));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    registry.upkeep().repair_due().await.unwrap();
    assert_eq!(all().await.iter().filter(|stored| stored.quarantined.is_some()).count(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// A peer that answers 404 to everything: where it is, and how often it was asked.
async fn peer_without_bytes() -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        }
    });
    (url, asked)
}
