//! A client of the OCI distribution protocol, with which replication reaches a target region.
//!
//! Owns: requests, their authorization, whether a failure may be retried, and the resumable upload of one blob. Never:
//! what to copy or when (the `registry` crate decides that), or a whole blob in memory: blobs are streamed.
//!
//! * [`RegistryClient`] is cheap to clone; clones share the connections and the tokens.
//! * Every failure is a [`ClientError`] whose [`ErrorKind`] says whether a retry can help.
//! * Requests go only to the configured origin, including redirects, tokens and uploads.
//!
//! ```
//! use transship_client::{ClientError, ClientSettings, Credentials, RegistryClient};
//! use transship_oci::Digest;
//!
//! async fn digest_of(tag: &str) -> Result<Option<Digest>, ClientError> {
//!     let client = RegistryClient::new(&ClientSettings::new("https://registry.example"))?;
//!     let credentials = Credentials::Basic { username: "ada".to_owned(), password: "a secret".to_owned() };
//!     let name = "team/app".parse().expect("a valid name");
//!     let tag = tag.parse().expect("a valid tag");
//!     client.with_credentials(credentials).head_manifest(&name, &transship_oci::Reference::Tag(tag)).await
//! }
//! ```

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
