//! The client against real servers on loopback: scripted ones, a small unreliable registry, and Debian's
//! `docker-registry`.

mod auth;
mod blob;
mod error;
mod hostile;
mod listing;
mod manifest;
mod push;
mod real_peer;
mod support;
mod tls;
