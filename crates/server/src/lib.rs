//! The `transship` process: HTTP, configuration and the command line round the registry crate.
//!
//! The URL tells the folder:
//!
//! | path | module |
//! | --- | --- |
//! | `/v2/manage/…`, `/v3/manage/…`, `/`, `/{api_version}` | [`manage_api`] |
//! | `/v3/…`, `/v3.0/…` | [`iam_api`] |
//! | `/v2/…`, `/swr/auth/…` | [`oci_api`] |
//! | `/transship/…` | [`peer_api`] |
//! | `/livez`, `/readyz` | [`app`] |
//!
//! [`caller`] proves who calls the management and IAM APIs.
//!
//! Owns: everything that speaks HTTP or reads a file of the operator. Never: a rule of the service, SQL, bytes of blobs.

pub mod app;
pub mod caller;
pub mod cli;
pub mod config;
pub mod http;
pub mod iam_api;
pub mod manage_api;
pub mod oci_api;
pub mod peer_api;
