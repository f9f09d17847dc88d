//! The management API of SWR ("basic edition") as data: what a server answers with, and what a client asks with.
//!
//! Owns the table of operations, the paths, the requests and responses, filters and paging, the error codes and the
//! error body, and the request signature, each for reading and for writing. Also owns the OpenAPI document made from
//! them. "Contract 7.2" means a section of `docs/swr/contract.md`.
//!
//! It never does I/O, never waits and never reads a clock: a function that needs the time takes it as an argument.

pub mod access;
pub mod account;
pub mod error;
mod fields;
mod json;
pub mod namespaces;
pub mod openapi;
pub mod operation;
pub mod paging;
pub mod query;
pub mod record;
pub mod replication;
pub mod repositories;
pub mod route;
pub mod signature;
pub mod tags;

pub use error::{ApiError, ErrorBody, ErrorCode};
pub use operation::{Body, Method, Operation, OperationId};
pub use paging::{ContentRange, Page};
pub use query::Query;
pub use route::PathValues;
