//! How many of the written bytes the page cache may keep.
//!
//! Owns: how much memory the machine or the control group of the process can spare, and the share of each writer.
//! Never: dropping pages, or checking at every write.
//!
//! A pushed blob is often pulled soon after, so it stays cached while there is memory for it. "Available" memory is the
//! kernel's `MemAvailable`: memory that is free or holds pages that can be read again, such as these. Writers together
//! fill at most two fifths of it; the rest is left for blobs that are pulled. A blob that is known to be larger than
//! that keeps only its beginning: whoever reads it whole reads most of it from the disk in any case, and new pages cost
//! more than pages that are used again. A container sees the machine's
//! `MemAvailable`, so the limits of its control groups are read as well, and the smallest amount applies.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much stays of a blob that is known to be too large: the disk has time to start while this is sent.
const HEAD_BYTES: u64 = 64 << 20;
/// How much of any other blob the page cache always keeps. Most layers are smaller, so for them no memory figures are read.
const ALWAYS_BYTES: u64 = 1 << 30;
/// Writers together fill at most this part of the available memory, as numerator and denominator.
const WRITERS_PART: (u64, u64) = (2, 5);

/// The memory of the machine, for all writers of a store. Clones share the sum of what the writers use.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    proc: PathBuf,
    groups: PathBuf,
    /// Bytes that all writers have left in the page cache, for blobs larger than `ALWAYS_BYTES`.
    filled_bytes: Arc<AtomicU64>,
}

/// The bytes that one writer has left in the page cache.
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
    /// Reads the figures from files below these two directories.
    pub(super) fn seen_in(proc: &Path, groups: &Path) -> Self {
        Self { proc: proc.to_owned(), groups: groups.to_owned(), filled_bytes: Arc::default() }
    }

    /// The share of a new writer.
    pub(super) fn share(&self) -> Share {
        Share { memory: self.clone(), filled_bytes: 0 }
    }

    /// Memory that the process could still use, including reclaimable page cache; `None` if it is unknown.
    fn available_bytes(&self) -> Option<u64> {
        let machine = machine_available(&fs::read_to_string(self.proc.join("meminfo")).ok()?)?;
        let own = fs::read_to_string(self.proc.join("self/cgroup")).unwrap_or_default();
        let groups = own.lines().filter_map(|line| self.group_available(line)).min();
        Some(groups.map_or(machine, |groups| groups.min(machine)))
    }

    /// The same for the control group in a line of `/proc/self/cgroup`: the minimum over it and its ancestors, because
    /// each has a limit.
    fn group_available(&self, line: &str) -> Option<u64> {
        let (kind, path) = Group::of_line(line)?;
        let root = self.groups.join(kind.folder(&self.groups));
        // A container may see its own group as the root, whatever the path says, so only the groups that exist are
        // read.
        let relative = Path::new(path.trim_start_matches('/'));
        relative.ancestors().filter_map(|group| kind.available(&root.join(group))).min()
    }
}

impl Share {
    /// How many of the first bytes of a blob the page cache may keep now, when `size_bytes` of it are there and
    /// `expected_bytes` are announced. Call it at each checkpoint.
    pub(super) fn keep(&mut self, size_bytes: u64, expected_bytes: u64) -> u64 {
        if size_bytes.max(expected_bytes) <= ALWAYS_BYTES {
            return size_bytes;
        }
        // If the amount is unknown, assume that no memory is available.
        let available = self.memory.available_bytes().unwrap_or(0);
        let all = self.memory.filled_bytes.load(Ordering::Relaxed);
        let others = all.saturating_sub(self.filled_bytes);
        let kept = keep(size_bytes, expected_bytes, available, others);
        self.fill(kept);
        kept
    }

    /// Updates the share of this writer. Writers that do this at the same time may exceed their share until the next
    /// checkpoint.
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

/// How many of the first bytes of a blob stay cached if the other writers have left `others_bytes` in the page cache.
fn keep(size_bytes: u64, expected_bytes: u64, available_bytes: u64, others_bytes: u64) -> u64 {
    let writers_bytes = available_bytes / WRITERS_PART.1 * WRITERS_PART.0;
    if expected_bytes > writers_bytes.max(ALWAYS_BYTES) {
        return HEAD_BYTES.min(size_bytes);
    }
    writers_bytes.saturating_sub(others_bytes).max(ALWAYS_BYTES).min(size_bytes)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn machine_available(meminfo: &str) -> Option<u64> {
    let kib: u64 = value(meminfo, "MemAvailable:")?;
    kib.checked_mul(1024)
}

/// The two versions of control groups, whose files have different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    V1,
    V2,
}

impl Group {
    /// Returns the version and the path of the group in a line of `/proc/self/cgroup`; `None` for lines of v1 that are
    /// not about memory.
    fn of_line(line: &str) -> Option<(Self, &str)> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        if number == "0" && controllers.is_empty() {
            return Some((Self::V2, path));
        }
        controllers.split(',').any(|name| name == "memory").then_some((Self::V1, path))
    }

    /// The folder of the groups. If v1 is in use as well, the groups of v2 have their own folder.
    fn folder(self, groups: &Path) -> &'static str {
        match self {
            Self::V1 => "memory",
            Self::V2 if groups.join("unified").is_dir() => "unified",
            Self::V2 => "",
        }
    }

    /// Memory that one group has left; `None` if it has no limit.
    fn available(self, group: &Path) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(group.join(name)).ok();
        // "max" instead of a number, or a missing file at the root, means no limit.
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

/// Memory left under a limit, where `cached_bytes` of the used bytes can be reclaimed.
const fn left(limit_bytes: u64, used_bytes: u64, cached_bytes: u64) -> u64 {
    limit_bytes.saturating_sub(used_bytes.saturating_sub(cached_bytes))
}

/// Returns the number after a name, in a text whose lines begin with a name.
fn value(text: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().map(str::split_ascii_whitespace).find_map(|mut words| {
        let found = words.next() == Some(name);
        found.then_some(words)
    })?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests;
