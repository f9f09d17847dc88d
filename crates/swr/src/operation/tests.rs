use std::collections::BTreeSet;

use serde_json::Value;

use super::{Body, OperationId, ParameterKind};

/// Every operation that the published description has.
fn described() -> Vec<Value> {
    let text = include_str!("../../../../docs/swr/operations.json");
    let document: Value = serde_json::from_str(text).unwrap();
    document["operations"].as_array().unwrap().clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn by_id(id: &str) -> OperationId {
    *OperationId::ALL.iter().find(|known| known.as_str() == id).unwrap_or_else(|| panic!("{id} has no entry"))
}

#[test]
fn every_published_operation_has_one_entry_with_its_method_path_and_status() {
    let described = described();
    assert_eq!(described.len(), OperationId::ALL.len());
    for row in &described {
        let id = text(row, "id");
        let operation = by_id(id).operation();
        assert_eq!((operation.method.as_str(), operation.path), (text(row, "method"), text(row, "path")), "{id}");
        let statuses = row["status_codes"].as_object().unwrap();
        let success: Vec<&str> = statuses.keys().map(String::as_str).filter(|status| *status < "300").collect();
        assert_eq!(success, [operation.status.to_string()], "{id}");
        let headers = row["header_params"].as_array().unwrap();
        assert_eq!(headers.iter().any(|name| name == "X-Auth-Token"), operation.needs_credentials, "{id}");
    }
}

#[test]
fn bodies_have_the_shape_and_the_model_that_is_published() {
    let agrees = |body: Body, row: &Value| match body {
        Body::Nothing => row.is_null(),
        Body::Strings => row["type"] == "array" && row["items"]["type"] == "string",
        Body::Array(model) => row["type"] == "array" && row["items"]["model"] == model,
        // An object that the description spells out has no name there.
        Body::Object(model) => row["model"] == model || row["type"] == "object",
    };
    for row in &described() {
        let id = text(row, "id");
        let operation = by_id(id).operation();
        assert!(agrees(operation.request, &row["request_body"]), "{id}");
        assert!(agrees(operation.response, &row["response_body"]), "{id}");
    }
}

#[test]
fn query_parameters_and_headers_are_the_published_ones() {
    // The newest reference adds one (contract 5.9), and one header is ours (contract 3.2).
    let ours: BTreeSet<&str> = ["duration_seconds", "x-transship-open"].into();
    for row in &described() {
        let id = text(row, "id");
        let operation = by_id(id).operation();
        let published = |key: &str| row[key].as_array().unwrap().clone();
        let query: Vec<(String, &str, bool)> = operation
            .query
            .iter()
            .filter(|parameter| !ours.contains(parameter.name))
            .map(|parameter| {
                let kind = match parameter.kind {
                    ParameterKind::Text => "string",
                    ParameterKind::Integer => "integer",
                    ParameterKind::Flag => "boolean",
                };
                (parameter.name.to_owned(), kind, parameter.is_required)
            })
            .collect();
        let rows = published("query_params");
        let expected: Vec<(String, &str, bool)> = rows
            .iter()
            .map(|row| (text(row, "name").to_owned(), text(row, "type"), row["required"].as_bool().unwrap()))
            .collect();
        assert_eq!(query, expected, "{id}");
        let lower = |names: Vec<&str>| names.into_iter().map(str::to_ascii_lowercase).collect::<BTreeSet<_>>();
        let mut headers = lower(operation.response_headers.to_vec());
        headers.retain(|name| !ours.contains(name.as_str()));
        let rows = published("response_headers");
        assert_eq!(headers, lower(rows.iter().map(|row| text(row, "name")).collect()), "{id}");
    }
}

#[test]
fn each_published_status_of_an_error_has_a_code() {
    for row in &described() {
        let id = text(row, "id");
        let statuses: BTreeSet<String> =
            by_id(id).operation().errors().iter().map(|code| code.status().as_u16().to_string()).collect();
        let errors = row["status_codes"].as_object().unwrap().keys().filter(|status| status.as_str() >= "300");
        // A list of organizations in which nothing is found is empty, and no 404 (contract 5.1).
        for status in errors.filter(|status| (id, status.as_str()) != ("ListNamespaces", "404")) {
            assert!(statuses.contains(status), "{id} has no code with the status {status}");
        }
    }
}

#[test]
fn the_number_of_operations_that_are_built_is_the_one_in_the_documents() {
    let built = OperationId::ALL.iter().filter(|id| id.operation().is_built).count();
    let all = OperationId::ALL.len();
    for (name, document) in
        [("README.md", include_str!("../../../../README.md")), ("docs/api.md", include_str!("../../../../docs/api.md"))]
    {
        assert!(document.contains(&format!("{built} of {all}")), "{name} does not say {built} of {all} operations");
    }
}
