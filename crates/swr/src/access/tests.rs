use super::*;

#[test]
fn grants_are_read_with_their_codes() {
    let read = |body: &str| parse_user_auths(body.as_bytes());
    let good = read("[{\"user_id\":\"u\",\"user_name\":\"n\",\"auth\":3}]").unwrap();
    assert_eq!((good[0].user_id.as_str(), good[0].auth), ("u", 3));
    assert_eq!(read("[{\"user_id\":\"u\",\"auth\":\"7\"}]").unwrap_err().code, ErrorCode::BadNamespacePermission);
    assert_eq!(read("[{\"user_id\":\"u\"}]").unwrap_err().code, ErrorCode::ParameterMissing);
    assert_eq!(read("[]").unwrap_err().code, ErrorCode::ParameterMissing);
    assert_eq!(read("{}").unwrap_err().code, ErrorCode::BadParameter);
    assert_eq!(parse_user_ids(b"").unwrap_err().code, ErrorCode::ParameterMissing);
    assert_eq!(parse_user_ids(b"[\"u\"]").unwrap(), ["u"]);
    assert_eq!(parse_user_ids(b"[\"u\\u0000\"]").unwrap_err().code, ErrorCode::BadUser);
    assert_eq!(read("[{\"user_id\":\"\\u0000\",\"auth\":1}]").unwrap_err().code, ErrorCode::BadUser);
}
