//! The settings of a client.
//!
//! Owns: the values and their defaults. Never: reading them from anywhere.

use std::time::Duration;

/// How to reach one registry.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The origin, `http(s)://host[:port]`, without a path: `/v2/…` is appended to it.
    pub base_url: String,
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// Certificates to trust besides the system's, in PEM.
    pub extra_ca: Option<Vec<u8>>,
    /// Maximum time to establish a connection.
    pub connect_timeout: Duration,
    /// Maximum time without progress in a transfer. The time for a whole blob is not limited: a slow transfer is not an
    /// error, a stalled one is.
    pub idle_timeout: Duration,
    /// The first pause before an upload is resumed; it doubles with every attempt without progress.
    pub first_backoff: Duration,
}

impl ClientSettings {
    /// The default settings for the registry at `base_url`.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            user_agent: concat!("transship/", env!("CARGO_PKG_VERSION")).to_owned(),
            extra_ca: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            first_backoff: Duration::from_millis(250),
        }
    }
}
