use super::{ErrorBody, ErrorCode, ErrorInfo};

#[test]
fn every_code_is_found_by_its_text_and_has_an_error_status() {
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::find(code.as_str()), Some(code));
        assert!((400..=429).contains(&code.status()), "{code}");
    }
    assert_eq!(ErrorCode::find("UNKNOWN"), None);
}

#[test]
fn body_has_the_shape_of_the_specification() {
    let body = ErrorBody::new(ErrorCode::NameInvalid, "invalid repository name");
    let json = serde_json::to_string(&body).unwrap();
    assert_eq!(json, r#"{"errors":[{"code":"NAME_INVALID","message":"invalid repository name"}]}"#);
    assert_eq!(serde_json::from_str::<ErrorBody>(&json).unwrap(), body);
}

#[test]
fn codes_of_other_registries_can_be_read() {
    let body: ErrorBody = serde_json::from_str(r#"{"errors":[{"code":"TEAPOT","detail":{"pot":1}}]}"#).unwrap();
    let expected =
        ErrorInfo { code: "TEAPOT".into(), message: String::new(), detail: Some(serde_json::json!({"pot": 1})) };
    assert_eq!(body.errors, [expected]);
    assert_eq!(body.errors[0].known_code(), None);
}
