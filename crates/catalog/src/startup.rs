//! What the first process after a crash may know: where one process owns the catalog, every lease is a dead one's.

use crate::dialect::Dialect;
use crate::{Catalog, CatalogError};

impl Catalog {
    /// Ends every lease on jobs and upload sessions, so that the work of a process that died goes on at once.
    ///
    /// To be called before this process takes any lease. A PostgreSQL catalog may have other living replicas, whose
    /// leases run out by themselves when they die; nothing happens there.
    pub async fn release_orphans(&self) -> Result<(), CatalogError> {
        if self.dialect() != Dialect::Sqlite {
            return Ok(());
        }
        // The time since its death is not the job's.
        let jobs = "UPDATE job SET lease_until = 0, claimed_at = 0,
                spent_ms = spent_ms + CASE WHEN claimed_at = 0 THEN 0 ELSE MAX(0, MIN(lease_until, {now}) - claimed_at) END
            WHERE state = 'running'";
        self.write(|| self.query(jobs)).await?;
        // Nor is it the time of those that wait for a target that is away, which pay for their wait.
        let away = "UPDATE job SET run_at = {now} WHERE state = 'waiting' AND away > 0 AND run_at < {now}";
        self.write(|| self.query(away)).await?;
        self.write(|| self.query("UPDATE scrub SET owner = NULL, lease_until = 0")).await?;
        let uploads = "UPDATE upload SET writer_token = NULL, writer_until = {now} WHERE writer_token IS NOT NULL";
        self.write(|| self.query(uploads)).await?;
        Ok(())
    }
}
