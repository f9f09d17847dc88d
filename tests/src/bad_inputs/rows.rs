//! The data file: rows as they are numbered in docs/quality/bad-inputs.md, each with its requests.

use serde::Deserialize;

use super::judge::Shape;
use crate::environment;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The rows in their order.
    pub row: Vec<Row>,
}

/// One row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its number.
    pub id: u16,
    /// What it is about.
    pub what: String,
    /// The answers to all requests must be alike, so that they reveal nothing.
    #[serde(default)]
    pub alike: bool,
    /// The test of the row, if a list of requests cannot express it: `suite::test`.
    #[serde(default)]
    pub test: Vec<String>,
    /// What is sent.
    #[serde(default)]
    pub requests: Vec<Request>,
}

/// One request and what must come back.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Method and target; the rest of the head is generated.
    pub send: Option<String>,
    /// The whole request instead, each character up to U+00FF one byte.
    pub raw: Option<String>,
    /// Who sends it; see `Actor`.
    #[serde(rename = "as", default)]
    pub actor: super::stage::Actor,
    /// More headers, as lines.
    #[serde(default)]
    pub headers: Vec<String>,
    /// `Content-Type` of a manifest: `image`, `index`, or a type in full.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
    /// The body.
    pub body: Option<String>,
    /// The body instead, each character up to U+00FF one byte.
    pub bytes: Option<String>,
    /// The body is padded with spaces to this many bytes.
    pub pad_to: Option<usize>,
    /// The body goes in chunks of this many bytes, as with `Transfer-Encoding: chunked`.
    pub chunk: Option<usize>,
    /// A registry token made by hand, in place of the actor's.
    pub token: Option<super::forge::Forged>,
    /// The sender closes its half after the last byte.
    #[serde(default)]
    pub ends: bool,
    /// The statuses that are allowed.
    pub status: Vec<u16>,
    /// The error codes that are allowed; none if the answer is no error.
    #[serde(default)]
    pub code: Vec<String>,
    /// The shape of an error; by default the registry's.
    #[serde(default)]
    pub shape: Shape,
    /// What the registry token of the answer allows, each as `name:action,action`.
    pub grants: Option<Vec<String>>,
    /// Headers that must be present, `Name: value`. A value of `*` matches anything, `^` is followed by a beginning,
    /// `~` by a part.
    #[serde(default)]
    pub has: Vec<String>,
    /// Headers that must be absent.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Texts that the body must contain.
    #[serde(default)]
    pub says: Vec<String>,
    /// Texts that the body must not contain.
    #[serde(default)]
    pub hides: Vec<String>,
    /// The catalog may change: the request is not refused, or the row is about what the request leaves behind.
    #[serde(default)]
    pub changes: bool,
    /// The server must close the connection, because it cannot know where the next request begins.
    #[serde(default)]
    pub closes: bool,
    /// The statuses of the second answer, for bytes that are two requests.
    pub second: Option<Vec<u16>>,
    /// Maximum length of the answer's body in bytes.
    pub at_most_bytes: Option<usize>,
}

/// Reads the file.
pub fn read() -> Vec<Row> {
    let path = environment::root().join("tests/data/bad-inputs.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.row
}
