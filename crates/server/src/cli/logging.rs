//! Where log lines go: standard error, one JSON object each, or lines for people.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};

/// Starts the log of a serving process.
pub(super) fn start(log: &Log) {
    let filter = EnvFilter::builder().parse_lossy(&log.level);
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
    // A second start in one process (tests) keeps the first.
    let _ = started;
}

/// Starts the log of a command whose output is for people: only what went wrong.
pub(super) fn start_for_commands() {
    let filter = EnvFilter::builder().parse_lossy("warn");
    let _ = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}
