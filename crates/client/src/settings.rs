//! What a client must know about the registry it speaks to.
//!
//! Owns: the values and their defaults. Never: reading them from anywhere.

use std::time::Duration;

/// How to reach one registry.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The origin, `http(s)://host[:port]`, without a path: `/v2/…` comes after it.
    pub base_url: String,
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// Certificates to trust besides the system's, in PEM.
    pub extra_ca: Option<Vec<u8>>,
    /// How long a connection may take to come up.
    pub connect_timeout: Duration,
    /// How long a transfer may stand still. There is no limit on a whole blob: a slow path is no error, a silent one is.
    pub idle_timeout: Duration,
    /// The first wait before an upload is taken up again; it doubles from one attempt without progress to the next.
    pub first_backoff: Duration,
}

impl ClientSettings {
    /// The usual settings for the registry at `base_url`.
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
