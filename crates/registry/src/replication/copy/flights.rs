//! Blobs on their way: two jobs that need the same blob in the same repository send it once.
//!
//! Tags of one repository share layers, and their jobs run side by side; each was told by the target, before the other
//! had sent it, that the layer is missing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};
use transship_oci::{Digest, RegionId, RepositoryName};

use super::peer_tokens::PeerTokens;

/// How long a blob that has landed is remembered: longer than any job waits between asking the target and sending.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Most blobs remembered; at some 200 bytes each this stays below 4 MiB.
const MOST_REMEMBERED: u64 = 20_000;

/// Tokens live minutes; those of a user who has stopped replicating are forgotten after this.
const TOKENS_KEPT: Duration = Duration::from_mins(10);
/// Most pairs of user and target repository with a token.
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

/// The right to send one blob; nobody else sends it meanwhile.
pub(crate) struct Departure {
    landed: OwnedMutexGuard<Option<Instant>>,
}

impl Flights {
    /// Waits until nobody else is sending the blob. `None` when it has landed after `asked_at`, the moment at which the
    /// target was asked what it has: then there is nothing to send.
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
    /// The tokens under a key, made when nobody has them yet.
    pub(crate) async fn tokens(&self, key: String, make: impl FnOnce() -> PeerTokens) -> Arc<PeerTokens> {
        self.tokens.get_with(key, async { Arc::new(make()) }).await
    }
}

impl Departure {
    /// The blob is there. Dropping the departure instead lets the next one try.
    pub(crate) fn land(mut self) {
        *self.landed = Some(Instant::now());
    }
}
