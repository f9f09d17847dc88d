use super::*;

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
