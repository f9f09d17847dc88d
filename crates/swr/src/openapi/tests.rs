use std::collections::BTreeSet;

use serde_json::Value;

use super::{SCHEMAS, Schema, TABLE_MARKS, document, table, text};
use crate::operation::{Body, OperationId};
use crate::record::Field;

/// What our answers have beyond the description (contract 4.2, 4.3, 5.1, and the notes there), as type and field.
const OURS: &[(&str, &str)] = &[
    ("RegionInfo", "registryURL"),
    ("ShowNamespace", "access_user_count"),
    ("ShowNamespace", "repo_count"),
    ("ShowReposTagRespV3", "deleted"),
    ("ShowReposTagRespV3", "scanned"),
    ("SyncJob", "blobsDone"),
    ("SyncJob", "blobsTotal"),
    ("SyncJob", "bytesDone"),
    ("SyncJob", "bytesTotal"),
    ("SyncJob", "digest"),
    ("SyncJob", "reason"),
    // The description has it for organizations only; both have the same type here.
    ("UserAuths", "creator_name"),
];
/// Fields that are mandatory in the description and optional here: a user is known by its id.
const LOOSER: &[(&str, &str)] = &[("UserAuth", "user_name")];
/// Fields of an answer that the description spells out and that are left out at the end of a list (contract 1.3).
const LEFT_OUT: &[&str] = &["nextMarker"];

fn description() -> Value {
    serde_json::from_str(include_str!("../../../../docs/swr/operations.json")).unwrap()
}

fn schema(name: &str) -> &'static Schema {
    SCHEMAS.iter().find(|schema| schema.name == name).unwrap_or_else(|| panic!("{name} is no type of the document"))
}

/// Holds a type against the fields that the description has for it, and the types of its fields against theirs.
fn compare(description: &Value, name: &str, fields: &[Value], seen: &mut BTreeSet<String>) {
    let ours = schema(name);
    let is_new = seen.insert(name.to_owned());
    for row in fields {
        let key = row["name"].as_str().unwrap();
        let field = ours.fields.iter().find(|field| field.name == key).unwrap_or_else(|| panic!("{name} lacks {key}"));
        compare_shape(description, &format!("{name}.{key}"), row, &(field.shape)(), seen);
        let mandatory = row["required"].as_bool().unwrap_or(!LEFT_OUT.contains(&key));
        let is_as_said = field.is_mandatory == mandatory || OURS.contains(&(name, key));
        assert!(is_as_said || LOOSER.contains(&(name, key)), "{name}.{key}: mandatory or not");
    }
    let described: BTreeSet<&str> = fields.iter().map(|row| row["name"].as_str().unwrap()).collect();
    let more = |field: &&Field| !described.contains(field.name) && !OURS.contains(&(name, field.name));
    let unknown: Vec<&str> = ours.fields.iter().filter(more).map(|field| field.name).collect();
    assert!(!is_new || unknown.is_empty(), "{name} has more than the description: {unknown:?}");
}

fn compare_shape(description: &Value, place: &str, row: &Value, shape: &Value, seen: &mut BTreeSet<String>) {
    if let Some(model) = row["model"].as_str() {
        let name = shape["$ref"].as_str().and_then(|text| text.rsplit('/').next()).unwrap_or("");
        assert_eq!(name, model, "{place}");
        compare(description, name, description["models"][model]["fields"].as_array().unwrap(), seen);
        return;
    }
    match row["type"].as_str().unwrap() {
        "array" => compare_shape(description, place, &row["items"], &shape["items"], seen),
        "map" => compare_shape(description, place, &row["values"], &shape["additionalProperties"], seen),
        // The contract wants null here (1.4).
        "string" if place.ends_with(".deleted") => assert_eq!(shape["type"], "null", "{place}"),
        other => assert_eq!(shape["type"], other, "{place}"),
    }
    if let Some(values) = shape["enum"].as_array() {
        assert_eq!(row["enum"].as_array().unwrap(), values, "{place}");
    }
}

#[test]
fn every_field_of_every_operation_that_is_built_is_the_published_one() {
    let description = description();
    let mut seen = BTreeSet::new();
    for row in description["operations"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        let operation = OperationId::ALL.iter().find(|known| known.as_str() == id).unwrap().operation();
        if !operation.is_built {
            continue;
        }
        for (body, row) in [(operation.request, &row["request_body"]), (operation.response, &row["response_body"])] {
            let (Body::Object(name) | Body::Array(name)) = body else { continue };
            let model = row["model"].as_str().or(row["items"]["model"].as_str());
            let fields = model.map_or(&row["fields"], |model| &description["models"][model]["fields"]);
            compare(&description, name, fields.as_array().unwrap(), &mut seen);
        }
    }
    let errors = ["ErrorBody", "ErrorDetail", "LegacyError"].map(str::to_owned);
    let known: BTreeSet<String> = SCHEMAS.iter().map(|schema| schema.name.to_owned()).collect();
    assert_eq!(&seen | &BTreeSet::from(errors), known, "types that no operation uses");
}

#[test]
fn every_reference_of_the_document_leads_to_a_type() {
    let document = document();
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(&target[1..]).is_some(), "{target}");
                }
                open.extend(map.values());
            }
            Value::Array(elements) => open.extend(elements),
            _ => {}
        }
    }
}

#[test]
fn the_documents_are_those_that_are_checked_in() {
    let how = "run: cargo run -p transship-swr --example documents";
    assert!(text() == include_str!("../../../../docs/openapi.json"), "docs/openapi.json is out of date; {how}");
    let page = include_str!("../../../../docs/api.md");
    let block = [TABLE_MARKS[0], &table(), TABLE_MARKS[1]].concat();
    assert!(page.contains(&block), "the table in docs/api.md is out of date; {how}");
}
