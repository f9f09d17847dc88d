use super::*;

fn code(body: &str, ask: impl Fn(&Fields) -> Result<(), ManageError>) -> ManageCode {
    match Fields::parse(body.as_bytes()) {
        Ok(fields) => ask(&fields).unwrap_err().code(),
        Err(error) => error.code(),
    }
}

#[test]
fn each_way_to_be_wrong_has_its_code() {
    let text = |fields: &Fields| fields.text("a").map(|_| ());
    assert_eq!(code("", text), ManageCode::BodyNotJson);
    assert_eq!(code("{\"a\":", text), ManageCode::BodyNotJson);
    assert_eq!(code("{} {}", text), ManageCode::BodyNotJson);
    assert_eq!(code("[]", text), ManageCode::BadParameter);
    assert_eq!(code("{}", text), ManageCode::ParameterMissing);
    assert_eq!(code("{\"a\":null}", text), ManageCode::ParameterMissing);
    assert_eq!(code("{\"a\":\"\"}", text), ManageCode::ParameterMissing);
    assert_eq!(code("{\"a\":1}", text), ManageCode::BadParameter);
    assert_eq!(code("{\"a\":\"x\",\"a\":\"y\"}", text), ManageCode::BadParameter);
    let texts = |fields: &Fields| fields.texts("a").map(|_| ());
    assert_eq!(code("{\"a\":[]}", texts), ManageCode::ParameterMissing);
    assert_eq!(code("{\"a\":\"x\"}", texts), ManageCode::BadParameter);
    assert_eq!(code("{\"a\":[\"x\",1]}", texts), ManageCode::BadParameter);
    let public = |fields: &Fields| fields.is_public().map(|_| ());
    assert_eq!(code("{}", public), ManageCode::BadIsPublic);
    assert_eq!(code("{\"is_public\":\"true\"}", public), ManageCode::BadIsPublic);
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
    assert_eq!(read("[{\"user_id\":\"u\",\"auth\":\"7\"}]").unwrap_err().code(), ManageCode::BadNamespacePermission);
    assert_eq!(read("[{\"user_id\":\"u\"}]").unwrap_err().code(), ManageCode::ParameterMissing);
    assert_eq!(read("[]").unwrap_err().code(), ManageCode::ParameterMissing);
    assert_eq!(read("{}").unwrap_err().code(), ManageCode::BadParameter);
    assert_eq!(user_ids(b"").unwrap_err().code(), ManageCode::ParameterMissing);
    assert_eq!(user_ids(b"[\"u\"]").unwrap(), ["u"]);
    assert_eq!(user_ids(b"[\"u\\u0000\"]").unwrap_err().code(), ManageCode::BadUser);
    assert_eq!(read("[{\"user_id\":\"\\u0000\",\"auth\":1}]").unwrap_err().code(), ManageCode::BadUser);
}

/// Tiny values take many times their text's size, so their number is limited; the largest call that is allowed is not.
#[test]
fn a_body_has_so_many_values_at_most() {
    let tags = serde_json::json!({ "imageTag": vec!["v1"; 100_000], "remoteRegionId": "a", "remoteNamespace": "b" });
    assert_eq!(Fields::parse(tags.to_string().as_bytes()).unwrap().texts("imageTag").unwrap().len(), 100_000);
    let grant = serde_json::json!({ "user_id": "a".repeat(32), "user_name": "b", "auth": 7 });
    let grants = serde_json::Value::from(vec![grant; 1000]).to_string();
    assert_eq!(super::grants(grants.as_bytes()).unwrap().len(), 1000);
    let many =
        |element: &str| format!("[{}{element}]", format!("{element},").repeat((1 << 20) / (element.len() + 1) - 2));
    for element in [r#"{"":0}"#, "0", "[]", "{}", "[[[]]]"] {
        let refused = super::grants(many(element).as_bytes()).unwrap_err();
        assert_eq!(refused.code(), ManageCode::BadParameter, "{element}");
        assert!(refused.message().contains("too many values"), "{element}: {}", refused.message());
    }
}
