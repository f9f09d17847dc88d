//! Takes values out of the parsed file, section by section, and collects problems instead of stopping at the first.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::problem::Problem;
use super::reference::{self, Default};
use super::secret::{self, Secret};

/// One section of the file: `[region]`, or one of the `[[peer]]`.
#[derive(Clone, Debug)]
pub(super) struct Section {
    name: &'static str,
    /// Its name in messages: `peer[0]` for the first of many.
    label: String,
    table: Table,
}

/// The parsed file, and the problems so far.
#[derive(Debug)]
pub(super) struct Reader {
    root: Table,
    base: PathBuf,
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    /// Starts on a parsed file; relative paths start at `base`.
    pub(super) fn new(root: Table, base: &Path) -> Self {
        let mut reader = Self { root, base: base.to_owned(), problems: Vec::new() };
        let known: Vec<&str> = reference::SECTIONS.iter().map(|section| section.name).collect();
        let unknown: Vec<String> = reader.root.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            reader.problem(Problem::new(key, "is not a known section", format!("one of {}", known.join(", "))));
        }
        reader
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A section that may be left out.
    pub(super) fn optional_section(&mut self, name: &'static str) -> Option<Section> {
        let value = self.root.get(name)?.clone();
        self.section_of(name, name.to_owned(), value)
    }

    /// A section whose keys all have defaults.
    pub(super) fn section(&mut self, name: &'static str) -> Section {
        let absent = Section { name, label: name.to_owned(), table: Table::new() };
        self.optional_section(name).unwrap_or(absent)
    }

    /// A section that may be there many times.
    pub(super) fn sections(&mut self, name: &'static str) -> Vec<Section> {
        match self.root.get(name).cloned() {
            None => Vec::new(),
            Some(Value::Array(values)) => values
                .into_iter()
                .enumerate()
                .filter_map(|(index, value)| self.section_of(name, format!("{name}[{index}]"), value))
                .collect(),
            Some(_) => {
                self.problem(Problem::new(name, "is not a list of tables", format!("[[{name}]]")));
                Vec::new()
            }
        }
    }

    fn section_of(&mut self, name: &'static str, label: String, value: Value) -> Option<Section> {
        match value {
            Value::Table(table) => Some(Section { name, label, table }),
            other => {
                self.problem(Problem::bad(label, &other, format!("a table, [{name}]")));
                None
            }
        }
    }

    /// Reports the unknown keys of a section.
    pub(super) fn refuse_unknown(&mut self, section: &Section) {
        for key in section.table.keys() {
            if reference::find(section.name, key).is_none() {
                let known: Vec<&str> = reference::names(section.name).collect();
                let label = format!("{}.{key}", section.label);
                self.problem(Problem::new(label, "is not a known key", format!("one of {}", known.join(", "))));
            }
        }
    }

    /// Returns the value of a key, or its default; `None` if there is neither or it is wrong. `parse` says what it
    /// expected.
    pub(super) fn read<T>(
        &mut self,
        section: &Section,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let (label, value) = self.value(section, name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(expected) => {
                self.problem(Problem::bad(label, &value, expected));
                None
            }
        }
    }

    /// Returns the secret that a key refers to; `None` if there is none or it is wrong.
    pub(super) fn secret(&mut self, section: &Section, name: &'static str) -> Option<Secret> {
        let (label, value) = self.value(section, name)?;
        match secret::resolve(&value, &self.base) {
            Ok(secret) => Some(secret),
            Err((found, expected)) => {
                self.problem(Problem::new(label, found, expected));
                None
            }
        }
    }

    /// A path, relative to the directory of the file.
    pub(super) fn path(&mut self, section: &Section, name: &'static str) -> Option<PathBuf> {
        let base = self.base.clone();
        self.read(section, name, |value| match value.as_str() {
            Some(text) if !text.is_empty() => Ok(base.join(text)),
            _ => Err("a path".to_owned()),
        })
    }

    /// Returns the raw value of a key with its full name; reports a mandatory key that is missing.
    pub(super) fn value(&mut self, section: &Section, name: &'static str) -> Option<(String, Value)> {
        let key = reference::find(section.name, name).expect("every key that is read is in the reference");
        let label = format!("{}.{name}", section.label);
        if let Some(value) = section.table.get(name) {
            return Some((label, value.clone()));
        }
        match key.default {
            Default::Value(text) => {
                let mut table: Table = format!("v = {text}").parse().expect("defaults of the reference are TOML");
                table.remove("v").map(|value| (label, value))
            }
            Default::Words(_) => None,
            Default::Required => {
                self.problem(Problem::new(label, "is missing", key.kind));
                None
            }
        }
    }
}
