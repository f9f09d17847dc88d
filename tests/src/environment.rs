//! Where things are: the repository, the build folder, the binary under test, and what `make test` passes in
//! environment variables. Only this module of the tests reads the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests have a parent folder").to_path_buf()
}

/// A tool of the tests in `tests/tools`.
pub fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name)
}

/// Cargo's build folder, where the set-up scripts put the virtual environment, the tools and the samples too.
pub fn target_dir() -> PathBuf {
    profile_dir().parent().expect("a profile has a build folder above it").to_path_buf()
}

/// The folder of the profile this test was built in: a test binary is `<target>/<profile>/deps/<name>`.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().nth(2).expect("a test binary is two folders below its profile").to_path_buf()
}

/// The suite this test belongs to, as `cargo test --test` names it: a test binary is `<suite>-<hash>`.
pub fn suite() -> String {
    let test = std::env::current_exe().expect("a test knows its own path");
    let name = test.file_stem().expect("a program has a name").to_string_lossy().into_owned();
    name.rsplit_once('-').map_or(name.clone(), |(suite, _)| suite.to_owned())
}

/// The value of a variable, if it is set and not empty.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The value of a variable that `make test` sets.
pub fn required(name: &str, script: &str) -> String {
    let value =
        variable(name).unwrap_or_else(|| panic!("{name} is not set: run this through `make test` or `{script}`"));
    value.into_string().unwrap_or_else(|value| panic!("{name} is not text: {}", value.display()))
}

/// A file that a set-up script makes.
pub fn prepared(path: &str, setup: &str) -> PathBuf {
    let full = target_dir().join(path);
    assert!(full.exists(), "{} is missing: run `scripts/setup.sh {setup}` first", full.display());
    full
}

/// The `transship` binary under test, built in the profile of the tests so that it is never an old one.
/// `TRANSSHIP_BIN` names another.
pub fn transship() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = variable("TRANSSHIP_BIN") {
            return PathBuf::from(path);
        }
        let mut build = Command::new("cargo");
        build.current_dir(root()).args(["build", "--quiet", "--package", "transship", "--bin", "transship"]);
        build.env("CARGO_TARGET_DIR", target_dir());
        if profile_dir().ends_with("release") {
            build.arg("--release");
        }
        let status = build.status().expect("cargo starts");
        assert!(status.success(), "`cargo build --package transship` failed");
        profile_dir().join("transship")
    })
}

/// Whether this process has root's rights.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
