//! The arrows between the crates, and between the rooms of `registry`, are those that ARCHITECTURE.md draws, and no two files of a crate
//! use each other in a circle. A new arrow fails here, so that it is a decision and not an accident.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

#[path = "architecture/imports.rs"]
mod imports;

use imports::{Crate, Module, circles};

/// Each crate of ours and the crates of ours that it uses, tests included: exactly those, and as ARCHITECTURE.md has it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("transship-oci", &[]),
    ("transship-swr", &["transship-oci"]),
    ("transship-store", &[]),
    ("transship-catalog", &["transship-oci"]),
    ("transship-client", &["transship-oci"]),
    ("transship-registry", &["transship-oci", "transship-store", "transship-catalog", "transship-client"]),
    ("transship", &["transship-oci", "transship-swr", "transship-store", "transship-catalog", "transship-registry"]),
    ("transship-tests", &[]),
    ("transship-load", &[]),
];

/// Crates that do no I/O: what would give it to them.
const NO_IO: &[(&str, &[&str])] = &[
    ("transship-oci", &["tokio", "reqwest", "hyper", "axum", "sqlx", "async-trait", "futures"]),
    ("transship-swr", &["tokio", "reqwest", "hyper", "axum", "sqlx", "async-trait", "futures"]),
];

/// Crates that speak HTTP as a server: only one does.
const HTTP_SERVERS: &[&str] = &["axum", "hyper", "hyper-util", "tower"];

/// Each room of `registry` and the rooms that it uses.
const ROOMS: &[(&str, &[&str])] = &[
    ("access", &[]),
    ("identity", &["access"]),
    ("content", &["access"]),
    ("replication", &["access", "identity", "content"]),
    ("upkeep", &["content", "replication"]),
    ("registry", &["access", "identity", "content", "replication", "upkeep"]),
];

/// The files of `registry` that lie below its rooms. Any room may use them, and they use none.
const BELOW_ROOMS: &[&str] =
    &["address", "detached", "error", "job_signal", "name_patterns", "pull_cache", "settings", "shared"];

fn written(module: &Module) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("::") }
}

/// Package name to the names of what it depends on, tests and build scripts included where `all` is set.
fn dependencies(all: bool) -> BTreeMap<String, BTreeSet<String>> {
    let manifest = transship_tests::environment::root().join("Cargo.toml");
    let mut metadata = Command::new("cargo");
    metadata.args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"]).arg(manifest);
    let output = metadata.output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let list = |value: &Value, field: &str| value[field].as_array().expect("cargo metadata has the list").clone();
    let name = |value: &Value| value["name"].as_str().expect("everything has a name").to_owned();
    let counts = |dependency: &Value| all || dependency["kind"].is_null();
    list(&metadata, "packages")
        .iter()
        .map(|package| (name(package), list(package, "dependencies").iter().filter(|d| counts(d)).map(name).collect()))
        .collect()
}

#[test]
fn arrows_are_the_drawn_ones() {
    let packages = dependencies(true);
    let ours = |name: &&String| packages.contains_key(*name);
    let found = packages.iter().map(|(package, uses)| (package.clone(), uses.iter().filter(ours).cloned().collect()));
    assert_eq!(found.collect::<Arrows>(), table(), "left: what the crates use; right: the table of this test");
}

#[test]
fn arrows_are_those_of_the_document() {
    let path = transship_tests::environment::root().join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).expect("ARCHITECTURE.md is there");
    let (_, rows) = text.split_once("| room | uses |\n").expect("ARCHITECTURE.md has a table of arrows");
    let mut drawn = Arrows::new();
    for row in rows.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let mut cells = row.split('|').skip(1).map(|cell| cell.split('`').skip(1).step_by(2).map(package));
        let (rooms, uses) = (cells.next().expect("a room"), cells.next().expect("what it uses"));
        let uses: BTreeSet<String> = uses.collect();
        drawn.extend(rooms.map(|room| (room, uses.clone())));
    }
    assert_eq!(drawn, table(), "left: ARCHITECTURE.md; right: the table of this test");
}

/// A crate of ours to the crates of ours that it uses.
type Arrows = BTreeMap<String, BTreeSet<String>>;

fn table() -> Arrows {
    ALLOWED
        .iter()
        .map(|(package, uses)| ((*package).to_owned(), uses.iter().map(|&name| name.to_owned()).collect()))
        .collect()
}

/// The name of the package that ARCHITECTURE.md calls by its folder.
fn package(room: &str) -> String {
    match room {
        "server" => "transship".to_owned(),
        _ => format!("transship-{}", room.trim_start_matches("bench/")),
    }
}

#[test]
fn store_and_catalog_do_not_know_each_other() {
    let packages = dependencies(true);
    assert!(!packages["transship-store"].contains("transship-catalog"));
    assert!(!packages["transship-catalog"].contains("transship-store"));
}

#[test]
fn the_protocol_crates_do_no_io() {
    let packages = dependencies(false);
    for (package, banned) in NO_IO {
        for used in *banned {
            assert!(!packages[*package].contains(*used), "{package} uses {used}, and is to do no I/O");
        }
    }
}

#[test]
fn only_the_server_serves_http() {
    for (package, uses) in dependencies(false) {
        if package != "transship" {
            for used in HTTP_SERVERS {
                assert!(!uses.contains(*used), "{package} uses {used}, and only the server crate serves HTTP");
            }
        }
    }
}

#[test]
fn no_two_files_use_each_other_in_a_circle() {
    let crates = transship_tests::environment::root().join("crates");
    for entry in std::fs::read_dir(crates).expect("there are crates") {
        let folder = entry.expect("there are crates").path();
        let found = circles(&Crate::read(&folder.join("src")).arrows());
        let found: Vec<String> =
            found.iter().map(|circle| circle.iter().map(written).collect::<Vec<_>>().join(", ")).collect();
        assert!(found.is_empty(), "{}: files that use each other in a circle: {}", folder.display(), found.join("; "));
    }
}

#[test]
fn arrows_between_the_rooms_of_the_registry_are_the_drawn_ones() {
    let registry = Crate::read(&transship_tests::environment::root().join("crates/registry/src"));
    // The root only names for the server what lies below it.
    let room_of = |module: &Module| module.first().map_or("", String::as_str).to_owned();
    let rooms: BTreeSet<String> = registry.modules().map(room_of).filter(|room| !room.is_empty()).collect();
    let known: BTreeSet<String> =
        ROOMS.iter().map(|(room, _)| *room).chain(BELOW_ROOMS.iter().copied()).map(str::to_owned).collect();
    assert_eq!(rooms, known, "the rooms of the registry, and the files below them");
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, used) in registry.arrows() {
        for used in used.iter().filter(|used| room_of(used) != room_of(&module)) {
            let is_below = BELOW_ROOMS.contains(&room_of(used).as_str());
            assert!(
                is_below || !BELOW_ROOMS.contains(&room_of(&module).as_str()),
                "{} uses {}, and is to lie below all rooms",
                written(&module),
                written(used)
            );
            if !is_below {
                arrows.entry(room_of(&module)).or_default().insert(room_of(used));
            }
        }
    }
    for (room, drawn) in ROOMS {
        let drawn: BTreeSet<String> = drawn.iter().copied().map(str::to_owned).collect();
        let found = arrows.remove(*room).unwrap_or_default();
        assert_eq!(found, drawn, "what {room} uses, and what ARCHITECTURE.md draws");
    }
    assert!(arrows.is_empty(), "arrows that ARCHITECTURE.md does not draw: {arrows:?}");
}
