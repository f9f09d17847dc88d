//! Checking a whole region: every byte against its row, every row against what it points at, every counter.
//!
//! Works beside a running region as well as on a stopped one: what looks wrong is looked at again before it is told, since
//! rows and bytes come and go meanwhile. Changes nothing unless it is told to repair, and then only what loses nothing.
//! Memory is one page of rows.

mod facts;

use serde::Serialize;
use transship_catalog::StoredBlob;
use transship_oci::Digest;
use transship_store::{Location, StoreError};

use crate::content::inspection::Verdict;
use crate::content::pace::Pace;
use crate::error::ServiceError;
use crate::upkeep::service::Upkeep;

/// Rows, or locations, looked at together.
const PAGE: usize = 500;

/// How to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsckOptions {
    /// Look at sizes only, without reading the bytes.
    pub quick: bool,
    /// Make right what can be without a loss.
    pub repair: bool,
    /// Bytes read a second; 0 is no limit.
    pub bytes_per_second: u64,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// A blob's bytes are wrong or missing, or the medium does not give them back. Repaired: it is in quarantine.
    DamagedBlob,
    /// A blob could not be read for a reason that says nothing about its bytes, such as a right that is missing.
    UncheckedBlob,
    /// A blob is in quarantine and waits for its bytes.
    QuarantinedBlob,
    /// Bytes that no row names. Repaired: they are deleted.
    OrphanedBytes,
    /// A manifest's bytes do not have its digest, or are no manifest.
    DamagedManifest,
    /// A manifest names a blob that its repository does not link.
    MissingBlob,
    /// An index names a manifest that its repository does not hold, as deletes by clients may leave it. Only a note.
    MissingChild,
    /// A tag points at no manifest.
    DanglingTag,
    /// A link to a blob without a row.
    DanglingLink,
    /// A quota's counter is wrong. Repaired: it is right.
    WrongCounter,
}

impl Problem {
    /// Whether this can be without anything having gone wrong.
    pub const fn is_note(self) -> bool {
        matches!(self, Self::MissingChild)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub problem: Problem,
    /// Where: a digest, a location, a repository with a reference, an organization.
    pub subject: String,
    /// What was seen.
    pub detail: String,
    /// Whether it was made right.
    pub repaired: bool,
}

/// What was looked at, and what was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FsckReport {
    /// Blobs looked at.
    pub blobs: u64,
    /// Bytes of those blobs, by their rows.
    pub blob_bytes: u64,
    /// Locations found in the store.
    pub locations: u64,
    /// Manifests looked at.
    pub manifests: u64,
    /// Organizations counted again.
    pub namespaces: u64,
    /// What is wrong.
    pub problems: u64,
    /// What may be on purpose.
    pub notes: u64,
    /// How many problems were made right.
    pub repaired: u64,
}

/// A check under way.
struct Check<'a, F> {
    upkeep: &'a Upkeep,
    options: FsckOptions,
    report: FsckReport,
    tell: F,
}

impl Upkeep {
    /// Checks the whole region and tells each finding as it comes.
    ///
    /// # Errors
    /// The check could not be done: catalog or store do not answer.
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

    /// Every row of a blob against its bytes.
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
        // Collected or replaced meanwhile: then nothing was wrong.
        let now = self.upkeep.catalog().stored_blob(&blob.digest).await?;
        if now.is_none_or(|now| now.blob.location != blob.location || now.quarantined.is_some()) {
            return Ok(());
        }
        let repaired = self.options.repair && self.upkeep.content.quarantine(&blob, &reason).await?;
        self.found(Problem::DamagedBlob, &blob.digest, format!("{reason}; location {}", blob.location), repaired);
        Ok(())
    }

    /// Every location in the store against the rows.
    async fn locations(&mut self) -> Result<(), ServiceError> {
        let (upkeep, mut after) = (self.upkeep, None);
        loop {
            // Bytes first, then rows: a location is recorded before its first byte.
            let page = upkeep.store().list(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            self.report.locations += page.len() as u64;
            for location in upkeep.catalog().unnamed_locations(&page).await? {
                let place = Location::from(location.clone());
                match upkeep.store().read(&place, Some(0..0)).await {
                    // Swept since it was listed.
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
