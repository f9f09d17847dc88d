//! Cleanup at a start: where one process owns the catalog, every lease that it finds belongs to a dead process.

use crate::dialect::Dialect;
use crate::{Catalog, CatalogError};

impl Catalog {
    /// Ends every lease on jobs, upload sessions and the scrub, so that the work of a process that died continues at
    /// once.
    ///
    /// Call it before this process takes any lease. It does nothing on PostgreSQL: other replicas may be alive there,
    /// and the leases of dead ones expire by themselves.
    pub async fn release_orphans(&self) -> Result<(), CatalogError> {
        if self.dialect() != Dialect::Sqlite {
            return Ok(());
        }
        // A run of the dead process counts at most up to the end of its lease.
        let jobs = "UPDATE job SET lease_until = 0, claimed_at = 0,
                spent_ms = spent_ms + CASE WHEN claimed_at = 0 THEN 0 ELSE MAX(0, MIN(lease_until, {now}) - claimed_at) END
            WHERE state = 'running'";
        self.write(|| self.query(jobs)).await?;
        // Jobs that wait for an unreachable target are charged for their wait, but not for the time before this start.
        let away = "UPDATE job SET run_at = {now} WHERE state = 'waiting' AND away > 0 AND run_at < {now}";
        self.write(|| self.query(away)).await?;
        self.write(|| self.query("UPDATE scrub SET owner = NULL, lease_until = 0")).await?;
        let uploads = "UPDATE upload SET writer_token = NULL, writer_until = {now} WHERE writer_token IS NOT NULL";
        self.write(|| self.query(uploads)).await?;
        Ok(())
    }
}
