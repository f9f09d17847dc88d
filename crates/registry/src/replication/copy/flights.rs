//! Blobs in flight: if two jobs need the same blob in the same repository, it is sent once.
//!
//! Tags of one repository share layers, and their jobs run side by side. The target tells each job that a layer is
//! missing before another job has sent it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};
use transship_oci::{Digest, RegionId, RepositoryName};

use super::peer_tokens::PeerTokens;

/// How long a sent blob is remembered: longer than a job waits between asking the target and sending.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Maximum number of blobs remembered. Each takes about 200 bytes, so this stays below 4 MiB.
const MOST_REMEMBERED: u64 = 20_000;

/// How long the tokens of a user are kept after their last use. A token lives for minutes.
const TOKENS_KEPT: Duration = Duration::from_mins(10);
/// Maximum number of pairs of user and target repository with tokens.
const MOST_TOKENS: u64 = 1_000;

type Flight = Arc<Mutex<Option<Instant>>>;

/// The blobs that this process is sending or has just sent.
pub(crate) struct Flights {
    flights: moka::future::Cache<String, Flight>,
    tokens: moka::future::Cache<String, Arc<PeerTokens>>,
}

impl Default for Flights {
    fn default() -> Self {
        let flights = moka::future::Cache::builder().max_capacity(MOST_REMEMBERED).time_to_idle(REMEMBERED).build();
        let tokens = moka::future::Cache::builder().max_capacity(MOST_TOKENS).time_to_idle(TOKENS_KEPT).build();
        Self { flights, tokens }
    }
}

/// The exclusive right to send one blob.
pub(crate) struct Departure {
    landed: OwnedMutexGuard<Option<Instant>>,
}

impl Flights {
    /// Waits until nobody else is sending the blob. Returns `None` if the blob landed after `asked_at`, the moment at
    /// which the target was asked what it has: then there is nothing to send.
    pub(crate) async fn depart(
        &self,
        region: &RegionId,
        target: &RepositoryName,
        digest: &Digest,
        asked_at: Instant,
    ) -> Option<Departure> {
        let key = format!("{region}/{target}@{digest}");
        let flight = self.flights.get_with(key, async { Flight::default() }).await;
        let landed = flight.lock_owned().await;
        if landed.is_some_and(|at| at > asked_at) { None } else { Some(Departure { landed }) }
    }
}

impl Flights {
    /// Returns the tokens under a key, and makes them if there are none yet.
    pub(crate) async fn tokens(&self, key: String, make: impl FnOnce() -> PeerTokens) -> Arc<PeerTokens> {
        self.tokens.get_with(key, async { Arc::new(make()) }).await
    }
}

impl Departure {
    /// Records that the blob is in the target. If the departure is dropped instead, the next job sends the blob.
    pub(crate) fn land(mut self) {
        *self.landed = Some(Instant::now());
    }
}
