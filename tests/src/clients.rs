//! Real clients as commands, with a time limit and with their own configuration folder, so that nothing of the user's
//! is read or changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::environment;

/// No client needs this long in the tests, even on a busy machine.
const LIMIT: Duration = Duration::from_mins(3);

/// The result of a command.
#[derive(Debug)]
pub struct Said {
    /// True for exit code 0.
    pub ok: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a command to its end.
pub async fn run(mut command: Command) -> Said {
    let name = format!("{:?}", command.as_std());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    let output =
        output.unwrap_or_else(|_| panic!("{name} did not end in {} s", LIMIT.as_secs())).expect("output is readable");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Said { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Runs a command that must succeed, and returns what it printed.
pub async fn must(command: Command) -> String {
    let name = format!("{:?}", command.as_std());
    let said = run(command).await;
    assert!(said.ok, "{name} failed:\n{}\n{}", said.out, said.err);
    said.out
}

/// A command from words.
pub fn command(program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A folder for one client: its home, its login file and its working files.
#[derive(Debug)]
pub struct Client {
    program: PathBuf,
    home: TempDir,
}

impl Client {
    /// A client found in the `PATH`, or by its full path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        Self { program: program.into(), home }
    }

    /// The folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command of this client.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.program, arguments);
        command
            .current_dir(self.home())
            .env("HOME", self.home())
            .env("DOCKER_CONFIG", self.home().join("docker"))
            .env("REGISTRY_AUTH_FILE", self.home().join("auth.json"))
            .env("XDG_RUNTIME_DIR", self.home())
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost");
        command
    }

    /// Runs it; it must succeed.
    pub async fn must(&self, arguments: &[&str]) -> String {
        must(self.command(arguments)).await
    }

    /// Runs it; it must fail. Returns what a person sees.
    pub async fn refused(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments).await;
        assert!(!said.ok, "{} {arguments:?} was not refused: {}\n{}", self.program.display(), said.out, said.err);
        format!("{}\n{}", said.out, said.err)
    }

    /// Runs it with this on its standard input; it must succeed.
    pub async fn must_with(&self, input: &[u8], arguments: &[&str]) -> String {
        let file = self.home().join("standard-input");
        std::fs::write(&file, input).expect("the folder is writable");
        let mut shell = self.command(arguments);
        shell.stdin(std::fs::File::open(file).expect("it was just written"));
        must(shell).await
    }

    /// Runs it; it may fail.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        run(self.command(arguments)).await
    }
}

/// An OCI image layout of `make-images.py` in a temporary folder.
#[derive(Debug)]
pub struct Layout {
    folder: TempDir,
}

impl Layout {
    /// Runs `make-images.py KIND <folder> ARGUMENTS`.
    pub async fn make(kind: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut make = command("python3", &[]);
        make.arg(environment::tool("make-images.py")).arg(kind).arg(folder.path()).args(arguments);
        must(make).await;
        Self { folder }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The name under which skopeo finds a tag of it.
    pub fn skopeo(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.path().display())
    }

    /// The digest of a tag.
    pub fn digest(&self, tag: &str) -> String {
        layout_digest(self.path(), tag)
    }

    /// All content that a tag names: digest to bytes.
    pub fn closure(&self, tag: &str) -> BTreeMap<String, Vec<u8>> {
        closure(self.path(), &self.digest(tag))
    }
}

/// The digest of a tag of an OCI image layout.
pub fn layout_digest(layout: &Path, tag: &str) -> String {
    let index = std::fs::read(layout.join("index.json")).expect("a layout has an index");
    let index: Value = serde_json::from_slice(&index).expect("the index is JSON");
    let entries = index["manifests"].as_array().expect("the index has manifests");
    let named = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == tag;
    let entry = entries.iter().find(named).unwrap_or_else(|| panic!("no tag {tag} in the layout: {index}"));
    entry["digest"].as_str().expect("a descriptor has a digest").to_owned()
}

/// Reads a manifest of an OCI image layout and everything that it names: digest to bytes.
pub fn closure(layout: &Path, digest: &str) -> BTreeMap<String, Vec<u8>> {
    closure_from(digest, &|digest| {
        let file = layout.join("blobs").join(digest.replace(':', "/"));
        std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    })
}

/// Reads a manifest and everything that it names, with `read`: digest to bytes.
pub fn closure_from(digest: &str, read: &dyn Fn(&str) -> Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let raw = read(digest);
    let manifest: Value = serde_json::from_slice(&raw).expect("a manifest is JSON");
    let list = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
    let text = |descriptor: &Value| descriptor["digest"].as_str().expect("a descriptor has a digest").to_owned();
    let mut parts = BTreeMap::from([(digest.to_owned(), raw.clone())]);
    for child in list("manifests") {
        parts.extend(closure_from(&text(&child), read));
    }
    for blob in manifest.get("config").cloned().into_iter().chain(list("layers")) {
        parts.insert(text(&blob), read(&text(&blob)));
    }
    parts
}

/// Panics unless two closures are the same byte for byte. The message says what differs, not how.
pub fn assert_same(pushed: &BTreeMap<String, Vec<u8>>, pulled: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(pushed.keys().collect::<Vec<_>>(), pulled.keys().collect::<Vec<_>>());
    for (digest, bytes) in pushed {
        assert!(pulled[digest] == *bytes, "the content of {digest} is not what was pushed");
    }
}
