use super::directory::query_value;
use super::tokens::parsing::is_login;

#[test]
fn login_requests_of_every_client_are_read() {
    for body in [
        r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"A"},"name":"U","password":"p"}}},"scope":{"project":{"name":"cn-north-4"}}}}"#,
        r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"id":"A"},"name":"U","password":"p"}}},"scope":{"project":{"name":"x","domain":{"name":"A"}}}}}"#,
        r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"A"},"name":"U","password":"p"}}},"scope":{"domain":{"name":"A"}}}}"#,
        r#"{"auth":{"identity":{"methods":["token"],"token":{"id":"t"}}}}"#,
    ] {
        assert!(is_login(body.as_bytes()), "{body}");
    }
}

#[test]
fn anything_else_is_refused_before_it_costs_anything() {
    let bomb = "[".repeat(10_000);
    let nested = format!("{{\"auth\":{}", "{\"identity\":".repeat(10_000));
    for body in ["", "{}", "null", "[]", r#"{"auth":{}}"#, r#"{"auth":{"identity":{}}}"#, &bomb, &nested] {
        assert!(!is_login(body.as_bytes()));
    }
}

#[test]
fn query_values_are_decoded_once() {
    assert_eq!(query_value(None, "name"), None);
    assert_eq!(query_value(Some("a=1&name=cn%2Dnorth+4"), "name").as_deref(), Some("cn-north 4"));
    assert_eq!(query_value(Some("name"), "name").as_deref(), Some(""));
    assert_eq!(query_value(Some("names=x"), "name"), None);
}
