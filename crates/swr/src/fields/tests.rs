use super::*;
use crate::access::parse_user_auths;

fn code(body: &str, ask: impl Fn(&Fields) -> Result<(), ApiError>) -> ErrorCode {
    match Fields::parse(body.as_bytes()) {
        Ok(fields) => ask(&fields).unwrap_err().code,
        Err(error) => error.code,
    }
}

#[test]
fn each_way_to_be_wrong_has_its_code() {
    let text = |fields: &Fields| fields.text("a").map(|_| ());
    assert_eq!(code("", text), ErrorCode::BodyNotJson);
    assert_eq!(code("{\"a\":", text), ErrorCode::BodyNotJson);
    assert_eq!(code("{} {}", text), ErrorCode::BodyNotJson);
    assert_eq!(code("[]", text), ErrorCode::BadParameter);
    assert_eq!(code("{}", text), ErrorCode::ParameterMissing);
    assert_eq!(code("{\"a\":null}", text), ErrorCode::ParameterMissing);
    assert_eq!(code("{\"a\":\"\"}", text), ErrorCode::ParameterMissing);
    assert_eq!(code("{\"a\":1}", text), ErrorCode::BadParameter);
    assert_eq!(code("{\"a\":\"x\",\"a\":\"y\"}", text), ErrorCode::BadParameter);
    let texts = |fields: &Fields| fields.texts("a").map(|_| ());
    assert_eq!(code("{\"a\":[]}", texts), ErrorCode::ParameterMissing);
    assert_eq!(code("{\"a\":\"x\"}", texts), ErrorCode::BadParameter);
    assert_eq!(code("{\"a\":[\"x\",1]}", texts), ErrorCode::BadParameter);
    let public = |fields: &Fields| fields.is_public().map(|_| ());
    assert_eq!(code("{}", public), ErrorCode::BadIsPublic);
    assert_eq!(code("{\"is_public\":\"true\"}", public), ErrorCode::BadIsPublic);
}

#[test]
fn nesting_beyond_reason_is_an_error_and_no_overflow() {
    let body = format!("{{\"a\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(Fields::parse(body.as_bytes()).is_err());
}

/// Tiny values take many times the memory of their text, so their number is limited; the largest allowed call still
/// passes.
#[test]
fn a_body_has_so_many_values_at_most() {
    let tags = serde_json::json!({ "imageTag": vec!["v1"; 100_000], "remoteRegionId": "a", "remoteNamespace": "b" });
    assert_eq!(Fields::parse(tags.to_string().as_bytes()).unwrap().texts("imageTag").unwrap().len(), 100_000);
    let grant = serde_json::json!({ "user_id": "a".repeat(32), "user_name": "b", "auth": 7 });
    let grants = serde_json::Value::from(vec![grant; 1000]).to_string();
    assert_eq!(parse_user_auths(grants.as_bytes()).unwrap().len(), 1000);
    let many =
        |element: &str| format!("[{}{element}]", format!("{element},").repeat((1 << 20) / (element.len() + 1) - 2));
    for element in [r#"{"":0}"#, "0", "[]", "{}", "[[[]]]"] {
        let refused = parse_user_auths(many(element).as_bytes()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::BadParameter, "{element}");
        assert!(refused.message.contains("too many values"), "{element}: {}", refused.message);
    }
}
