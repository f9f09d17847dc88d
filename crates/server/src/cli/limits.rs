//! How many connections the process can serve within the limit on open files.

use crate::config::Config;
use crate::http::connections::ConnectionLimits;

/// Open files reserved for the catalog, logs, listeners and replication.
const RESERVED_FILES: usize = 128;

/// How many connections a configuration allows.
pub(super) fn of_connections(config: &Config) -> ConnectionLimits {
    ConnectionLimits {
        all: connections(config.limits.connections),
        of_one_address: config.limits.connections_per_address,
        proxies: config.limits.trusted_proxies.clone(),
    }
}

/// Returns the configured number of connections, lowered if the limit on open files is too small for it: two of three
/// files are for connections, the third for the blobs that they read and write.
fn connections(configured: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let Some(files) = open_files(&limits) else { return configured };
    let possible = (files.saturating_sub(RESERVED_FILES) / 3 * 2).max(16);
    if possible < configured {
        tracing::warn!(
            configured,
            possible,
            open_files = files,
            "fewer connections than limits.connections: raise the limit on open files (ulimit -n)"
        );
    }
    configured.min(possible)
}

fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_soft_limit_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(super::open_files(text), Some(1024));
        assert_eq!(super::open_files("Max open files unlimited unlimited files"), None);
        assert_eq!(super::open_files(""), None);
    }
}
