//! The parts of HTTP that all APIs share: connections, limits, request ids and the access log.
//!
//! Owns: sockets and everything round a request. Never: what a request means.

mod access_log;
pub mod address;
mod body;
mod busy;
pub mod connections;
pub mod context;
mod exchange;
mod framing;
mod head;
mod limits;
pub mod origin;
pub mod pieces;
mod request_id;
mod room;
pub mod server;
mod stream;
pub mod tls;
pub mod tls_reload;
pub mod whole;
