//! Secrets: kept apart from other values, so that they never reach a log or an error.

use std::fmt;
use std::path::Path;

use toml::Value;

/// Maximum size of a secret; a larger file is the wrong file.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// A secret value, read from its file or environment variable. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The forms of a secret, as messages name them.
pub(super) const EXPECTED: &str = r#"{ file = "path" } or { env = "NAME" }"#;

/// Resolves `{ file = "…" }` or `{ env = "…" }`; the error is (what was found, what was expected).
pub(super) fn resolve(value: &Value, base: &Path) -> Result<Secret, (String, String)> {
    let malformed = |found: &str| (found.to_owned(), EXPECTED.to_owned());
    let table = value.as_table().ok_or_else(|| malformed("is not a reference to a secret"))?;
    if table.len() != 1 {
        return Err(malformed("has not exactly one of file and env"));
    }
    let text = match (table.get("file"), table.get("env")) {
        (Some(Value::String(path)), None) => from_file(&base.join(path))?,
        (None, Some(Value::String(name))) => from_environment(name)?,
        _ => return Err(malformed("is neither a file nor an environment variable")),
    };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(("is empty".to_owned(), "a secret of at least one character".to_owned()));
    }
    Ok(Secret::new(text))
}

fn from_file(path: &Path) -> Result<String, (String, String)> {
    let fail = |reason: String| (format!("names {}, {reason}", path.display()), "a readable file".to_owned());
    let metadata = std::fs::metadata(path).map_err(|error| fail(format!("which cannot be read: {error}")))?;
    if !metadata.is_file() && !metadata.file_type().is_symlink() && metadata.is_dir() {
        return Err(fail("which is a directory".to_owned()));
    }
    if metadata.len() > MAX_SECRET_BYTES {
        return Err(fail(format!("which has {} bytes; the limit is {MAX_SECRET_BYTES}", metadata.len())));
    }
    std::fs::read_to_string(path).map_err(|error| fail(format!("which cannot be read: {error}")))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads secrets from the environment")]
fn from_environment(name: &str) -> Result<String, (String, String)> {
    std::env::var(name).map_err(|error| {
        let why = match error {
            std::env::VarError::NotPresent => "which is not set",
            std::env::VarError::NotUnicode(_) => "which is not UTF-8",
        };
        (format!("names the environment variable {name}, {why}"), "a variable that is set".to_owned())
    })
}
