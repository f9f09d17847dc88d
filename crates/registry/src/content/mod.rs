//! Everything that is pushed, pulled, listed and deleted.
//!
//! Owns: upload sessions, blobs, manifests and their referrers, tags, repositories, organizations, their quotas and
//! immutable tags, and the order in which a push becomes visible. Never: copying to another place (`replication`), and
//! garbage collection (`upkeep`).

pub(crate) mod blob_content;
pub(crate) mod blobs;
mod immutability;
pub(crate) mod inspection;
pub(crate) mod large_pages;
pub(crate) mod made_indexes;
pub(crate) mod manifests;
pub(crate) mod namespaces;
mod operator;
pub(crate) mod pace;
mod quotas;
pub(crate) mod referrers;
pub(crate) mod repositories;
pub(crate) mod sending;
pub(crate) mod service;
pub(crate) mod stored_manifest;
pub(crate) mod tags;
mod tombstones;
pub(crate) mod upload_body;
pub(crate) mod uploads;
