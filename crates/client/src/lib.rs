//! Speaks the OCI distribution protocol to another registry: what replication uses to reach a target region.
//!
//! Owns: requests, their authorization, what an answer means for a retry, and the resumable upload of one blob.
//! Never: what to copy or when (the `registry` crate decides that), and never a whole blob in memory: blobs pass as streams.
//!
//! * [`RegistryClient`] is cheap to clone; clones share the connections and the tokens.
//! * Every failure is a [`ClientError`] whose [`ErrorKind`] says whether trying again can help.
//! * Nothing is ever sent to another origin than the configured one: not for a redirect, not for a token, not for an upload.

mod auth;
mod blob;
mod client;
mod error;
mod listing;
mod manifest;
pub mod peer;
mod push;
mod retry;
mod settings;
mod source;
mod transport;
mod upload;

pub use auth::{Credentials, TokenSource};
pub use blob::ByteStream;
pub use client::RegistryClient;
pub use error::{ClientError, ErrorKind};
pub use manifest::PutCondition;
pub use push::Progress;
pub use settings::ClientSettings;
pub use source::{BlobSource, SourceStream};
pub use upload::{Mount, UploadSession};

#[cfg(test)]
mod tests;
