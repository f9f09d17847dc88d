//! The registry protocol as data: one grammar for the server and for the client.
//!
//! Owns digests, names, references, descriptors, manifests (as a view over their raw bytes), ranges, the routes under
//! `/v2/`, query strings, scopes, challenges, links and error codes. A value of one of these types is always valid:
//! text is checked once, when it is parsed.
//!
//! Never does I/O, waits, reads a clock, or uses an HTTP library: headers and paths are text here.
//!
//! ```
//! use transship_oci::{Reference, Route};
//!
//! let route = Route::parse("/v2/team/app/manifests/v1").unwrap();
//! let Route::Manifest { name, reference } = &route else { panic!("a manifest") };
//! assert_eq!(name.namespace().as_str(), "team");
//! assert!(matches!(reference, Reference::Tag(tag) if tag.as_str() == "v1"));
//! assert_eq!(route.path(), "/v2/team/app/manifests/v1");
//! ```

pub mod challenge;
pub mod digest;
pub mod error;
pub mod link;
pub mod manifest;
pub mod media;
pub mod name;
pub mod query;
pub mod range;
mod referrers_tag;
pub mod route;
pub mod scope;
#[cfg(test)]
mod testing;
mod text;

pub use challenge::Challenge;
pub use digest::{Digest, DigestAlgorithm, Hasher};
pub use error::{ErrorBody, ErrorCode, ErrorInfo};
pub use link::Link;
pub use manifest::{Descriptor, MAX_MANIFEST_BYTES, ManifestError, ManifestKind, ManifestView};
pub use name::{NamespaceName, Reference, RegionId, RepositoryName, RepositoryPath, Tag};
pub use range::{ByteRange, ContentRange, ContentRangeError, ServedRange, parse_upload_range, upload_range};
pub use referrers_tag::referrers_tag_subject;
pub use route::{Route, RouteError};
pub use scope::{Action, Scope, parse_scopes};
pub use text::GrammarError;
