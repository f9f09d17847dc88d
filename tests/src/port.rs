//! Ports for the regions: below the range of outgoing connections, and locked across test processes, so that a killed
//! region gets its port again.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;

/// The range is below Linux's ephemeral ports (32768 and up) and above the well-known ones.
const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

/// A port that is ours until this is dropped, whether something listens on it or not.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a port that nobody listens on and no other test holds.
    pub fn reserve() -> Self {
        // One folder for each user of the machine: the lock files of another user cannot be opened.
        let user = std::fs::metadata("/proc/self").expect("Linux tells about this process").uid();
        let folder = std::env::temp_dir().join(format!("transship-test-ports-{user}"));
        std::fs::create_dir_all(&folder).expect("the folder of port locks can be made");
        for _ in 0..1000 {
            let random = uuid::Uuid::new_v4().as_u128();
            let number = FIRST + u16::try_from(random % u128::from(COUNT)).expect("below the count");
            let lock = File::create(folder.join(number.to_string())).expect("a port lock can be made");
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port in 1000 tries")
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:<number>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
