//! Who may do what.
//!
//! Owns: the meaning of the three levels (contract 5.2) and of public repositories, what a registry token allows, and
//! the levels that users give each other. Never: who somebody is (`identity`), nor where levels are stored (the
//! catalog).

pub(crate) mod asks;
pub(crate) mod grants;
pub(crate) mod policy;
pub(crate) mod proof;
pub(crate) mod service;
pub(crate) mod token_grant;
