//! Removes what has expired, in the background: upload sessions and their bytes, old jobs, logins, used region tokens.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use transship_catalog::{Abandon, Remains};

use crate::error::ServiceError;
use crate::upkeep::service::Upkeep;

/// The pause between two rounds.
const ROUND: Duration = Duration::from_secs(30);
/// Maximum number of sessions taken in one round, so that a round stays short.
const BATCH: usize = 100;
/// How long the closing PUT of an upload may be repeated. Clients that retry do so within a minute or two.
const FINISHED_UPLOADS_KEPT_MS: i64 = 15 * 60 * 1000;

impl Upkeep {
    pub(crate) async fn reap(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(error) = self.reap_once().await {
                tracing::warn!(reason = error.log_reason(), "tidying failed and will be tried again: {error}");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn reap_once(&self) -> Result<(), ServiceError> {
        for session in self.catalog().expired_uploads(BATCH).await? {
            // This checks again: the user may have come back since the list was made.
            self.catalog().abandon_upload(&session, Abandon::Expired).await?;
        }
        self.sweep_remains(Remains::Unread).await?;
        self.catalog().forget_finished_uploads(FINISHED_UPLOADS_KEPT_MS).await?;
        self.catalog().forget_region_tokens().await?;
        let kept_ms = i64::try_from(self.settings().job_retention.as_millis()).unwrap_or(i64::MAX);
        self.catalog().prune_jobs(kept_ms).await?;
        self.catalog().delete_expired_access_keys().await?;
        Ok(())
    }
}
