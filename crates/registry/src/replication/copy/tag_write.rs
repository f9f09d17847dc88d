//! The write of the target's tag. It continues when the run around it is cut short.
//!
//! A target finishes a write that it has begun, even if nobody waits for the answer. So a cancelled job may take its
//! tag back only after that write was answered: before, there may be nothing yet to take back. Owns: the task of that
//! write.

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use transship_catalog::TargetBefore;
use transship_oci::Digest;

use super::{ImageCopy, JobError};
use crate::error::ServiceError;
use crate::replication::service::Replication;

/// The write of the target's tag, while it is in progress.
#[derive(Debug, Default)]
pub(crate) struct TagWrite(Mutex<Option<JoinHandle<Result<(), JobError>>>>);

impl TagWrite {
    async fn run(&self, write: BoxFuture<'static, Result<(), JobError>>) -> Result<(), JobError> {
        // The lock is held during the write. A run that is dropped leaves the task here for whatever ends the job.
        let mut task = self.0.lock().await;
        let ended = task.insert(tokio::spawn(write.in_current_span())).await;
        *task = None;
        ended.unwrap_or_else(|error| Err(JobError::Retry(format!("the write of the tag broke off: {error}"))))
    }

    /// Waits for the answer of a write that is in progress. It may be dropped and called again.
    pub(crate) async fn answered(&self) {
        let mut task = self.0.lock().await;
        if let Some(write) = task.as_mut() {
            // The result is not needed: the target's tag shows it.
            drop(write.await);
            *task = None;
        }
    }

    /// Aborts a write that is in progress.
    pub(crate) async fn abandon(&self) {
        if let Some(write) = self.0.lock().await.take() {
            write.abort();
        }
    }
}

impl Replication {
    /// Records the target's current tag and writes the new one, as one task. The record lets whatever ends the job undo
    /// the write.
    pub(super) async fn write_tag(
        &self,
        copy: &ImageCopy<'_>,
        current: Option<&Digest>,
        write: BoxFuture<'static, Result<(), JobError>>,
    ) -> Result<(), JobError> {
        let before = current.map_or(TargetBefore::Absent, |digest| TargetBefore::Digest(digest.clone()));
        let (replication, id, attempt) = (self.clone(), copy.job.id, copy.job.attempt);
        let noted_and_written = Box::pin(async move {
            if replication.catalog().note_target(id, attempt, &before).await.map_err(ServiceError::from)? {
                return write.await;
            }
            // The runner knows which of the two happened, and ends the job accordingly.
            Err(JobError::Retry("the job was cancelled, or another process has it".to_owned()))
        });
        copy.progress.tag_write.run(noted_and_written).await
    }
}
