//! The harness of the black-box tests: it starts regions as processes of the built binary, speaks to them as a client
//! does, and runs real clients against them. It owns no knowledge of how a region works inside: nothing of the other
//! crates is linked here, and the signature, the token exchange and the digests are computed a second time on purpose.
//!
//! A step that must succeed panics with what it was and what came back, so that a test reads as a list of steps. A
//! region dropped while a test panics prints the end of its log.

pub mod bad_inputs;
pub mod clients;
pub mod environment;
pub mod fault;
pub mod history;
pub mod http;
pub mod http2;
pub mod image;
pub mod manage;
pub mod oracle;
pub mod pair;
pub mod port;
pub mod postgres;
pub mod random;
pub mod region;
pub mod region_token;
pub mod registry;
pub mod sample;
pub mod signature;
pub mod single;
pub mod soak;
pub mod solo;
pub mod tls;
pub mod upload;
pub mod volume;
pub mod wait;
pub mod wan;
pub mod wire;
pub mod workload;
