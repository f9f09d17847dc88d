use serde_json::{Value, json};
use transship_client::peer::{PrepareRequest, TokenRequest, WithdrawRequest};
use transship_oci::{Action, DigestAlgorithm, Scope};

use super::*;
use crate::content::repositories::RepositoryAttributes;
use crate::name_patterns::NamePatterns;
use crate::settings::Peer;
use crate::testing::{TestRegion, body, name, pull, push, settings};

/// A source, and a target that knows it as `change` says.
async fn pair(change: impl FnOnce(&mut Peer)) -> (TestRegion, TestRegion) {
    let source = TestRegion::start("region-a").await;
    let mut with_peer = settings("region-b");
    let mut peer = source.as_peer("http://127.0.0.1:9");
    change(&mut peer);
    with_peer.peers.push(peer);
    let target = TestRegion::start_with(with_peer).await;
    target.namespace("team").await;
    (source, target)
}

fn request(text: &str) -> TokenRequest {
    let name = name(text);
    TokenRequest { namespace: name.namespace().clone(), repository: name.repository().clone() }
}

fn target_id() -> RegionId {
    "region-b".parse().unwrap()
}

/// What the target answers to a new token for a user and a repository.
async fn ask(source: &TestRegion, target: &TestRegion, user: &str, repository: &str) -> Result<String, String> {
    let proof = source.registry.trust().mint_region_token(&target_id(), "demo", user, &name(repository));
    match target.registry.replication().answer_token(&proof, &request(repository)).await {
        Ok(Ok(reply)) => Ok(reply.token),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// A token with good claims but for some, signed by the source.
fn altered(source: &TestRegion, change: &Value) -> String {
    let now = now_seconds();
    let mut claims = json!({"iss": "region-a", "aud": "region-b", "iat": now, "exp": now + 300, "jti": token_id(),
        "purpose": "replicate", "account": "demo", "user": "admin", "namespace": "team", "repository": "app"});
    for (key, value) in change.as_object().unwrap() {
        claims[key] = value.clone();
    }
    source.registry.trust().sign_region_token(&claims)
}

#[tokio::test]
async fn a_region_token_is_good_once_and_for_its_repository() {
    let (source, target) = pair(|_| {}).await;
    let proof = altered(&source, &json!({}));
    assert_eq!(
        target.registry.replication().answer_token(&proof, &request("team/other")).await.unwrap().err(),
        Some(TokenError::Invalid.into()),
        "the request names another repository than the token"
    );
    let reply = target.registry.replication().answer_token(&proof, &request("team/app")).await.unwrap().unwrap();
    assert!(reply.expires_in <= 300);
    let again = target.registry.replication().answer_token(&proof, &request("team/app")).await.unwrap();
    assert_eq!(again.err(), Some(RegionTokenError::Used));

    let digest = transship_oci::Digest::of(DigestAlgorithm::Sha256, b"absent");
    let proof = source.registry.trust().mint_repair_token(&target_id(), &digest, &["demo".to_owned()]);
    assert!(matches!(target.registry.upkeep().answer_repair(&proof).await.err().unwrap(), ServiceError::BlobAbsent(_)));
    let again = target.registry.upkeep().answer_repair(&proof).await.unwrap();
    assert_eq!(again.err(), Some(RegionTokenError::Used));
}

#[tokio::test]
async fn a_region_token_lives_five_minutes_whatever_it_says() {
    let (source, target) = pair(|_| {}).await;
    let now = now_seconds();
    let verdict = |change: Value| {
        let verified = target.registry.trust().verify_region_token::<RegionClaims>(&altered(&source, &change));
        verified.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(verdict(json!({})), Ok(()));
    assert!(verdict(json!({"exp": now + 3600})).unwrap_err().contains("longer than 300 s"));
    // Made in advance, so that it would be good for an hour.
    assert!(verdict(json!({"iat": now + 3600, "exp": now + 3900})).is_err());
    assert!(verdict(json!({"exp": now - 600})).is_err());
    for change in [
        json!({"iat": now, "exp": now - 1}),
        json!({"jti": ""}),
        json!({"jti": "x".repeat(65)}),
        json!({"jti": null}),
        json!({"purpose": "repair"}),
        json!({"aud": "region-c"}),
    ] {
        assert!(verdict(change.clone()).is_err(), "{change}");
    }
}

#[tokio::test]
async fn each_pinned_key_counts_while_a_region_key_is_replaced() {
    let (old, new) = (TestRegion::start("region-a").await, TestRegion::start("region-a").await);
    let mut with_peer = settings("region-b");
    let mut peer = old.as_peer("http://127.0.0.1:9");
    peer.public_keys.extend(new.as_peer("").public_keys);
    with_peer.peers.push(peer);
    let target = TestRegion::start_with(with_peer).await;
    target.namespace("team").await;
    for source in [&old, &new] {
        ask(source, &target, "admin", "team/app").await.unwrap();
    }
}

#[tokio::test]
async fn a_key_that_is_not_pinned_is_named_and_a_stranger_learns_nothing() {
    let (source, target) = pair(|_| {}).await;
    let another = TestRegion::start("region-a").await;
    let seen = another.registry.keys().region_fingerprint();
    let refused = ask(&another, &target, "admin", "team/app").await.unwrap_err();
    assert!(refused.contains("not pinned for region region-a") && refused.contains(&seen), "{refused}");
    assert!(!refused.contains(&source.registry.keys().region_fingerprint()), "the pinned keys are not told: {refused}");
    // A region that nobody knows gets the same answer, so nobody learns which ones are known.
    let unknown = TestRegion::start("region-x").await;
    let refused = ask(&unknown, &target, "admin", "team/app").await.unwrap_err();
    assert!(refused.contains("not pinned for region region-x"), "{refused}");
    // A caller that holds no key, or names a key that did not sign, gets the general sentence.
    let token = another.registry.trust().mint_region_token(&target_id(), "demo", "admin", &name("team/app"));
    let (message, _) = token.rsplit_once('.').unwrap();
    for bad in [format!("{message}."), format!("{message}.AAAA"), "a.b.c".to_owned()] {
        let refused = target.registry.replication().answer_token(&bad, &request("team/app")).await.unwrap().err();
        assert_eq!(refused, Some(TokenError::Invalid.into()), "{bad}");
    }
}

#[tokio::test]
async fn a_peer_acts_for_whom_and_where_its_entry_says() {
    let (source, target) = pair(|peer| {
        peer.administrators = false;
        peer.namespaces = NamePatterns::new(vec!["team".to_owned()]).unwrap();
    })
    .await;
    target.namespace("private").await;
    let robot = target.user("robot").await;
    for organization in ["team", "private"] {
        let spec =
            crate::access::grants::GrantSpec { user_id: robot.user_id.clone(), user_name: String::new(), level: 3 };
        let organization = organization.parse().unwrap();
        target.registry.access().add_namespace_grants(&target.admin, &organization, &[spec]).await.unwrap();
    }
    ask(&source, &target, "robot", "team/app").await.unwrap();
    let refused = ask(&source, &target, "robot", "private/app").await.unwrap_err();
    assert!(refused.contains("organization private (namespaces)"), "{refused}");
    let refused = ask(&source, &target, "admin", "team/app").await.unwrap_err();
    assert!(refused.contains("administrators = true"), "{refused}");

    let (source, target) = pair(|peer| peer.accept = false).await;
    let refused = ask(&source, &target, "admin", "team/app").await.unwrap_err();
    assert!(refused.contains("accept = false"), "{refused}");
    let (source, target) = pair(|peer| peer.accounts = NamePatterns::new(vec!["other".to_owned()]).unwrap()).await;
    let refused = ask(&source, &target, "admin", "team/app").await.unwrap_err();
    assert!(refused.contains("account demo (accounts)"), "{refused}");
    // The same holds for bytes that it says it has lost.
    let blob = target.push_blob(&name("team/app"), b"content").await;
    let proof = source.registry.trust().mint_repair_token(&target_id(), &blob, &["demo".to_owned()]);
    assert!(matches!(target.registry.upkeep().answer_repair(&proof).await.err().unwrap(), ServiceError::BlobAbsent(_)));
}

fn prepare(digests: Vec<Digest>) -> PrepareRequest {
    PrepareRequest {
        namespace: "team".parse().unwrap(),
        repository: "ci".parse().unwrap(),
        tag: "v1".parse().unwrap(),
        digest: Digest::of(DigestAlgorithm::Sha256, b"root"),
        category: "other".to_owned(),
        description: String::new(),
        blobs: digests,
        manifests: Vec::new(),
        attached: Vec::new(),
    }
}

fn withdraw(digest: &Digest) -> WithdrawRequest {
    let PrepareRequest { namespace, repository, tag, .. } = prepare(Vec::new());
    WithdrawRequest { namespace, repository, tag, digest: digest.clone(), before: None }
}

#[tokio::test]
async fn only_a_token_that_was_given_to_a_region_links_what_its_user_may_read() {
    let (source, target) = pair(|_| {}).await;
    let secret = target.push_blob(&name("team/secret"), b"secret").await;
    let scope = Scope::repository(&name("team/ci"), &[Action::Pull, Action::Push]);
    let ordinary = target.registry.identity().issue_registry_token(Some(&target.admin), &[scope]).await.unwrap().token;
    let refused = target.registry.identity().verify_copy_token(&ordinary).unwrap_err();
    assert!(matches!(refused, ServiceError::Denied(_)), "{refused}");
    let grant = target.registry.identity().verify_registry_token(&ordinary).unwrap();
    let refused =
        target.registry.replication().answer_prepare(&grant, &prepare(vec![secret.clone()])).await.unwrap_err();
    assert!(matches!(refused, ServiceError::Denied(_)), "{refused}");
    assert!(target.registry.content().find_blob(pull(&name("team/ci")), &secret).await.is_err());

    let token = ask(&source, &target, "admin", "team/ci").await.unwrap();
    let grant = target.registry.identity().verify_copy_token(&token).unwrap().unwrap();
    let reply = target.registry.replication().answer_prepare(&grant, &prepare(vec![secret])).await.unwrap();
    assert_eq!(reply.missing_blobs, [], "it was linked");
}

#[tokio::test]
async fn a_peer_of_some_organizations_gets_nothing_out_of_the_others() {
    let (source, target) = pair(|peer| peer.namespaces = NamePatterns::new(vec!["team".to_owned()]).unwrap()).await;
    target.namespace("private").await;
    let secret = target.push_blob(&name("private/app"), b"secret").await;
    let shared = target.push_blob(&name("team/app"), b"shared").await;
    let token = ask(&source, &target, "admin", "team/ci").await.unwrap();
    let grant = target.registry.identity().verify_copy_token(&token).unwrap().unwrap();
    let reply =
        target.registry.replication().answer_prepare(&grant, &prepare(vec![secret.clone(), shared])).await.unwrap();
    assert_eq!(reply.missing_blobs, std::slice::from_ref(&secret));
    let proof = source.registry.trust().mint_repair_token(&target_id(), &secret, &["demo".to_owned()]);
    assert!(matches!(target.registry.upkeep().answer_repair(&proof).await.err().unwrap(), ServiceError::BlobAbsent(_)));
}

#[tokio::test]
async fn what_a_peer_says_of_a_repository_has_the_limits_of_every_other_way_in() {
    let (source, target) = pair(|_| {}).await;
    let token = ask(&source, &target, "admin", "team/ci").await.unwrap();
    let grant = target.registry.identity().verify_copy_token(&token).unwrap().unwrap();
    let refused = async |request: PrepareRequest| {
        let refused = target.registry.replication().answer_prepare(&grant, &request).await.unwrap_err();
        assert!(matches!(refused, ServiceError::InvalidParameter { .. }), "{refused}");
    };
    refused(PrepareRequest { category: "nonsense".to_owned(), ..prepare(Vec::new()) }).await;
    refused(PrepareRequest { description: "x".repeat(30_001), ..prepare(Vec::new()) }).await;
    refused(PrepareRequest { description: "\0".to_owned(), ..prepare(Vec::new()) }).await;
    let many = |count: usize| vec![Digest::of(DigestAlgorithm::Sha256, b"one"); count];
    refused(prepare(many(50_001))).await;
    refused(PrepareRequest { manifests: many(1025), ..prepare(Vec::new()) }).await;
    let attached = vec!["a".parse().unwrap(); 4 * 1024 + 1];
    refused(PrepareRequest { attached, ..prepare(Vec::new()) }).await;
    assert!(target.registry.content().repository(&name("team/ci")).await.is_err(), "nothing was made");
    // A peer may send the longest description that a person may send.
    let longest = RepositoryAttributes { description: "ä".repeat(30_000), ..RepositoryAttributes::default() };
    let request = PrepareRequest { description: longest.description, ..prepare(Vec::new()) };
    target.registry.replication().answer_prepare(&grant, &request).await.unwrap();
}

#[tokio::test]
async fn a_token_ends_with_the_organization_that_it_was_made_for() {
    let (source, target) = pair(|_| {}).await;
    let app = name("team/app");
    target.push_image(&app, "v1", b"layer").await;
    let old = target.grant(&target.admin, &app).await;
    let of_region = ask(&source, &target, "admin", "team/ci").await.unwrap();
    let of_region = target.registry.identity().verify_copy_token(&of_region).unwrap().unwrap();
    let tag = "v1".parse().unwrap();
    target.registry.content().find_manifest(old.authorize(&app).unwrap(), &tag).await.unwrap();
    target.registry.content().delete_repository(&target.admin, &app).await.unwrap();
    target.registry.content().delete_namespace(&target.admin, app.namespace()).await.unwrap();
    // The repository is gone, so there is nothing to find; and its name may belong to somebody else now.
    assert!(matches!(
        target.registry.content().find_manifest(old.authorize(&app).unwrap(), &tag).await.unwrap_err(),
        ServiceError::RepositoryAbsent(_)
    ));
    target.namespace("team").await;
    let outdated = |error: ServiceError| assert!(matches!(error, ServiceError::GrantOutdated(_)), "{error}");
    // The first round runs before something of that name exists again, the second after. Each call refuses in both.
    for round in 0..2 {
        let registry = &target.registry;
        outdated(registry.content().find_manifest(old.authorize(&app).unwrap(), &tag).await.unwrap_err());
        let blob = Digest::of(DigestAlgorithm::Sha256, b"layer");
        outdated(registry.content().find_blob(old.authorize(&app).unwrap(), &blob).await.unwrap_err());
        outdated(registry.content().tag_names(old.authorize(&app).unwrap(), None, 10).await.unwrap_err());
        outdated(registry.content().referrers(old.authorize(&app).unwrap(), &blob, None, None).await.unwrap_err());
        outdated(registry.content().delete_manifest(old.authorize(&app).unwrap(), &tag).await.unwrap_err());
        outdated(registry.content().delete_blob(old.authorize(&app).unwrap(), &blob).await.unwrap_err());
        outdated(registry.content().start_upload(push(&old, &app), DigestAlgorithm::Sha256).await.unwrap_err());
        outdated(registry.replication().answer_prepare(&of_region, &prepare(vec![blob.clone()])).await.unwrap_err());
        outdated(registry.replication().answer_withdraw(&of_region, &withdraw(&blob)).await.unwrap_err());
        if round == 0 {
            assert!(registry.content().repository(&app).await.is_err(), "the old token made nothing");
            target.push_image(&app, "v1", b"layer").await;
            target.push_image(&name("team/ci"), "v1", b"layer").await;
        }
    }
    // The old token does not open a session either that the same user has opened with a newer one.
    let (registry, now) = (&target.registry, target.grant(&target.admin, &app).await);
    let session = registry.content().start_upload(push(&now, &app), DigestAlgorithm::Sha256).await.unwrap().session;
    let blob = Digest::of(DigestAlgorithm::Sha256, b"layer");
    outdated(registry.content().upload_status(push(&old, &app), &session).await.unwrap_err());
    outdated(registry.content().append_upload(push(&old, &app), &session, None, body(&[b"layer"])).await.unwrap_err());
    outdated(
        registry
            .content()
            .finish_upload(push(&old, &app), &session, None, body(&[b"layer"]), blob.clone())
            .await
            .unwrap_err(),
    );
    outdated(registry.content().cancel_upload(push(&old, &app), &session).await.unwrap_err());
    assert_eq!(registry.content().upload_status(push(&now, &app), &session).await.unwrap().offset_bytes, 0);
    // It learns nothing of a finished session either.
    registry.content().finish_upload(push(&now, &app), &session, None, body(&[b"layer"]), blob.clone()).await.unwrap();
    outdated(
        registry.content().finish_upload(push(&old, &app), &session, None, body(&[b"layer"]), blob).await.unwrap_err(),
    );
    target
        .registry
        .content()
        .find_manifest(target.grant(&target.admin, &app).await.authorize(&app).unwrap(), &tag)
        .await
        .unwrap();
}
