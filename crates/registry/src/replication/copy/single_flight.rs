//! Single flight: if two jobs need the same blob in the same repository, it is sent once.
//!
//! Tags of one repository share layers, and their jobs run side by side. The target tells each job that a layer is
//! missing before another job has sent it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};
use transship_oci::{Digest, RegionId, RepositoryName};

/// How long a sent blob is remembered: longer than a job waits between asking the target and sending.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Maximum number of blobs remembered. Each takes about 200 bytes, so this stays below 4 MiB.
const MOST_REMEMBERED: u64 = 20_000;

/// When a blob was sent; locked while somebody sends it.
type Sending = Arc<Mutex<Option<Instant>>>;

/// The blobs that this process is sending or has just sent.
pub(crate) struct SingleFlight {
    blobs: moka::future::Cache<String, Sending>,
}

impl Default for SingleFlight {
    fn default() -> Self {
        Self { blobs: moka::future::Cache::builder().max_capacity(MOST_REMEMBERED).time_to_idle(REMEMBERED).build() }
    }
}

/// The exclusive right to send one blob.
pub(crate) struct Lead {
    sent_at: OwnedMutexGuard<Option<Instant>>,
}

impl SingleFlight {
    /// Waits until nobody else is sending the blob. Returns `None` if the blob was sent after `asked_at`, the moment at
    /// which the target was asked what it has: then there is nothing to send.
    pub(crate) async fn lead(
        &self,
        region: &RegionId,
        target: &RepositoryName,
        digest: &Digest,
        asked_at: Instant,
    ) -> Option<Lead> {
        let key = format!("{region}/{target}@{digest}");
        let sending = self.blobs.get_with(key, async { Sending::default() }).await;
        let sent_at = sending.lock_owned().await;
        if sent_at.is_some_and(|at| at > asked_at) { None } else { Some(Lead { sent_at }) }
    }
}

impl Lead {
    /// Records that the blob is in the target. If the lead is dropped instead, the next job sends the blob.
    pub(crate) fn sent(mut self) {
        *self.sent_at = Some(Instant::now());
    }
}
