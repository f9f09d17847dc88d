//! Who asks, as far as that matters to others who ask at the same time.

use std::net::IpAddr;

/// Who asks for an answer, and so shares the room of others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asks<'a> {
    /// A user of this account.
    Account(&'a str),
    /// Somebody unknown at this address.
    Stranger(IpAddr),
}
