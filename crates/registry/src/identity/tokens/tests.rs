use transship_oci::{Action, Scope};

use super::*;
use crate::replication::region_tokens::{RegionClaims, RegionTokenError};
use crate::testing::{TestRegion, name, settings};

async fn prove(region: &TestRegion, user: &str, password: &str) -> ProvedLogin {
    let here = std::net::Ipv4Addr::LOCALHOST.into();
    let proved = region.registry.identity().authenticate_password(here, "demo", user, password).await;
    proved.unwrap().expect("the login is good")
}

#[tokio::test]
async fn no_kind_of_token_passes_for_another() {
    let first = TestRegion::start("region-a").await;
    let mut with_peer = settings("region-b");
    with_peer.peers.push(first.as_peer("http://127.0.0.1:9"));
    let second = TestRegion::start_with(with_peer).await;

    let registry = second.registry.identity().issue_registry_token(Some(&second.admin), &[]).await.unwrap().token;
    let iam = second.registry.identity().issue_iam_token(&prove(&second, "admin", "a password").await).token;
    let region =
        first.registry.trust().mint_region_token(&"region-b".parse().unwrap(), "demo", "admin", &name("group/app"));

    assert!(second.registry.identity().verify_registry_token(&registry).is_ok());
    assert!(second.registry.identity().verify_iam_token(&iam).await.unwrap().is_ok());
    assert!(second.registry.trust().verify_region_token::<RegionClaims>(&region).is_ok());
    for (kind, token) in [("IAM", &iam), ("region", &region)] {
        let refused = second.registry.identity().verify_registry_token(token).unwrap_err();
        assert_eq!(refused, TokenError::Invalid, "{kind} token on the registry");
    }
    for (kind, token) in [("registry", &registry), ("region", &region)] {
        let refused = second.registry.identity().verify_iam_token(token).await.unwrap().unwrap_err();
        assert_eq!(refused, TokenError::Invalid, "{kind} token on the management API");
    }
    for (kind, token) in [("registry", &registry), ("IAM", &iam)] {
        assert!(
            second.registry.trust().verify_region_token::<RegionClaims>(token).is_err(),
            "{kind} token between regions"
        );
    }
}

#[tokio::test]
async fn a_region_token_is_good_only_for_its_target_and_only_from_a_pinned_region() {
    let first = TestRegion::start("region-a").await;
    let mut with_peer = settings("region-b");
    with_peer.peers.push(first.as_peer("http://127.0.0.1:9"));
    let second = TestRegion::start_with(with_peer).await;
    let stranger = TestRegion::start("region-a").await;

    let refused = |region: &TestRegion, token: &str| {
        region.registry.trust().verify_region_token::<RegionClaims>(token).map(|_| ()).unwrap_err()
    };
    let for_other =
        first.registry.trust().mint_region_token(&"region-c".parse().unwrap(), "demo", "admin", &name("group/app"));
    assert_eq!(refused(&second, &for_other), TokenError::Invalid.into());
    let forged =
        stranger.registry.trust().mint_region_token(&"region-b".parse().unwrap(), "demo", "admin", &name("group/app"));
    assert!(matches!(refused(&second, &forged), RegionTokenError::NotPinned { .. }));
    let unknown =
        second.registry.trust().mint_region_token(&"region-a".parse().unwrap(), "demo", "admin", &name("group/app"));
    assert!(matches!(refused(&first, &unknown), RegionTokenError::NotPinned { .. }), "no peers are pinned");
    assert_eq!(refused(&second, "a.b.c"), TokenError::Invalid.into());
}

#[tokio::test]
async fn tokens_end_and_altered_ones_are_refused() {
    let mut short = settings("region-a");
    // The token expires at once.
    short.registry_token_seconds = 0;
    let region = TestRegion::start_with(short).await;
    let token = region.registry.identity().issue_registry_token(Some(&region.admin), &[]).await.unwrap().token;
    // Still within the leeway, so this token is valid …
    assert!(region.registry.identity().verify_registry_token(&token).is_ok());
    // … but not with any character of its payload or signature changed.
    let start = token.find('.').unwrap() + 1;
    for index in (start..token.len() - 1).step_by(7) {
        let mut altered = token.clone().into_bytes();
        altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(region.registry.identity().verify_registry_token(&altered).is_err(), "byte {index}");
    }
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", token.split('.').nth(1).unwrap());
    assert_eq!(region.registry.identity().verify_registry_token(&unsigned).unwrap_err(), TokenError::Invalid);
}

