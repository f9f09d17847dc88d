//! What a region does for itself in the background, at its own pace.
//!
//! Owns: collecting garbage, reading all bytes again and getting lost ones back, the check from the command line, and
//! removing what has expired. Never: an answer to a client, except to a peer that has lost a blob.

mod collection;
pub(crate) mod fsck;
mod reaper;
pub(crate) mod scrub;
pub(crate) mod service;
