//! Which file of a crate uses which, as the imports and paths in the source say.
//!
//! It reads text that `rustfmt` has laid out, not Rust: comments and what is compiled for tests only are cut away, and every path that
//! begins with `crate`, `self`, `super` or a module beside it is followed to the file that has the name, through re-exports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module by its path below the crate's root; the root itself is empty.
pub(super) type Module = Vec<String>;

/// The files of one crate.
pub(super) struct Crate {
    sources: BTreeMap<Module, String>,
    /// What a module re-exports: the name, and the path behind it.
    doors: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Crate {
    /// Reads the files below a folder `src`, without those of tests.
    pub(super) fn read(src: &Path) -> Self {
        let mut sources = BTreeMap::new();
        collect(src, &mut Vec::new(), &mut sources);
        let mut doors: BTreeMap<Module, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for (module, text) in &sources {
            for (_, path) in imports(text).into_iter().filter(|(is_public, _)| *is_public) {
                let name = path.last().expect("a path has a name").clone();
                doors.entry(module.clone()).or_default().insert(name, path);
            }
        }
        Self { sources, doors }
    }

    pub(super) fn modules(&self) -> impl Iterator<Item = &Module> {
        self.sources.keys()
    }

    /// Each module and those that it uses. A module and those in its own folder are one thing that was divided for its size, so what they
    /// use of each other does not count.
    pub(super) fn arrows(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let used_by = |(module, text): (&Module, &String)| {
            let imported = imports(text).into_iter().filter(|(is_public, _)| !is_public || !module.is_empty());
            let named = paths(text).into_iter();
            let found = imported.map(|(_, path)| path).chain(named).filter_map(|path| self.resolve(module, &path, 0));
            let used = found.filter(|used| !used.starts_with(module) && !module.starts_with(used)).collect();
            (module.clone(), used)
        };
        self.sources.iter().map(used_by).collect()
    }

    /// The module that has what a path in `module` names; nothing when that is no name of this crate.
    fn resolve(&self, module: &Module, path: &[String], depth: u32) -> Option<Module> {
        let mut rest = path;
        let mut at = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => module.clone(),
            first => {
                let beside = child(module, first);
                return self.sources.contains_key(&beside).then(|| self.follow(beside, &path[1..], depth))?;
            }
        };
        if rest[0] != "super" {
            rest = &rest[1..];
        }
        while rest.first().is_some_and(|name| name == "super") {
            at.pop()?;
            rest = &rest[1..];
        }
        self.follow(at, rest, depth)
    }

    fn follow(&self, mut at: Module, mut rest: &[String], depth: u32) -> Option<Module> {
        while let Some(name) = rest.first() {
            let below = child(&at, name);
            if !self.sources.contains_key(&below) {
                break;
            }
            at = below;
            rest = &rest[1..];
        }
        let door = rest.first().and_then(|name| self.doors.get(&at)?.get(name));
        match door {
            // A re-export of a macro by its own name leads nowhere else.
            Some(path) if path.len() > 1 && depth < 8 => self.resolve(&at, path, depth + 1).or(Some(at)),
            _ => self.sources.contains_key(&at).then_some(at),
        }
    }
}

/// The modules of one circle each, if there are any.
pub(super) fn circles(arrows: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<Module>> {
    // What can be reached from each; crates are small.
    let reach = |from: &Module| {
        let mut seen: BTreeSet<Module> = BTreeSet::new();
        let mut next: Vec<&Module> = arrows[from].iter().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module.clone()) {
                next.extend(arrows.get(module).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> = arrows.keys().map(|module| (module, reach(module))).collect();
    let mut found: Vec<Vec<Module>> = Vec::new();
    for (module, seen) in &reached {
        if seen.contains(*module) && !found.iter().any(|circle| circle.contains(module)) {
            found.push(seen.iter().filter(|other| reached[other].contains(*module)).cloned().collect());
        }
    }
    found
}

fn child(module: &Module, name: &str) -> Module {
    let mut path = module.clone();
    path.push(name.to_owned());
    path
}

fn collect(folder: &Path, module: &mut Module, sources: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the crate can be read") {
        let path = entry.expect("a folder of the crate can be read").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("names of files are text").to_owned();
        if matches!(name.as_str(), "tests" | "testing") {
            continue;
        }
        if path.is_dir() {
            module.push(name);
            collect(&path, module, sources);
            module.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = without_tests(&std::fs::read_to_string(&path).expect("a file of the crate can be read"));
            let is_folder_itself = matches!(name.as_str(), "mod" | "lib");
            sources.insert(if is_folder_itself { module.clone() } else { child(module, &name) }, text);
        }
    }
}

/// Cuts comments away, and items under `#[cfg(test)]`: they end at the first line that closes at the margin.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut in_test = false;
    for line in text.lines() {
        if line == "#[cfg(test)]" {
            in_test = true;
        } else if in_test {
            in_test = !(line.starts_with('}') || (!line.starts_with(' ') && line.ends_with(';')));
        } else {
            kept.push_str(line.split("//").next().expect("there is a first part"));
            kept.push('\n');
        }
    }
    kept
}

/// Every imported path, and whether it is re-exported.
fn imports(text: &str) -> Vec<(bool, Vec<String>)> {
    let mut found = Vec::new();
    for (place, _) in text.match_indices("use ") {
        let line = text[..place].rfind('\n').map_or(0, |end| end + 1);
        let before = text[line..place].trim();
        if !(before.is_empty() || before == "pub" || (before.starts_with("pub(") && before.ends_with(')'))) {
            continue;
        }
        let tree = text[place + 4..].split(';').next().expect("there is a first part");
        found.extend(branches(tree).into_iter().map(|path| (!before.is_empty(), path)));
    }
    found
}

/// The paths of a tree such as `a::{b, c::{d, self}}`.
fn branches(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((stem, inner)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().expect("there is a first part");
        return vec![name.split("::").map(|part| part.trim().to_owned()).collect()];
    };
    let stem: Vec<String> =
        stem.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let inner = inner.strip_suffix('}').expect("a tree ends with its brace");
    let (mut depth, mut start, mut parts) = (0_u32, 0, Vec::new());
    for (place, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty()).flat_map(branches);
    parts
        .map(|part| {
            let rest = part.into_iter().filter(|name| name != "self");
            stem.iter().cloned().chain(rest).collect()
        })
        .collect()
}

/// Every path of two names or more outside of imports.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let is_of_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    for word in text.split(|letter| !is_of_path(letter)).filter(|word| word.contains("::") && !word.starts_with(':')) {
        found.push(
            word.split("::").filter(|part| !part.is_empty()).map(|part| part.trim_matches(':').to_owned()).collect(),
        );
    }
    found
}
