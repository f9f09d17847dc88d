use super::*;
use crate::testing::TestRegion;

#[test]
fn the_derived_password_is_the_one_of_the_contract() {
    assert_eq!(
        derived_password("EXAMPLEACCESSKEY0001", "examplesecretkeyexamplesecretkey00000001"),
        "6879fe2394a4794f673e10696460f5770de0c13777aaa15589e18b63675ffbd2"
    );
}

#[test]
fn identity_names_cannot_be_mistaken_for_a_login_of_another_kind() {
    for bad in ["", "a/b", "a@b", "a:b", " a", "ä", &"a".repeat(65)] {
        assert!(check_identity_name("user", bad).is_err(), "{bad:?}");
    }
    for good in ["admin", "Robot-1", "a.b_c"] {
        assert!(check_identity_name("user", good).is_ok(), "{good:?}");
    }
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Makes a temporary login with an access key or, without one, with a token.
async fn temporary(region: &TestRegion, access_key: Option<&str>) -> RegistryLogin {
    let basis = region.registry.identity().login_basis(&region.admin, access_key).await.unwrap();
    region.registry.identity().create_login(&basis, None).await.unwrap()
}

async fn lets_in(region: &TestRegion, login: &RegistryLogin) -> bool {
    region.registry.identity().authenticate_login(HERE, &login.user, &login.password).await.unwrap().is_some()
}

#[tokio::test]
async fn a_temporary_login_ends_with_what_it_was_made_with_and_stays_ended() {
    let region = TestRegion::start("region-a").await;
    let (registry, user) = (&region.registry, &region.admin.user_id);
    registry.identity().create_access_key(user, Some(("AK2".to_owned(), "SK2".to_owned()))).await.unwrap();

    let (by_key, by_other, by_token) =
        (temporary(&region, Some("AK1")).await, temporary(&region, Some("AK2")).await, temporary(&region, None).await);
    for login in [&by_key, &by_other, &by_token] {
        assert!(lets_in(&region, login).await);
    }
    registry.identity().set_access_key_enabled("AK1", false).await.unwrap();
    assert!(!lets_in(&region, &by_key).await);
    registry.identity().set_access_key_enabled("AK1", true).await.unwrap();
    assert!(!lets_in(&region, &by_key).await, "enabling the key brings nothing back");
    assert!(lets_in(&region, &by_other).await && lets_in(&region, &by_token).await);
    registry.identity().rotate_access_key("AK2").await.unwrap();
    assert!(!lets_in(&region, &by_other).await);

    registry.identity().set_password(user, "another password".to_owned()).await.unwrap();
    assert!(!lets_in(&region, &by_token).await);
    let again = temporary(&region, Some("AK1")).await;
    for enabled in [false, true] {
        registry.identity().set_user_enabled(user, enabled).await.unwrap();
        assert!(!lets_in(&region, &again).await, "enabled: {enabled}");
    }
    assert!(lets_in(&region, &temporary(&region, Some("AK1")).await).await, "what is made now is good");
}

#[tokio::test]
async fn a_login_of_somebody_who_was_shut_out_meanwhile_is_never_good() {
    let region = TestRegion::start("region-a").await;
    let registry = &region.registry;
    let by_key = registry.identity().login_basis(&region.admin, Some("AK1")).await.unwrap();
    for enabled in [false, true] {
        registry.identity().set_access_key_enabled("AK1", enabled).await.unwrap();
    }
    assert!(!lets_in(&region, &registry.identity().create_login(&by_key, None).await.unwrap()).await);
    let by_token = registry.identity().login_basis(&region.admin, None).await.unwrap();
    registry.identity().set_password(&region.admin.user_id, "another password".to_owned()).await.unwrap();
    assert!(!lets_in(&region, &registry.identity().create_login(&by_token, None).await.unwrap()).await);
    let stranger = region.user("stranger").await;
    assert!(registry.identity().login_basis(&stranger, Some("AK1")).await.is_err(), "the key of somebody else");
}

#[tokio::test]
async fn the_oldest_temporary_login_makes_room() {
    let mut settings = crate::testing::settings("region-a");
    settings.logins_per_user = 2;
    let region = TestRegion::start_with(settings).await;
    let first = temporary(&region, None).await;
    // The first must be older by at least a millisecond.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let second = temporary(&region, Some("AK1")).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert!(lets_in(&region, &first).await);
    let third = temporary(&region, None).await;
    assert!(!lets_in(&region, &first).await);
    // An expired login takes no place from valid ones.
    region.registry.identity().set_access_key_enabled("AK1", false).await.unwrap();
    assert!(!lets_in(&region, &second).await);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let fourth = temporary(&region, None).await;
    assert!(lets_in(&region, &third).await && lets_in(&region, &fourth).await);
    let keys = region.registry.identity().list_access_keys(Some(&region.admin.user_id)).await.unwrap();
    assert_eq!(keys.len(), 3, "the key itself and two logins");
}
