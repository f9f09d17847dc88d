//! The caller that a request counts for, where callers share a limit.

use std::net::IpAddr;

/// The caller that a request counts for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asks<'a> {
    /// A user of this account.
    Account(&'a str),
    /// An unknown caller at this address.
    Stranger(IpAddr),
}
