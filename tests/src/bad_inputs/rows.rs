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
    /// The requests are answered alike, so that the answers tell nothing.
    #[serde(default)]
    pub alike: bool,
    /// Where the row is tested when a list of requests cannot say it: `suite::test`.
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
    /// Method and target; the rest of the head is made.
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
    /// The body is filled up with spaces to so many bytes.
    pub pad_to: Option<usize>,
    /// The body goes in chunks of so many bytes, as `Transfer-Encoding: chunked` has it.
    pub chunk: Option<usize>,
    /// A registry token made by hand, in place of the actor's.
    pub token: Option<super::forge::Forged>,
    /// The sender closes its half after the last byte.
    #[serde(default)]
    pub ends: bool,
    /// The statuses that are right.
    pub status: Vec<u16>,
    /// The error codes that are right; none when the answer is no error.
    #[serde(default)]
    pub code: Vec<String>,
    /// The shape of an error; the registry's when it is not said.
    #[serde(default)]
    pub shape: Shape,
    /// What the registry token of the answer is good for, `name:action,action` each.
    pub grants: Option<Vec<String>>,
    /// Headers that must be there, `Name: value`; `*` is any value, `^` what it begins with, `~` what it holds.
    #[serde(default)]
    pub has: Vec<String>,
    /// Headers that must not be there.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Texts that the body must hold.
    #[serde(default)]
    pub says: Vec<String>,
    /// Texts that the body must not hold.
    #[serde(default)]
    pub hides: Vec<String>,
    /// The catalog may change: the request is not refused, or the row is about what it leaves behind.
    #[serde(default)]
    pub changes: bool,
    /// The server must close the connection, because it cannot know where the next request begins.
    #[serde(default)]
    pub closes: bool,
    /// The statuses of the second answer, for bytes that are two requests.
    pub second: Option<Vec<u16>>,
    /// The body of the answer has at most so many bytes.
    pub at_most_bytes: Option<usize>,
}

/// Reads the file.
pub fn read() -> Vec<Row> {
    let path = environment::root().join("tests/data/bad-inputs.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.row
}
