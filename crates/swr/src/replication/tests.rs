use super::*;

fn code(body: &str) -> ErrorCode {
    CreateManualImageSyncRepoRequestBody::parse(body.as_bytes()).unwrap_err().code
}

#[test]
fn the_body_of_the_published_example_is_read() {
    let body = r#"{"imageTag":["V1"],"override":true,"remoteNamespace":"sdsad","remoteRegionId":"cn-north-208"}"#;
    let call = CreateManualImageSyncRepoRequestBody::parse(body.as_bytes()).unwrap();
    assert_eq!(call.image_tag.iter().map(Tag::as_str).collect::<Vec<_>>(), ["V1"]);
    assert_eq!((call.remote_region_id.as_str(), call.remote_namespace.as_str()), ("cn-north-208", "sdsad"));
    assert!(call.override_existing);
}

#[test]
fn each_row_about_the_body_has_its_code() {
    let with = |field: &str, value: &str| {
        let mut fields = vec![("imageTag", "[\"V1\"]"), ("remoteNamespace", "\"sdsad\""), ("remoteRegionId", "\"r\"")];
        fields.retain(|(name, _)| *name != field);
        if !value.is_empty() {
            fields.push((field, value));
        }
        let text: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", text.join(","))
    };
    for field in ["imageTag", "remoteNamespace", "remoteRegionId"] {
        assert_eq!(code(&with(field, "")), ErrorCode::ParameterMissing, "{field}");
        assert_eq!(code(&with(field, "null")), ErrorCode::ParameterMissing, "{field}");
        assert_eq!(code(&with(field, "5")), ErrorCode::BadParameter, "{field}");
    }
    assert_eq!(code(&with("imageTag", "[]")), ErrorCode::ParameterMissing);
    assert_eq!(code(&with("imageTag", "\"V1\"")), ErrorCode::BadParameter);
    assert_eq!(code(&with("imageTag", "[1]")), ErrorCode::BadParameter);
    for tag in ["", "a/b", "*", ".a", "a b"] {
        assert_eq!(code(&with("imageTag", &format!("[\"{tag}\"]"))), ErrorCode::BadTag, "{tag:?}");
    }
    assert_eq!(code(&with("override", "\"true\"")), ErrorCode::BadParameter);
    for namespace in ["../x", "a/b", "a@evil", "a?x=1", "a#b", "a%2f", "A", "ä"] {
        assert_eq!(code(&with("remoteNamespace", &format!("\"{namespace}\""))), ErrorCode::BadParameter, "{namespace}");
    }
    assert_eq!(code("imageTag=V1"), ErrorCode::BodyNotJson);
    assert_eq!(code(""), ErrorCode::BodyNotJson);
}