/// Claims that only a holder of the key, or a bug of ours, could produce: well signed, and still refused.
#[tokio::test]
async fn a_good_signature_is_not_enough() {
    let region = TestRegion::start("region-a").await;
    let now = now_seconds();
    let sign = |header: serde_json::Value, change: serde_json::Value| {
        use base64::Engine as _;
        use jsonwebtoken::crypto::sign;
        let mut claims = serde_json::json!({"iss": "region-a", "aud": region.registry.settings().service, "sub": "",
            "iat": now, "nbf": now, "exp": now + 60, "jti": "x", "access": []});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let encode =
            |json: &serde_json::Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let key = &region.registry.keys().registry_token().signing;
        let signature = sign(message.as_bytes(), key, Algorithm::HS256).unwrap();
        region.registry.identity().verify_registry_token(&format!("{message}.{signature}")).map(|_| ())
    };
    let plain = || serde_json::json!({"alg": "HS256"});
    assert_eq!(sign(plain(), serde_json::json!({})), Ok(()));
    for header in [
        serde_json::json!({"alg": "HS256", "crit": ["exp"]}),
        serde_json::json!({"alg": "HS256", "crit": []}),
        serde_json::json!({"alg": "HS384"}),
    ] {
        assert_eq!(sign(header.clone(), serde_json::json!({})), Err(TokenError::Invalid), "{header}");
    }
    for change in [
        serde_json::json!({"iat": now + 3600}),
        serde_json::json!({"nbf": now + 3600}),
        serde_json::json!({"exp": null}),
        serde_json::json!({"exp": (now + 60).to_string()}),
        serde_json::json!({"exp": 1e99}),
        serde_json::json!({"aud": "another"}),
        serde_json::json!({"iss": "region-b"}),
    ] {
        assert_eq!(sign(plain(), change.clone()), Err(TokenError::Invalid), "{change}");
    }
    assert_eq!(sign(plain(), serde_json::json!({"exp": now - 61})), Err(TokenError::Expired));
}

#[tokio::test]
async fn a_token_grants_what_was_asked_and_is_allowed() {
    let region = TestRegion::start("region-a").await;
    region.namespace("group").await;
    let app = name("group/app");
    let reader = region.user("reader").await;
    let spec = crate::access::grants::GrantSpec { user_id: reader.user_id.clone(), user_name: String::new(), level: 1 };
    region.registry.access().add_namespace_grants(&region.admin, app.namespace(), &[spec]).await.unwrap();

    let asks = [Scope::repository(&app, &[Action::Pull, Action::Push])];
    let issued = region.registry.identity().issue_registry_token(Some(&reader), &asks).await.unwrap();
    let grant = region.registry.identity().verify_registry_token(&issued.token).unwrap();
    assert!(grant.allows(&app, Action::Pull));
    assert!(!grant.allows(&app, Action::Push));
    assert!(!grant.allows(&name("group/appx"), Action::Pull), "a prefix is another repository");

    let asks = [Scope::repository(&app, &[Action::Pull])];
    let issued = region.registry.identity().issue_registry_token(Some(&region.admin), &asks).await.unwrap();
    let grant = region.registry.identity().verify_registry_token(&issued.token).unwrap();
    assert!(!grant.allows(&app, Action::Push), "nobody gets more than was asked for");

    let nobody = region.registry.identity().issue_registry_token(None, &asks).await.unwrap();
    assert!(!region.registry.identity().verify_registry_token(&nobody.token).unwrap().allows(&app, Action::Pull));
    let absent = [Scope::repository(&name("nowhere/app"), &[Action::Pull])];
    let refused = region.registry.identity().issue_registry_token(Some(&reader), &absent).await.unwrap_err();
    assert!(matches!(refused, ServiceError::NamespaceAbsent { .. }), "{refused}");
}

#[tokio::test]
async fn an_iam_token_ends_with_the_password_and_with_the_user() {
    let region = TestRegion::start("region-a").await;
    let user = region.registry.identity().create_user("demo", "robot", Some("one".to_owned()), false).await.unwrap();
    let principal = Principal::from(user.clone());
    let token = region.registry.identity().issue_iam_token(&prove(&region, "robot", "one").await).token;
    assert_eq!(region.registry.identity().verify_iam_token(&token).await.unwrap().unwrap(), principal);
    region.registry.identity().set_password(&user.id, "two".to_owned()).await.unwrap();
    assert_eq!(region.registry.identity().verify_iam_token(&token).await.unwrap().unwrap_err(), TokenError::Withdrawn);
    let token = region.registry.identity().issue_iam_token(&prove(&region, "robot", "two").await).token;
    region.registry.identity().set_user_enabled(&user.id, false).await.unwrap();
    assert_eq!(region.registry.identity().verify_iam_token(&token).await.unwrap().unwrap_err(), TokenError::Withdrawn);
}
