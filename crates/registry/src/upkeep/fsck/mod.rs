//! Checking a whole region: every byte against its row, every row against what it points at, every counter.
//!
//! It runs beside a running region as well as on a stopped one. What looks wrong is checked again before it is
//! reported, because rows and bytes come and go meanwhile. It changes nothing unless told to repair, and then only what
//! loses nothing. It keeps one page of rows in memory.

mod facts;

use serde::Serialize;
use transship_catalog::StoredBlob;
use transship_oci::Digest;
use transship_store::{Location, StoreError};

use crate::content::inspection::Verdict;
use crate::content::pace::Pace;
use crate::error::ServiceError;
use crate::upkeep::service::Upkeep;

/// Number of rows or locations checked together.
const PAGE: usize = 500;

/// The options of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsckOptions {
    /// Check sizes only, without reading the bytes.
    pub quick: bool,
    /// Repair what can be repaired without a loss.
    pub repair: bool,
    /// Maximum number of bytes read per second; 0 means no limit.
    pub bytes_per_second: u64,
}

/// A kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A blob's bytes are wrong or missing, or the medium does not return them. Repair: the blob goes into quarantine.
    DamagedBlob,
    /// A blob could not be read for a reason that says nothing about its bytes, such as a missing permission.
    UncheckedBlob,
    /// A blob is in quarantine and waits for its bytes.
    QuarantinedBlob,
    /// No row names these bytes. Repair: they are deleted.
    OrphanedBytes,
    /// A manifest's bytes do not have its digest, or are not a manifest.
    DamagedManifest,
    /// A manifest names a blob that its repository does not link.
    MissingBlob,
    /// An index names a manifest that its repository does not hold. Deletes by clients may cause this, so it is only a
    /// note.
    MissingChild,
    /// A tag points at no manifest.
    DanglingTag,
    /// A link points at a blob without a row.
    DanglingLink,
    /// A quota's counter is wrong. Repair: it is counted again.
    WrongCounter,
}

impl Problem {
    /// Whether this can occur without a fault.
    pub const fn is_note(self) -> bool {
        matches!(self, Self::MissingChild)
    }
}

/// One problem that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of problem.
    pub problem: Problem,
    /// Where it is: a digest, a location, a repository with a reference, an organization.
    pub subject: String,
    /// What was seen.
    pub detail: String,
    /// Whether it was repaired.
    pub repaired: bool,
}

/// Counts of what was checked and of what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FsckReport {
    /// Blobs checked.
    pub blobs: u64,
    /// Bytes of those blobs, according to their rows.
    pub blob_bytes: u64,
    /// Locations found in the store.
    pub locations: u64,
    /// Manifests checked.
    pub manifests: u64,
    /// Organizations counted again.
    pub namespaces: u64,
    /// Problems found.
    pub problems: u64,
    /// Findings that may be on purpose.
    pub notes: u64,
    /// Problems repaired.
    pub repaired: u64,
}

/// A check in progress.
struct Check<'a, F> {
    upkeep: &'a Upkeep,
    options: FsckOptions,
    report: FsckReport,
    tell: F,
}

impl Upkeep {
    /// Checks the whole region, and passes each finding to `tell` as it comes.
    ///
    /// # Errors
    /// If the check is not possible: the catalog or the store does not answer.
    pub async fn fsck(&self, options: FsckOptions, tell: impl FnMut(&Finding)) -> Result<FsckReport, ServiceError> {
        let mut check = Check { upkeep: self, options, report: FsckReport::default(), tell };
        check.blobs().await?;
        check.locations().await?;
        check.manifests().await?;
        check.rows().await?;
        check.counters().await?;
        check.accounts().await?;
        Ok(check.report)
    }
}

impl<F: FnMut(&Finding)> Check<'_, F> {
    fn found(&mut self, problem: Problem, subject: &impl ToString, detail: impl Into<String>, repaired: bool) {
        if problem.is_note() {
            self.report.notes += 1;
        } else {
            self.report.problems += 1;
        }
        self.report.repaired += u64::from(repaired);
        let finding = Finding { problem, subject: subject.to_string(), detail: detail.into(), repaired };
        (self.tell)(&finding);
    }

    /// Checks every blob's row against its bytes.
    async fn blobs(&mut self) -> Result<(), ServiceError> {
        let mut pace = Pace::new(self.options.bytes_per_second);
        let mut after: Option<Digest> = None;
        loop {
            let rows = self.upkeep.catalog().stored_blobs(after.as_ref(), PAGE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.blob.digest.clone());
            for stored in rows {
                self.report.blobs += 1;
                self.report.blob_bytes += stored.blob.size_bytes;
                self.blob(stored, &mut pace).await?;
            }
        }
    }

    async fn blob(&mut self, stored: StoredBlob, pace: &mut Pace) -> Result<(), ServiceError> {
        let StoredBlob { blob, quarantined } = stored;
        if let Some(reason) = quarantined {
            self.found(Problem::QuarantinedBlob, &blob.digest, reason, false);
            return Ok(());
        }
        let verdict = if self.options.quick {
            self.upkeep.content.inspect_size(&blob).await
        } else {
            self.upkeep.content.inspect(&blob, pace).await
        };
        let reason = match verdict {
            Ok(Verdict::Sound) => return Ok(()),
            Ok(Verdict::Damaged(reason)) => reason,
            Err(ServiceError::StorageFault(reason)) => {
                // A store that does not answer ends the check; one blob that cannot be read does not.
                self.upkeep.store().probe().await?;
                self.found(Problem::UncheckedBlob, &blob.digest, reason, false);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // The blob was collected or replaced meanwhile, so nothing was wrong.
        let now = self.upkeep.catalog().stored_blob(&blob.digest).await?;
        if now.is_none_or(|now| now.blob.location != blob.location || now.quarantined.is_some()) {
            return Ok(());
        }
        let repaired = self.options.repair && self.upkeep.content.quarantine(&blob, &reason).await?;
        self.found(Problem::DamagedBlob, &blob.digest, format!("{reason}; location {}", blob.location), repaired);
        Ok(())
    }

    /// Checks every location in the store against the rows.
    async fn locations(&mut self) -> Result<(), ServiceError> {
        let (upkeep, mut after) = (self.upkeep, None);
        loop {
            // Bytes first, then rows: a location is recorded before its first byte is written.
            let page = upkeep.store().list(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            self.report.locations += page.len() as u64;
            for location in upkeep.catalog().unnamed_locations(&page).await? {
                let place = Location::from(location.clone());
                match upkeep.store().read(&place, Some(0..0)).await {
                    // Swept after it was listed.
                    Err(StoreError::NotFound { .. }) => continue,
                    Err(error) => return Err(error.into()),
                    Ok(_) => {}
                }
                if self.options.repair {
                    upkeep.catalog().condemn_unnamed(std::slice::from_ref(&location)).await?;
                    upkeep.store().delete(&place).await?;
                    upkeep.catalog().forget_tombstone(&location).await?;
                }
                self.found(Problem::OrphanedBytes, &location, "no row names these bytes", self.options.repair);
            }
        }
    }
}

#[cfg(test)]
mod tests;
