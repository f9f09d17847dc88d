//! Writes what is made from the table of operations: docs/openapi.json, and the marked block of docs/api.md.
//!
//! `cargo run -p transship-swr --example documents`

use std::fs;
use std::path::Path;

use transship_swr::openapi;

fn main() -> std::io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::write(docs.join("openapi.json"), openapi::text())?;
    let page = fs::read_to_string(docs.join("api.md"))?;
    let [begin, end] = openapi::TABLE_MARKS;
    let parts = page.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let (before, after) = parts.ok_or_else(|| std::io::Error::other("docs/api.md has no marks for the table"))?;
    fs::write(docs.join("api.md"), [before, begin, &openapi::table(), end, after].concat())
}
