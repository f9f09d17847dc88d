//! The arrows between the crates are exactly those that ARCHITECTURE.md draws. A new one fails here, so that it is a
//! decision and not an accident.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

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
