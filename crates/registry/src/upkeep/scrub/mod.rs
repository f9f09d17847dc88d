//! Scrubbing: reading every blob again at an easy pace, taking damaged ones out of service, and getting them back.
//!
//! Owns: when bytes are read and what follows. The position of a round is a row, so a round continues after a restart,
//! and only one process works on it at a time. Never: deleting wrong bytes; they stay where they are until the right
//! ones have come.

mod repair;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transship_catalog::Blob;

use crate::content::inspection::Verdict;
use crate::content::pace::Pace;
use crate::error::ServiceError;
use crate::upkeep::service::Upkeep;

/// How long a process may be silent before another one continues its round.
const LEASE: Duration = Duration::from_mins(1);
/// Interval at which the position of a round is recorded. This much is read again after a crash.
const RECORD: Duration = Duration::from_secs(10);
/// Maximum pause between two checks for a round or a repair that is due.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Number of rows read together.
const PAGE: usize = 200;
/// Maximum number of repairs begun together.
const REPAIRS: usize = 10;

/// What one round found.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    blobs: u64,
    bytes: u64,
    quarantined: u64,
}

impl Upkeep {
    /// Scrubs and repairs until `shutdown`.
    pub(crate) async fn scrub(self, shutdown: CancellationToken) {
        let owner = uuid::Uuid::new_v4().simple().to_string();
        let settings = self.settings().scrub;
        let mut pace = Pace::new(settings.bytes_per_second);
        let pause = settings.interval.min(settings.repair_interval).min(LONGEST_PAUSE).max(Duration::from_millis(200));
        loop {
            let work = async {
                self.repair_due().await?;
                if settings.bytes_per_second > 0 { self.scrub_round(&owner, &mut pace).await } else { Ok(()) }
            };
            // It only reads, and each of its changes is one transaction, so it may be dropped anywhere.
            let done = tokio::select! {
                () = shutdown.cancelled() => return,
                done = work => done,
            };
            if let Err(error) = done {
                tracing::warn!(reason = error.log_reason(), "scrubbing goes on later: {error}");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Continues the round to its end, if it is due and no other process works on it.
    async fn scrub_round(&self, owner: &str, pace: &mut Pace) -> Result<(), ServiceError> {
        let lease_ms = millis(LEASE);
        let Some(turn) = self.catalog().take_scrub(owner, lease_ms).await? else { return Ok(()) };
        let mut after = turn.after;
        let mut round = Round::default();
        let mut recorded = Instant::now();
        loop {
            let rows = self.catalog().stored_blobs(after.as_ref(), PAGE).await?;
            if rows.is_empty() {
                break;
            }
            for stored in rows {
                if stored.quarantined.is_none() {
                    round.blobs += 1;
                    round.bytes += stored.blob.size_bytes;
                    round.quarantined += u64::from(self.check(&stored.blob, pace, owner).await?);
                }
                after = Some(stored.blob.digest);
                if let Some(after) = after.as_ref().filter(|_| recorded.elapsed() > RECORD) {
                    if !self.catalog().save_scrub(owner, lease_ms, after).await? {
                        return Ok(());
                    }
                    recorded = Instant::now();
                    self.repair_due().await?;
                }
            }
        }
        self.catalog().end_scrub(owner, millis(self.settings().scrub.interval)).await?;
        if round.blobs > 0 {
            let Round { blobs, bytes, quarantined } = round;
            tracing::info!(blobs, bytes, quarantined, "scrubbed every blob");
        }
        Ok(())
    }

    /// Reads one blob, and takes it out of service if its bytes are wrong. Returns whether it did.
    async fn check(&self, blob: &Blob, pace: &mut Pace, owner: &str) -> Result<bool, ServiceError> {
        // Reading a large blob at an easy pace takes longer than the lease, so the lease is renewed meanwhile.
        let inspected = async {
            let beat = async {
                loop {
                    tokio::time::sleep(LEASE / 4).await;
                    if let Err(error) = self.catalog().take_scrub(owner, millis(LEASE)).await {
                        tracing::warn!("the lease of the scrub round could not be renewed: {error}");
                    }
                }
            };
            tokio::select! {
                verdict = self.content.inspect(blob, pace) => verdict,
                () = beat => unreachable!("it has no end"),
            }
        };
        match inspected.await {
            Ok(Verdict::Sound) => Ok(false),
            Ok(Verdict::Damaged(reason)) => self.content.quarantine(blob, &reason).await,
            Err(error) => {
                // If one blob cannot be read now, the next round tries it. If the store does not answer, this round
                // ends.
                self.store().probe().await?;
                tracing::warn!(digest = %blob.digest, reason = error.log_reason(), "could not be checked: {error}");
                Ok(false)
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
