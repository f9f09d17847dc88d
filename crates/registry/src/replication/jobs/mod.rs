//! Running durable jobs: claims under a lease, heartbeats, retries, and giving leases back.
//!
//! Owns: when a job runs, how often, and how it ends. Never: what it does (the `copy` module).

pub(crate) mod runner;

#[cfg(test)]
mod tests;
