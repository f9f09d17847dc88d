use super::*;

const GIB: u64 = 1 << 30;
const MEMINFO: &str =
    "MemTotal:       24683656 kB\nMemFree:        19794572 kB\nMemAvailable:   20971520 kB\nBuffers: 1 kB\n";

/// A simulated machine: the files of `/proc` and `/sys/fs/cgroup`.
fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Memory) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let memory = Memory::seen_in(&folder.path().join("proc"), &folder.path().join("groups"));
    (folder, memory)
}

fn available(files: &[(&str, &str)]) -> Option<u64> {
    machine(files).1.available_bytes()
}

#[test]
fn a_machine_without_limits_has_what_the_kernel_calls_available() {
    assert_eq!(machine_available(MEMINFO), Some(20 * GIB));
    assert_eq!(machine_available("MemTotal: 1 kB\nMemFree: 1 kB\n"), None, "a kernel that does not say");
    assert_eq!(machine_available("MemAvailable: lots\n"), None);
    assert_eq!(available(&[("proc/meminfo", MEMINFO)]), Some(20 * GIB));
    assert_eq!(available(&[]), None);
    let unlimited = [
        ("proc/meminfo", MEMINFO),
        ("proc/self/cgroup", "0::/service\n"),
        ("groups/service/memory.max", "max\n"),
        ("groups/service/memory.high", "max\n"),
        ("groups/service/memory.current", "123\n"),
    ];
    assert_eq!(available(&unlimited), Some(20 * GIB));
}

#[test]
fn the_smallest_limit_of_all_groups_of_v2_counts() {
    let of = |max: &str, high: &str, above: &str| {
        available(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/pod/container\n"),
            ("groups/pod/memory.max", above),
            ("groups/pod/memory.current", "3221225472\n"),
            ("groups/pod/memory.stat", "anon 5\nfile 99\ninactive_file 1073741824\nactive_file 1073741824\n"),
            ("groups/pod/container/memory.max", max),
            ("groups/pod/container/memory.high", high),
            ("groups/pod/container/memory.current", "2147483648\n"),
            // Half a GiB of the two is page cache, which can be taken back.
            ("groups/pod/container/memory.stat", "anon 1\nfile 1\ninactive_file 268435456\nactive_file 268435456\n"),
        ])
    };
    assert_eq!(of("4294967296\n", "max\n", "max\n"), Some(4 * GIB - 3 * GIB / 2));
    assert_eq!(of("4294967296\n", "3221225472\n", "max\n"), Some(3 * GIB - 3 * GIB / 2), "memory.high is a limit too");
    assert_eq!(of("4294967296\n", "max\n", "2147483648\n"), Some(GIB), "the pod's limit is met first");
    assert_eq!(of("1073741824\n", "max\n", "max\n"), Some(0), "more than the limit is used already");
    assert_eq!(of("109951162777600\n", "max\n", "max\n"), Some(20 * GIB), "a limit beyond the machine is none");
}

#[test]
fn groups_of_v1_count_too() {
    let files = |path: &'static str, group: &'static str| {
        available(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", path),
            ("groups/unified/memory.max", "1\n"),
            (group, "4294967296\n"),
            ("groups/memory/app/memory.usage_in_bytes", "3221225472\n"),
            (
                "groups/memory/app/memory.stat",
                "cache 1\ntotal_inactive_file 1073741824\ntotal_active_file 1073741824\n",
            ),
        ])
    };
    let limit = "groups/memory/app/memory.limit_in_bytes";
    assert_eq!(files("7:blkio:/\n4:cpu,memory:/app\n", limit), Some(3 * GIB));
    assert_eq!(files("4:cpu:/app\n", limit), Some(20 * GIB), "a group that does not limit memory");
    // A container whose root is its own group, while the path is that of the host.
    let inside = [
        ("proc/meminfo", MEMINFO),
        ("proc/self/cgroup", "4:memory:/docker/0123\n"),
        ("groups/memory/memory.limit_in_bytes", "2147483648\n"),
        ("groups/memory/memory.usage_in_bytes", "1073741824\n"),
        ("groups/memory/memory.stat", "total_inactive_file 0\ntotal_active_file 0\n"),
    ];
    assert_eq!(available(&inside), Some(GIB));
}

#[test]
fn writers_fill_two_fifths_of_what_is_available_and_each_keeps_a_gib() {
    assert_eq!(keep(8 * GIB, 0, 20 * GIB, 0), 8 * GIB, "all of it");
    assert_eq!(keep(4 * GIB, 8 * GIB, 20 * GIB, 0), 4 * GIB, "all of it so far");
    assert_eq!(keep(12 * GIB, 0, 20 * GIB, 0), 8 * GIB, "its first eight");
    assert_eq!(keep(8 * GIB, 0, 20 * GIB, 5 * GIB), 3 * GIB, "others have the rest");
    assert_eq!(keep(8 * GIB, 0, 20 * GIB, 30 * GIB), GIB);
    assert_eq!(keep(8 * GIB, 0, 0, 0), GIB, "no memory at all");
    assert_eq!(keep(GIB / 2, 0, 0, 0), GIB / 2);
    assert_eq!(keep(4 * GIB, 9 * GIB, 20 * GIB, 0), HEAD_BYTES, "it will be too large in the end");
    assert_eq!(keep(GIB, u64::MAX, 0, 0), HEAD_BYTES);
    assert_eq!(keep(HEAD_BYTES / 2, u64::MAX, 0, 0), HEAD_BYTES / 2);
    assert_eq!(keep(GIB / 2, GIB, 0, 0), GIB / 2);
}

#[test]
fn shares_are_given_back() {
    let (folder, memory) = machine(&[("proc/meminfo", MEMINFO)]);
    let (mut one, mut other) = (memory.share(), memory.share());
    assert_eq!(one.keep(GIB, 0), GIB);
    assert_eq!(memory.filled_bytes.load(Ordering::Relaxed), 0, "what is always kept is not looked at");
    assert_eq!(one.keep(8 * GIB, 0), 8 * GIB);
    assert_eq!(other.keep(8 * GIB, 0), GIB, "the two have two fifths of the machine");
    drop(one);
    assert_eq!(other.keep(8 * GIB, 0), 8 * GIB, "the next checkpoint finds the room");
    // Memory has become short: at the next checkpoint all but the first GiB goes.
    fs::write(folder.path().join("proc/meminfo"), "MemAvailable: 1024 kB\n").unwrap();
    assert_eq!(other.keep(9 * GIB, 0), GIB);
    // If the amount is unknown, the result is the same as if memory were short.
    fs::remove_file(folder.path().join("proc/meminfo")).unwrap();
    assert_eq!(other.keep(9 * GIB, 0), GIB);
    drop(other);
    assert_eq!(memory.filled_bytes.load(Ordering::Relaxed), 0);
}

/// The machine that runs this test reports its memory.
#[cfg(target_os = "linux")]
#[test]
fn this_machine_is_understood() {
    assert!(Memory::default().available_bytes().is_some());
}
