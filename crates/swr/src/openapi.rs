//! The OpenAPI document and the table of operations in docs/api.md, made from the table of operations and the types.
//!
//! Owns: how they are written. Never: what they say.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::access::{UserAuth, UserAuths};
use crate::account::{
    AuthInfo, CheckAgencyResponse, CreateSecretResponse, Link, ListApiVersionsResponse, ListQuotasResponse,
    ShowApiVersionResponse, ShowDomainOverviewResponse, ShowQuota, ShowShareFeatureGatesResponse, VersionDetail,
};
use crate::error::{ErrorBody, ErrorCode, ErrorDetail, LegacyError};
use crate::namespaces::{CreateNamespaceRequestBody, ListNamespacesResponse, ShowNamespace};
use crate::operation::{Body, Operation, OperationId, Parameter, ParameterKind};
use crate::record::{Field, Record};
use crate::replication::{CreateManualImageSyncRepoRequestBody, RegionInfo, SyncJob};
use crate::repositories::{
    CreateRepoRequestBody, ListRepoDetailsResponse, ShowReposResp, ShowReposRespV3, ShowRepositoryResponse,
    UpdateRepoRequestBody,
};
use crate::tags::{CreateRepoTagRequestBody, ListRepositoryTagResponse, ShowReposTagResp, ShowReposTagRespV3};

/// The path of the document, which needs no credentials.
pub const PATH: &str = "/openapi.json";
/// The lines that enclose the table of operations in docs/api.md.
pub const TABLE_MARKS: [&str; 2] = ["<!-- operations: begin -->\n", "<!-- operations: end -->\n"];

/// A type of the document.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Its name.
    pub name: &'static str,
    /// What it is, as a sentence.
    pub about: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

macro_rules! schemas {
    ($($record:ident),+ $(,)?) => {
        /// The types of all requests and answers that are built.
        pub const SCHEMAS: &[Schema] = &[
            $(Schema { name: $record::NAME, about: $record::ABOUT, fields: $record::FIELDS },)+
        ];
    };
}

schemas! {
    AuthInfo,
    CheckAgencyResponse,
    CreateManualImageSyncRepoRequestBody,
    CreateNamespaceRequestBody,
    CreateRepoRequestBody,
    CreateRepoTagRequestBody,
    CreateSecretResponse,
    ErrorBody,
    ErrorDetail,
    LegacyError,
    Link,
    ListApiVersionsResponse,
    ListNamespacesResponse,
    ListQuotasResponse,
    ListRepoDetailsResponse,
    ListRepositoryTagResponse,
    RegionInfo,
    ShowApiVersionResponse,
    ShowDomainOverviewResponse,
    ShowNamespace,
    ShowQuota,
    ShowReposResp,
    ShowReposRespV3,
    ShowReposTagResp,
    ShowReposTagRespV3,
    ShowRepositoryResponse,
    ShowShareFeatureGatesResponse,
    SyncJob,
    UpdateRepoRequestBody,
    UserAuth,
    UserAuths,
    VersionDetail,
}

/// The document as text.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).expect("a value of plain data is always written");
    text.push('\n');
    text
}

/// The document: every operation that is built.
pub fn document() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for id in built() {
        let operation = id.operation();
        let method = operation.method.as_str().to_ascii_lowercase();
        paths.entry(operation.path).or_default().insert(method, described(id, operation));
    }
    let schemas: BTreeMap<&str, Value> = SCHEMAS.iter().map(|schema| (schema.name, object(schema))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Transship management API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The management API of SWR, basic edition, as this server answers it. \
                In the name of a repository in a path, `/` is written `$`.",
            "license": { "name": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "apiKey", "in": "header", "name": "X-Auth-Token", "description": "A token of IAM." },
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "A signature SDK-HMAC-SHA256 over the request.",
                },
            },
        },
        "security": [{ "token": [] }, { "signature": [] }],
    })
}

