//! The arrows between the crates are exactly those that ARCHITECTURE.md draws. A new one fails here, so that it is a
//! decision and not an accident.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each crate of ours and the crates of ours that it may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("transship-oci", &[]),
    ("transship-swr", &["transship-oci"]),
    ("transship-store", &["transship-oci"]),
    ("transship-catalog", &["transship-oci"]),
    ("transship-client", &["transship-oci"]),
    ("transship-registry", &["transship-oci", "transship-store", "transship-catalog", "transship-client"]),
    (
        "transship",
        &[
            "transship-oci",
            "transship-swr",
            "transship-store",
            "transship-catalog",
            "transship-client",
            "transship-registry",
        ],
    ),
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
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let packages = dependencies(true);
    let known: BTreeSet<&str> = allowed.keys().copied().collect();
    assert_eq!(packages.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "the crates of the workspace");
    for (package, uses) in &packages {
        for used in uses.iter().filter(|name| known.contains(name.as_str())) {
            assert!(
                allowed[package.as_str()].contains(&used.as_str()),
                "{package} uses {used}: no such arrow is drawn in ARCHITECTURE.md"
            );
        }
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
