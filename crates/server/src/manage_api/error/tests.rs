use axum::response::IntoResponse as _;
use http::StatusCode;
use serde_json::Value;
use transship_registry::ServiceError;
use transship_swr::ErrorCode;

use super::ManageError;

async fn body_of(error: ManageError) -> (StatusCode, Value) {
    let response = error.into_response();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
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
    let answer = async { body_of(ManageError::new(ErrorCode::BadSignature, "no")).await };
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
