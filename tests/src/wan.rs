//! A wide-area link between two regions: `tools/wan.py`, with delay, a rate limit and faults, that counts bytes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::port::Port;
use crate::{environment, wait};

/// What the link is like.
#[derive(Clone, Debug, Default)]
pub struct WanSettings {
    /// Delay in each direction.
    pub delay_ms: u32,
    /// Rate of each direction; 0 is unlimited.
    pub mbit: u32,
    /// Cut every connection each time this many bytes have gone upstream; 0 is never.
    pub cut_after_bytes: u64,
    /// How many times to cut.
    pub cuts: u32,
}

/// Bytes that have passed.
#[derive(Clone, Copy, Debug)]
pub struct WanReport {
    /// Towards the target region.
    pub up_bytes: u64,
    /// Back.
    pub down_bytes: u64,
}

/// A running link.
#[derive(Debug)]
pub struct Wan {
    port: Port,
    report: PathBuf,
    _folder: TempDir,
    process: Child,
}

impl Wan {
    /// Starts a link to `target` (`host:port`).
    pub async fn start(target: &str, settings: &WanSettings) -> Self {
        let port = Port::reserve();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let report = folder.path().join("report.json");
        let mut command = Command::new("python3");
        command.arg(environment::tool("wan.py"));
        command.args(["--listen", &port.number().to_string(), "--to", target]);
        command.args(["--delay-ms", &settings.delay_ms.to_string(), "--mbit", &settings.mbit.to_string()]);
        if settings.cut_after_bytes > 0 {
            let (after, cuts) = (settings.cut_after_bytes.to_string(), settings.cuts.max(1).to_string());
            command.args(["--cut-after", &after, "--cuts", &cuts]);
        }
        command.arg("--report").arg(&report).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().expect("python3 starts");
        let address = port.address();
        let listening = || async { TcpStream::connect(&address).await.ok() };
        wait::until("the wide-area link to listen", Duration::from_secs(10), listening).await;
        Self { port, report, _folder: folder, process }
    }

    /// The address of its near end.
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Ends the link and returns the bytes that have passed.
    pub async fn stop(mut self) -> WanReport {
        let id = self.process.id().expect("the link is running").to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill starts");
        assert!(killed.success(), "the link has died");
        self.process.wait().await.expect("the link ends");
        let report = std::fs::read(&self.report).expect("the link leaves a report");
        let report: serde_json::Value = serde_json::from_slice(&report).expect("the report is JSON");
        let count = |field: &str| report[field].as_u64().unwrap_or_else(|| panic!("no {field} in {report}"));
        WanReport { up_bytes: count("up"), down_bytes: count("down") }
    }
}