fn built() -> impl Iterator<Item = OperationId> {
    OperationId::ALL.iter().copied().filter(|id| id.operation().is_built)
}

fn described(id: OperationId, operation: &Operation) -> Value {
    let in_path = operation
        .path_values()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let parameters: Vec<Value> = in_path.chain(operation.query.iter().map(parameter)).collect();
    let mut described = json!({
        "operationId": id.as_str(),
        "summary": id.purpose(),
        "parameters": parameters,
        "responses": responses(operation),
    });
    if let Some(schema) = content(operation.request) {
        described["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    if !operation.needs_credentials {
        described["security"] = json!([]);
    }
    described
}

fn parameter(parameter: &Parameter) -> Value {
    let kind = match parameter.kind {
        ParameterKind::Text => "string",
        ParameterKind::Integer => "integer",
        ParameterKind::Flag => "boolean",
    };
    json!({ "name": parameter.name, "in": "query", "required": parameter.is_required, "schema": { "type": kind } })
}

fn responses(operation: &Operation) -> Value {
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    let mut good = json!({ "description": "Done." });
    let schema = content(operation.response).or_else(|| (operation.status != 204).then(|| json!({ "type": "object" })));
    if let Some(schema) = schema {
        good["content"] = json!({ "application/json": { "schema": schema } });
    }
    for header in operation.response_headers {
        good["headers"][header] = json!({ "schema": { "type": "string" } });
    }
    responses.insert(operation.status.to_string(), good);
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in operation.errors() {
        by_status.entry(code.status().as_u16()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let lines: Vec<String> = codes.iter().map(|code| format!("{code}: {}", code.meaning())).collect();
        let schema = json!({ "$ref": "#/components/schemas/ErrorBody" });
        let body = json!({ "description": lines.join(" "), "content": { "application/json": { "schema": schema } } });
        responses.insert(status.to_string(), body);
    }
    json!(responses)
}

fn content(body: Body) -> Option<Value> {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    match body {
        Body::Nothing => None,
        Body::Object(name) => Some(reference(name)),
        Body::Array(name) => Some(json!({ "type": "array", "items": reference(name) })),
        Body::Strings => Some(json!({ "type": "array", "items": { "type": "string" } })),
    }
}

fn object(schema: &Schema) -> Value {
    let property = |field: &Field| {
        let mut shape = (field.shape)();
        shape["description"] = json!(field.about);
        (field.name.to_owned(), shape)
    };
    let properties: Map<String, Value> = schema.fields.iter().map(property).collect();
    let required: Vec<&str> = schema.fields.iter().filter(|field| field.is_mandatory).map(|field| field.name).collect();
    json!({ "type": "object", "description": schema.about, "properties": properties, "required": required })
}

/// The table of operations in docs/api.md, between [`TABLE_MARKS`].
pub fn table() -> String {
    let mut text = format!(
        "\n{} of {} operations are built.\n\n| id | request | answer |\n| --- | --- | --- |\n",
        built().count(),
        OperationId::ALL.len()
    );
    for id in built() {
        let operation = id.operation();
        let body = match operation.response {
            Body::Nothing if operation.status == 204 => String::new(),
            Body::Nothing => " `{}`".to_owned(),
            Body::Object(name) => format!(" `{name}`"),
            Body::Array(name) => format!(" array of `{name}`"),
            Body::Strings => " array of strings".to_owned(),
        };
        let (method, path, status) = (operation.method.as_str(), operation.path, operation.status);
        let _ = writeln!(text, "| {id} | `{method} {path}` | {status}{body} |");
    }
    let missing: Vec<&str> =
        OperationId::ALL.iter().filter(|id| !id.operation().is_built).map(|id| id.as_str()).collect();
    let _ = write!(text, "\nNot built yet; they answer 404 with 4040083 (no such URL):\n\n");
    for id in missing {
        let _ = writeln!(text, "* {id}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
