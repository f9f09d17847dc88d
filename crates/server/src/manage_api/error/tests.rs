use axum::response::IntoResponse as _;
use http::StatusCode;
use serde_json::Value;
use transship_registry::ServiceError;

use super::{ManageCode, ManageError};

const ALL: &[ManageCode] = &[
    ManageCode::Unauthenticated,
    ManageCode::CrossesAccounts,
    ManageCode::BadDigest,
    ManageCode::BadParameter,
    ManageCode::BadPageSize,
    ManageCode::TooManyNamespaces,
    ManageCode::TooManyRepositories,
    ManageCode::TooManyTags,
    ManageCode::RetentionAbsent,
    ManageCode::BadIsPublic,
    ManageCode::ParameterMissing,
    ManageCode::BodyNotJson,
    ManageCode::BadQuery,
    ManageCode::BadNamespace,
    ManageCode::BadRepository,
    ManageCode::BadFilter,
    ManageCode::BadNamespacePermission,
    ManageCode::BadPermission,
    ManageCode::BadUser,
    ManageCode::ShareAbsent,
    ManageCode::BadOrder,
    ManageCode::SyncRuleAbsent,
    ManageCode::BadTag,
    ManageCode::Forbidden,
    ManageCode::ImageAbsent,
    ManageCode::NamespaceAbsent,
    ManageCode::NamespacePermissionAbsent,
    ManageCode::NoSuchUrl,
    ManageCode::PermissionAbsent,
    ManageCode::RepositoryAbsent,
    ManageCode::TagAbsent,
    ManageCode::TriggerAbsent,
    ManageCode::LayerAbsent,
    ManageCode::ManifestAbsent,
    ManageCode::RepositoryNotEmpty,
    ManageCode::NamespaceNotEmpty,
    ManageCode::ImageExists,
    ManageCode::NamespaceExists,
    ManageCode::NamespacePermissionExists,
    ManageCode::PermissionExists,
    ManageCode::BodyTooLarge,
    ManageCode::Internal,
    ManageCode::Storage,
];

async fn body_of(error: ManageError) -> (StatusCode, Value) {
    let response = error.into_response();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[test]
fn a_code_begins_with_its_status() {
    for code in ALL {
        let digits = code.as_str().strip_prefix("SVCSTG.SWR.").unwrap();
        assert_eq!(digits.len(), 7, "{digits}");
        assert_eq!(digits[..3].parse::<u16>().unwrap(), code.status().as_u16(), "{digits}");
    }
    // The two that do not: a full queue answers with what SDKs retry on, and the gateway has codes of its own.
    assert_eq!(ManageCode::Busy.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ManageCode::BadSignature.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_body_serves_every_client_of_the_contract() {
    let absent = ServiceError::NamespaceAbsent { namespace: "sdsad".to_owned(), region: "cn-north-4".to_owned() };
    let (status, body) = body_of(absent.into()).await;
    let text = "namespace sdsad not found in region cn-north-4";
    assert_eq!(status, StatusCode::NOT_FOUND);
    let expected = serde_json::json!({
        "errors": [{ "errorCode": "SVCSTG.SWR.4040058", "errorMessage": text, "detail": "" }],
        "error_code": "SVCSTG.SWR.4040058",
        "error_msg": text,
        "details": [{ "error_code": "SVCSTG.SWR.4040058", "error_msg": text }],
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_gateway_shape_has_the_request_id_too() {
    let context = crate::http::context::RequestContext::new("abc".to_owned(), std::net::Ipv4Addr::LOCALHOST.into());
    let answer = async { body_of(ManageError::new(ManageCode::BadSignature, "no")).await };
    let (status, body) = context.scope(answer).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!((&body["error_code"], &body["request_id"]), (&"APIGW.0301".into(), &"abc".into()));
    assert_eq!(body["errors"][0]["errorCode"], "APIGW.0301");
}

#[tokio::test]
async fn reasons_of_internal_errors_stay_inside() {
    let (status, body) = body_of(ServiceError::Internal("SELECT secret".to_owned()).into()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body.to_string().contains("SELECT"));
    assert_eq!(body["error_code"], "SVCSTG.SWR.5001101");
}

#[test]
fn a_full_queue_can_be_retried_after_a_pause() {
    let response = ManageError::from(ServiceError::QueueFull { limit: 1 }).into_response();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
}
