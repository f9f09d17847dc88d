//! Garbage collection: what nothing needs is deleted, while pushes and pulls go on.
//!
//! Owns: the order of the steps, their pace, and the deletion of bytes. Never: which row is garbage (the catalog
//! decides that again in the transaction that deletes it), and never a lock that others wait for while bytes move.
//!
//! A round walks once through everything, in small pages with a pause after each:
//!
//! 1. **unlink**: deletes links that no manifest of the repository names, some time after they were last needed;
//! 2. **condemn**: turns blobs that no repository links into tombstones of their locations;
//! 3. **unnamed**: makes tombstones of locations in the store that no row names, too;
//! 4. **sweep**: deletes the bytes of tombstones, some time after they could last be found, and then their rows.
//!
//! Any number of processes may collect on one catalog; each works on what the others have left.

use std::time::Duration;

use rand::Rng as _;
use tokio_util::sync::CancellationToken;
use transship_catalog::{LinkKey, Remains, Tombstone};
use transship_oci::Digest;
use transship_store::Location;

use crate::error::ServiceError;
use crate::upkeep::service::Upkeep;

/// Maximum number of rows read in one statement, and of rows deleted in one transaction: each takes a few milliseconds.
const PAGE: usize = 500;
/// Maximum time from the start to the first round, so that a process that restarts often collects too.
const LONGEST_FIRST_WAIT: Duration = Duration::from_mins(1);

/// What a round deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Links of repositories to blobs.
    pub(crate) links: u64,
    /// Blobs that nothing linked.
    pub(crate) blobs: u64,
    /// Their bytes, which are free after the sweep.
    pub(crate) blob_bytes: u64,
    /// Locations that no row named.
    pub(crate) unnamed: u64,
    /// Locations whose bytes are deleted.
    pub(crate) swept: u64,
}

impl Upkeep {
    /// Collects until `shutdown`.
    pub(crate) async fn collect(self, shutdown: CancellationToken) {
        // Replicas that start together must not collect at the same time.
        let mut wait =
            self.settings().collection.interval.min(LONGEST_FIRST_WAIT).mul_f64(rand::rng().random_range(0.1..1.0));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let done = self.collect_once().await;
            if done != Collected::default() {
                let Collected { links, blobs, blob_bytes, unnamed, swept } = done;
                tracing::info!(links, blobs, blob_bytes, unnamed, swept, "collected what nothing needs");
            }
            wait = self.settings().collection.interval;
        }
    }

    /// Runs one round. A step that fails is logged, and the other steps still run.
    pub(crate) async fn collect_once(&self) -> Collected {
        let mut done = Collected::default();
        for (step, result) in [
            ("unlink", self.unlink(&mut done).await),
            ("condemn", self.condemn(&mut done).await),
            ("unnamed", self.condemn_unnamed(&mut done).await),
            ("sweep", self.sweep(&mut done).await),
        ] {
            if let Err(error) = result {
                let reason = error.log_reason();
                tracing::warn!(step, reason, "a step of the collection failed and will be tried again: {error}");
            }
        }
        done
    }

    async fn unlink(&self, done: &mut Collected) -> Result<(), ServiceError> {
        let grace_ms = millis(self.settings().collection.unlink_grace);
        let mut after: Option<LinkKey> = None;
        loop {
            let page = self.catalog().unneeded_links(grace_ms, after.as_ref(), PAGE).await?;
            for links in page.garbage.chunk_by(|left, right| left.repository_id == right.repository_id) {
                let digests: Vec<Digest> = links.iter().map(|link| link.digest.clone()).collect();
                let removed = self.catalog().remove_links(links[0].repository_id, &digests, grace_ms).await?;
                done.links += removed.len() as u64;
            }
            let Some(last) = page.last else { return Ok(()) };
            after = Some(last);
            self.pause().await;
        }
    }

    async fn condemn(&self, done: &mut Collected) -> Result<(), ServiceError> {
        let mut after: Option<Digest> = None;
        loop {
            let page = self.catalog().unlinked_blobs(after.as_ref(), PAGE).await?;
            if !page.garbage.is_empty() {
                let condemned = self.catalog().condemn_blobs(&page.garbage).await?;
                done.blobs += condemned.blobs;
                done.blob_bytes += condemned.size_bytes;
            }
            let Some(last) = page.last else { return Ok(()) };
            after = Some(last);
            self.pause().await;
        }
    }

    async fn condemn_unnamed(&self, done: &mut Collected) -> Result<(), ServiceError> {
        let mut after: Option<Location> = None;
        loop {
            // The store is listed first: whatever it has now was recorded in the catalog before.
            let found = self.store().list(after.as_ref(), PAGE).await?;
            let Some(last) = found.last().cloned() else { return Ok(()) };
            let unnamed = self.catalog().unnamed_locations(&found).await?;
            if !unnamed.is_empty() {
                let count = self.catalog().condemn_unnamed(&unnamed).await?;
                done.unnamed += count;
                // Expected after a kill in the middle of an upload. Many at once mean that the catalog does not belong
                // to the store.
                tracing::warn!(
                    count,
                    example = unnamed[0],
                    "bytes that no row names; they are deleted after the grace"
                );
            }
            after = Some(last);
            self.pause().await;
        }
    }

    async fn sweep(&self, done: &mut Collected) -> Result<(), ServiceError> {
        done.swept += self.sweep_remains(Remains::Unread).await?;
        let grace_ms = millis(self.settings().collection.sweep_grace);
        done.swept += self.sweep_remains(Remains::Readable { grace_ms }).await?;
        Ok(())
    }

    /// Deletes the bytes of all due tombstones of a kind. Returns how many it deleted.
    pub(crate) async fn sweep_remains(&self, remains: Remains) -> Result<u64, ServiceError> {
        let mut swept = 0;
        let mut after: Option<Tombstone> = None;
        loop {
            let page = self.catalog().due_tombstones(remains, after.as_ref(), PAGE).await?;
            let mut deleted = 0;
            for tombstone in &page {
                if self.content.sweep_location(&tombstone.location).await {
                    deleted += 1;
                }
            }
            swept += deleted;
            // If not one of a page could be deleted, the store is at fault, and the log has enough lines.
            let Some(last) = page.into_iter().next_back().filter(|_| deleted > 0) else { return Ok(swept) };
            after = Some(last);
            self.pause().await;
        }
    }

    /// Pauses, so that others can write and read.
    async fn pause(&self) {
        tokio::time::sleep(self.settings().collection.pause).await;
    }
}

fn millis(grace: Duration) -> i64 {
    i64::try_from(grace.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
