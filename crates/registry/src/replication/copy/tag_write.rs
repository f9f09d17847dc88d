//! The write of the target's tag, which goes on when the run around it is cut short.
//!
//! A target finishes a write that it has begun, whether or not somebody waits for the answer. So a cancelled job may take its tag
//! back only when that write has been answered: before, there may be nothing yet to take back. Owns: the task of that write.

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use transship_catalog::TargetBefore;
use transship_oci::Digest;

use super::{Copy, JobError};
use crate::error::ServiceError;
use crate::replication::service::Replication;

/// The write of the target's tag, while it is under way.
#[derive(Debug, Default)]
pub(crate) struct TagWrite(Mutex<Option<JoinHandle<Result<(), JobError>>>>);

impl TagWrite {
    async fn run(&self, write: BoxFuture<'static, Result<(), JobError>>) -> Result<(), JobError> {
        // Held while it goes on. A run that is dropped leaves the task behind, for whoever ends the job.
        let mut task = self.0.lock().await;
        let ended = task.insert(tokio::spawn(write.in_current_span())).await;
        *task = None;
        ended.unwrap_or_else(|error| Err(JobError::Retry(format!("the write of the tag broke off: {error}"))))
    }

    /// Waits until the write, if one is under way, has its answer. May be dropped and called again.
    pub(crate) async fn answered(&self) {
        let mut task = self.0.lock().await;
        if let Some(write) = task.as_mut() {
            // What it came to is seen in the target.
            drop(write.await);
            *task = None;
        }
    }

    /// Breaks the write off, if one is under way.
    pub(crate) async fn abandon(&self) {
        if let Some(write) = self.0.lock().await.take() {
            write.abort();
        }
    }
}

impl Replication {
    /// Records what the target's tag is now, so that whoever ends the job can undo what follows, and writes it, as one piece.
    pub(super) async fn write_tag(
        &self,
        copy: &Copy<'_>,
        current: Option<&Digest>,
        write: BoxFuture<'static, Result<(), JobError>>,
    ) -> Result<(), JobError> {
        let before = current.map_or(TargetBefore::Absent, |digest| TargetBefore::Digest(digest.clone()));
        let (replication, id, attempt) = (self.clone(), copy.job.id, copy.job.attempt);
        let noted_and_written = Box::pin(async move {
            if replication.catalog().note_target(id, attempt, &before).await.map_err(ServiceError::from)? {
                return write.await;
            }
            // The runner knows which of the two it is, and ends the job accordingly.
            Err(JobError::Retry("the job was cancelled, or another process has it".to_owned()))
        });
        copy.progress.tag_write.run(noted_and_written).await
    }
}
