//! Who may do what.
//!
//! Owns: the meaning of the three levels (contract 5.2) and of public repositories, the levels that users give each other, and the
//! name patterns that an operator writes. Never: who somebody is (`identity`), nor where levels are stored (the catalog).

pub(crate) mod grants;
pub(crate) mod name_patterns;
pub(crate) mod policy;
