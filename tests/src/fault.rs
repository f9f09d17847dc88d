//! Faults below a region: `tools/fault.c` is loaded into its process. At the n-th call that puts something on the
//! disk, counted over all threads, it kills the process or lets the call fail. It can also put the clock of the process
//! forward.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::environment;

/// `fsync`, `fdatasync`: what makes a file, a directory or a commit of SQLite durable.
pub const SYNC: u64 = 1;
/// `rename`, `unlink`: what changes the names in a directory.
pub const NAME: u64 = 2;
/// `write`, `pwrite`, `ftruncate`: what changes a file's bytes.
pub const WRITE: u64 = 4;

/// The layout of `struct plan`.
const PATH_OFFSET: usize = 40;
const PATH_BYTES: usize = 88;
/// Offset of the clock's lead, which follows the plan.
const AHEAD_OFFSET: u64 = (PATH_OFFSET + PATH_BYTES) as u64;
/// `SHORT` of the C file.
const SHORT: u64 = 1_000_000;
/// `SKIP` of the C file.
const SKIP: u64 = 1_000_001;

/// Error numbers of Linux.
pub const EIO: u64 = 5;
/// The disk is full.
pub const ENOSPC: u64 = 28;

/// What happens to a call that is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL, before the call does anything.
    Kill,
    /// The call does nothing and returns this error number.
    Error(u64),
    /// A write takes half of its bytes.
    Short,
    /// A sync reports success and does nothing, like a disk that lies.
    Skip,
}

/// Which calls are counted, and which of them are hit.
#[derive(Clone, Debug)]
pub struct Plan {
    /// [`SYNC`], [`NAME`] and [`WRITE`], added.
    pub calls: u64,
    /// A part of the path: `/blobs/`, `catalog`, or empty for every file of the region.
    pub path: &'static str,
    /// The first call that is hit, from 1; 0 is none.
    pub first: u64,
    /// The last call that is hit.
    pub last: u64,
    /// What happens to it.
    pub action: Action,
}

/// The plan of one region, shared with its process.
#[derive(Debug)]
pub struct Faults {
    _folder: TempDir,
    path: PathBuf,
    file: File,
}

impl Faults {
    /// No fault yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("plan");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).expect("it can be made");
        let faults = Self { _folder: folder, path, file };
        faults.disarm();
        faults.put_clock_forward(Duration::ZERO);
        faults
    }

    /// The environment variables that a process needs so that calls on its files below `root` are counted.
    pub(crate) fn environment(&self, root: &Path) -> [(&'static str, OsString); 3] {
        let library = library().as_os_str().to_owned();
        [("LD_PRELOAD", library), ("FAULT_FILE", self.path.clone().into()), ("FAULT_ROOT", root.into())]
    }

    /// Makes this plan the current one, counting from 0.
    pub fn arm(&self, plan: &Plan) {
        assert!(plan.path.len() < PATH_BYTES, "{} is too long", plan.path);
        let action = match plan.action {
            Action::Kill => 0,
            Action::Error(number) => number,
            Action::Short => SHORT,
            Action::Skip => SKIP,
        };
        let mut bytes = [0_u8; PATH_OFFSET + PATH_BYTES];
        for (at, number) in [0, plan.first, plan.last, action, plan.calls].into_iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&number.to_ne_bytes());
        }
        bytes[PATH_OFFSET..PATH_OFFSET + plan.path.len()].copy_from_slice(plan.path.as_bytes());
        self.file.write_all_at(&bytes, 0).expect("the plan can be written");
    }

    /// Kills the process at the `nth` of these calls.
    pub fn kill_at(&self, calls: u64, nth: u64) {
        self.arm(&Plan { calls, path: "", first: nth, last: nth, action: Action::Kill });
    }

    /// Counts these calls, and hits none.
    pub fn count(&self, calls: u64) {
        self.arm(&Plan { calls, path: "", first: 0, last: 0, action: Action::Kill });
    }

    /// Hits no call any more.
    pub fn disarm(&self) {
        self.count(0);
    }

    /// From now on the process sees the clock of the system this far ahead. Its monotonic clock is unchanged.
    pub fn put_clock_forward(&self, ahead: Duration) {
        self.file.write_all_at(&ahead.as_secs().to_ne_bytes(), AHEAD_OFFSET).expect("the plan can be written");
    }

    /// How many calls have been counted since the plan was made.
    pub fn seen(&self) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 0).expect("the plan can be read");
        u64::from_ne_bytes(bytes)
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

/// The library, built once a run with the C compiler that building Transship needs anyway.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = environment::target_dir().join("tools");
        std::fs::create_dir_all(&folder).expect("the build folder is writable");
        let fresh = folder.join(format!("fault-{}.so", std::process::id()));
        let mut build = Command::new("cc");
        build.args(["-O1", "-Wall", "-shared", "-fPIC", "-o"]).arg(&fresh).arg(environment::tool("fault.c"));
        let status = build.arg("-ldl").status().expect("cc starts");
        assert!(status.success(), "tests/tools/fault.c does not compile");
        // Another test process may be using the library that is there.
        let library = folder.join("fault.so");
        std::fs::rename(fresh, &library).expect("the build folder is writable");
        library
    })
}
