use std::net::Ipv4Addr;

use axum::response::IntoResponse as _;
use transship_swr::Query;

use super::*;
use crate::http::whole::Whole;

const PASSWORD: &str = "a password";

/// A call whose sender has just been proved, with a token.
async fn proved_call(directory: &std::path::Path) -> Call {
    let registry = crate::cli::test_region(directory).await;
    let bootstrap = transship_registry::Bootstrap {
        account: "demo".to_owned(),
        user: "admin".to_owned(),
        password: PASSWORD.to_owned(),
        access_key: None,
    };
    assert!(registry.identity().bootstrap(bootstrap).await.unwrap());
    let proved = registry.identity().authenticate_password(Ipv4Addr::LOCALHOST.into(), "demo", "admin", PASSWORD).await;
    let proved = proved.unwrap().unwrap();
    let token = registry.identity().issue_iam_token(&proved).token;
    let request = ::http::Request::post("/v2/manage/utils/secret").header("x-auth-token", token);
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let query = Query::parse("").unwrap();
    Call { registry, principal: proved.principal, parts, query, body: Whole::empty() }
}

/// The basis of a login is read after the caller was proved. A caller that was disabled between the two must be noticed
/// then.
#[tokio::test]
async fn no_login_is_made_for_a_caller_that_was_shut_out_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let call = proved_call(directory.path()).await;
    let keys = async || call.registry.identity().list_access_keys(None).await.unwrap().len();
    assert_eq!(create_secret(&call).await.unwrap().status(), 200);
    assert_eq!(keys().await, 1);
    call.registry.identity().set_password(&call.principal.user_id, "another password".to_owned()).await.unwrap();
    let refused = create_secret(&call).await.unwrap_err().into_response();
    assert_eq!(refused.status(), 401);
    assert_eq!(keys().await, 1);
}
