//! Copying images to another place: the call that asks for it, the jobs that it makes, and the copy that a job does.
//!
//! Owns: `sync_images`, when a job runs and how it ends, the order in which an image reaches its target, what this
//! region knows of the others, and the tokens with which regions prove themselves. Never: what a repository or a tag is
//! (`content`).

pub(crate) mod calls;
pub(crate) mod copy;
pub(crate) mod jobs;
pub(crate) mod peers;
pub(crate) mod region_tokens;
pub(crate) mod service;
pub(crate) mod trust;
