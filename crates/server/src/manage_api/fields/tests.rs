use super::*;

fn code(body: &str, ask: impl Fn(&Fields) -> Result<(), ManageError>) -> ErrorCode {
    match Fields::parse(body.as_bytes()) {
        Ok(fields) => ask(&fields).unwrap_err().code(),
        Err(error) => error.code(),
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

#[test]
fn grants_are_read_with_their_codes() {
    let read = |body: &str| grants(body.as_bytes());
    let good = read("[{\"user_id\":\"u\",\"user_name\":\"n\",\"auth\":3}]").unwrap();
    assert_eq!((good[0].user_id.as_str(), good[0].level), ("u", 3));
    assert_eq!(read("[{\"user_id\":\"u\",\"auth\":\"7\"}]").unwrap_err().code(), ErrorCode::BadNamespacePermission);
    assert_eq!(read("[{\"user_id\":\"u\"}]").unwrap_err().code(), ErrorCode::ParameterMissing);
    assert_eq!(read("[]").unwrap_err().code(), ErrorCode::ParameterMissing);
    assert_eq!(read("{}").unwrap_err().code(), ErrorCode::BadParameter);
    assert_eq!(user_ids(b"").unwrap_err().code(), ErrorCode::ParameterMissing);
    assert_eq!(user_ids(b"[\"u\"]").unwrap(), ["u"]);
    assert_eq!(user_ids(b"[\"u\\u0000\"]").unwrap_err().code(), ErrorCode::BadUser);
    assert_eq!(read("[{\"user_id\":\"\\u0000\",\"auth\":1}]").unwrap_err().code(), ErrorCode::BadUser);
}
