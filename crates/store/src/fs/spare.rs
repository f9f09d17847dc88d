//! How much of what is written the page cache may keep.
//!
//! Owns: what the machine, or the control group that the process is in, can spare, and what each writer has of it.
//! Never: dropping pages, or a look at every write.
//!
//! What was pushed is often pulled at once, so it stays cached while there is memory for it. Memory is "available" as the
//! kernel means it (`MemAvailable`): free, or filled with what can be read again, such as these very pages. Writers together
//! fill at most half of it, so that what others pull keeps the other half. A container sees the machine's `MemAvailable`,
//! so the limits of its control groups count as well, and the smallest amount decides.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The page cache always keeps so much of one blob: most layers are smaller, and for those nothing is looked up.
const ALWAYS_BYTES: u64 = 1 << 30;
/// Writers together fill one part in so many of what is available.
const WRITERS_PART: u64 = 2;

/// The memory of the machine, as all writers of a store see it. Clones share what the writers have.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    proc: PathBuf,
    groups: PathBuf,
    /// What writers have left in the page cache, beyond what is always kept.
    filled_bytes: Arc<AtomicU64>,
}

/// What one writer has left in the page cache.
#[derive(Debug)]
pub(super) struct Share {
    memory: Memory,
    filled_bytes: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self::seen_in(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
    }
}

impl Memory {
    /// What the files below these two say.
    pub(super) fn seen_in(proc: &Path, groups: &Path) -> Self {
        Self { proc: proc.to_owned(), groups: groups.to_owned(), filled_bytes: Arc::default() }
    }

    /// The share of a new writer.
    pub(super) fn share(&self) -> Share {
        Share { memory: self.clone(), filled_bytes: 0 }
    }

    /// What the process could still use, with what the page cache holds; nothing when nobody says.
    fn available_bytes(&self) -> Option<u64> {
        let machine = machine_available(&fs::read_to_string(self.proc.join("meminfo")).ok()?)?;
        let own = fs::read_to_string(self.proc.join("self/cgroup")).unwrap_or_default();
        let groups = own.lines().filter_map(|line| self.group_available(line)).min();
        Some(groups.map_or(machine, |groups| groups.min(machine)))
    }

    /// The same of the control group that a line of `/proc/self/cgroup` names and of those above it: each of them limits.
    fn group_available(&self, line: &str) -> Option<u64> {
        let (kind, path) = Group::of_line(line)?;
        let root = self.groups.join(kind.folder(&self.groups));
        // A container may see its own group as the root, whatever the path says. The groups that exist are asked.
        let relative = Path::new(path.trim_start_matches('/'));
        relative.ancestors().filter_map(|group| kind.available(&root.join(group))).min()
    }
}

impl Share {
    /// How many of the first bytes of a blob of `size_bytes` the page cache may keep now. To be asked at each checkpoint.
    pub(super) fn keep(&mut self, size_bytes: u64) -> u64 {
        if size_bytes <= ALWAYS_BYTES {
            return size_bytes;
        }
        // Without an answer there is as little to spare as there can be.
        let available = self.memory.available_bytes().unwrap_or(0);
        let all = self.memory.filled_bytes.load(Ordering::Relaxed);
        let others = all.saturating_sub(self.filled_bytes);
        let kept = keep(size_bytes, available, others);
        self.fill(kept);
        kept
    }

    /// Says anew what this writer has. Writers that do so at the same moment may go a checkpoint beyond their part.
    fn fill(&mut self, bytes: u64) {
        let shared = &self.memory.filled_bytes;
        if bytes >= self.filled_bytes {
            shared.fetch_add(bytes - self.filled_bytes, Ordering::Relaxed);
        } else {
            shared.fetch_sub(self.filled_bytes - bytes, Ordering::Relaxed);
        }
        self.filled_bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.fill(0);
    }
}

/// How many of the first bytes of a blob stay, where the other writers have left `others` in the page cache.
fn keep(size_bytes: u64, available_bytes: u64, others_bytes: u64) -> u64 {
    (available_bytes / WRITERS_PART).saturating_sub(others_bytes).max(ALWAYS_BYTES).min(size_bytes)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn machine_available(meminfo: &str) -> Option<u64> {
    let kib: u64 = value(meminfo, "MemAvailable:")?;
    kib.checked_mul(1024)
}

/// The two versions of control groups, whose files have other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    V1,
    V2,
}

impl Group {
    /// Which kind a line of `/proc/self/cgroup` is about, and the group's path. Lines of v1 that are not about memory say
    /// nothing.
    fn of_line(line: &str) -> Option<(Self, &str)> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        if number == "0" && controllers.is_empty() {
            return Some((Self::V2, path));
        }
        controllers.split(',').any(|name| name == "memory").then_some((Self::V1, path))
    }

    /// Where the groups lie. Beside groups of v1, those of v2 have a folder of their own.
    fn folder(self, groups: &Path) -> &'static str {
        match self {
            Self::V1 => "memory",
            Self::V2 if groups.join("unified").is_dir() => "unified",
            Self::V2 => "",
        }
    }

    /// What one group leaves; nothing when it has no limit.
    fn available(self, group: &Path) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(group.join(name)).ok();
        // Not a number ("max"), or no such file at the root: no limit.
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let (limit, used, files) = match self {
            Self::V1 => {
                (number("memory.limit_in_bytes"), "memory.usage_in_bytes", ["total_inactive_file", "total_active_file"])
            }
            Self::V2 => {
                let limits = [number("memory.max"), number("memory.high")];
                (limits.into_iter().flatten().min(), "memory.current", ["inactive_file", "active_file"])
            }
        };
        let stat = read("memory.stat").unwrap_or_default();
        let cached = files.iter().filter_map(|name| value(&stat, name)).sum();
        Some(left(limit?, number(used)?, cached))
    }
}

/// What a limit leaves, where `cached_bytes` of what is used can be taken back.
const fn left(limit_bytes: u64, used_bytes: u64, cached_bytes: u64) -> u64 {
    limit_bytes.saturating_sub(used_bytes.saturating_sub(cached_bytes))
}

/// The number behind a name, in a text of lines that begin with one.
fn value(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_ascii_whitespace).find_map(|mut words| {
        let found = words.next() == Some(name);
        found.then_some(words)
    })?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests;
