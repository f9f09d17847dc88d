use http::StatusCode;

use super::{ErrorBody, ErrorCode};

#[test]
fn a_code_begins_with_its_status() {
    for code in ErrorCode::ALL {
        // The two that do not: a full queue answers with what SDKs retry on, and the gateway has codes of its own.
        let status = match code {
            ErrorCode::Busy => StatusCode::CONFLICT,
            ErrorCode::BadSignature => {
                assert_eq!((code.as_str(), code.status()), ("APIGW.0301", StatusCode::UNAUTHORIZED));
                continue;
            }
            other => other.status(),
        };
        let digits = code.as_str().strip_prefix("SVCSTG.SWR.").unwrap();
        assert_eq!(digits.len(), 7, "{digits}");
        assert_eq!(digits[..3].parse::<u16>().unwrap(), status.as_u16(), "{digits}");
    }
    assert_eq!(ErrorCode::Busy.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[test]
fn codes_are_read_back_and_stand_in_the_contract() {
    let contract = include_str!("../../../../docs/swr/contract.md");
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::of(code.as_str()), Some(*code));
        assert!(code.meaning().ends_with('.'), "{code}");
        let digits = code.as_str().rsplit('.').next().unwrap();
        assert!(contract.contains(digits), "{code}");
    }
    assert_eq!(ErrorCode::of("SVCSTG.SWR.4040000"), None);
}

#[test]
fn the_body_says_the_same_in_each_of_its_forms() {
    let text = "namespace sdsad not found in region cn-north-4";
    let body = ErrorBody::new(ErrorCode::NamespaceAbsent, text, None);
    let expected = serde_json::json!({
        "errors": [{ "errorCode": "SVCSTG.SWR.4040058", "errorMessage": text, "detail": "" }],
        "error_code": "SVCSTG.SWR.4040058",
        "error_msg": text,
        "details": [{ "error_code": "SVCSTG.SWR.4040058", "error_msg": text }],
    });
    assert_eq!(serde_json::to_value(&body).unwrap(), expected);
    // Byte for byte: the keys stand in alphabetical order.
    assert_eq!(serde_json::to_string(&body).unwrap(), expected.to_string());
    let with_id = ErrorBody::new(ErrorCode::BadSignature, "no", Some("abc".to_owned()));
    assert_eq!(serde_json::to_value(&with_id).unwrap()["request_id"], "abc");
}
