//! Where log lines go: standard error, one JSON object each, or lines for people.

use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

use crate::config::{Log, LogFormat};

/// The layers below the one that writes.
type Filtered = Layered<reload::Layer<EnvFilter, tracing_subscriber::Registry>, tracing_subscriber::Registry>;
type Format = Box<dyn Layer<Filtered> + Send + Sync>;

/// Changes the log of a running process.
pub(super) struct LogControl {
    filter: reload::Handle<EnvFilter, tracing_subscriber::Registry>,
    format: reload::Handle<Format, Filtered>,
}

/// Starts the log of a serving process.
pub(super) fn start(log: &Log) -> LogControl {
    let (filter_layer, filter) = reload::Layer::new(filter_of(log));
    let (format_layer, format) = reload::Layer::new(format_of(log));
    // A second start in one process (in tests) keeps the first log.
    let _ = tracing_subscriber::registry().with(filter_layer).with(format_layer).try_init();
    LogControl { filter, format }
}

impl LogControl {
    /// Applies these settings from the next line on.
    pub(super) fn change(&self, log: &Log) {
        if let Err(error) = self.filter.reload(filter_of(log)).and_then(|()| self.format.reload(format_of(log))) {
            tracing::error!("the log stays as it was: {error}");
        }
    }
}

fn filter_of(log: &Log) -> EnvFilter {
    EnvFilter::builder().parse_lossy(&log.level)
}

fn format_of(log: &Log) -> Format {
    let layer = fmt::layer().with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Text => layer.with_ansi(false).boxed(),
    }
}

/// Starts the log of a command whose output is for people: only warnings and errors.
pub(super) fn start_for_commands() {
    let filter = EnvFilter::builder().parse_lossy("warn");
    let _ = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}
