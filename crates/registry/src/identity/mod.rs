//! Who somebody is, and how they prove it.
//!
//! Owns: accounts and users, passwords, access keys and temporary logins, the keys of the region and all tokens made
//! with them, and limits for failed logins. Never: what somebody may do (`access`).

pub(crate) mod derived;
pub(crate) mod fingerprint;
pub(crate) mod keys;
pub(crate) mod logins;
pub(crate) mod passwords;
pub(crate) mod project;
mod refresh;
pub(crate) mod service;
pub(crate) mod throttle;
pub(crate) mod tokens;
