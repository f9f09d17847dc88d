//! What is wrong with a configuration: file, key, what was found, what was expected.

use std::fmt;
use std::path::{Path, PathBuf};

/// Maximum number of characters of a bad value that a message shows.
const SHOWN_CHARS: usize = 80;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key with its section, such as `replication.sync_wait_seconds`; empty for the file as a whole.
    pub key: String,
    /// What was found, as a part of a sentence: `is 500`, `is missing`.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl Problem {
    /// A value that cannot be used.
    pub(super) fn bad(key: String, value: &toml::Value, expected: impl Into<String>) -> Self {
        let mut shown: String = value.to_string().chars().take(SHOWN_CHARS).collect();
        if shown.len() < value.to_string().len() {
            shown.push('…');
        }
        Self { key, found: format!("is {shown}"), expected: expected.into() }
    }

    /// Another problem with a key.
    pub(super) fn new(key: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { key: key.into(), found: found.into(), expected: expected.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{} ", self.key)?;
        }
        write!(f, "{}; expected {}", self.found, self.expected)
    }
}

/// Everything that is wrong with a configuration file, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// At least one problem.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn one(file: &Path, problem: Problem) -> Self {
        Self { file: file.to_owned(), problems: vec![problem] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}: {problem}", self.file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
