//! The signal between the code that creates jobs, the loop that runs them, and the callers that wait for their end.
//!
//! Owns: waking waiters, within one process. Never: the jobs, which are rows.

use tokio::sync::{Notify, watch};

/// Wakes the runner when there may be work, and waiters when a job has ended.
#[derive(Debug)]
pub(crate) struct JobSignal {
    work: Notify,
    ended: watch::Sender<u64>,
}

impl Default for JobSignal {
    fn default() -> Self {
        Self { work: Notify::new(), ended: watch::Sender::new(0) }
    }
}

impl JobSignal {
    /// Reports that jobs were created or became claimable.
    pub(crate) fn changed(&self) {
        self.work.notify_one();
    }

    /// A receiver that changes whenever a job of this process ends.
    pub(crate) fn finished(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Reports that a job of this process has ended.
    pub(crate) fn job_ended(&self) {
        self.ended.send_modify(|count| *count += 1);
        // The end of a job may allow a waiting twin to run, or free a slot.
        self.work.notify_one();
    }

    /// Waits until there may be work.
    pub(crate) async fn wait_for_work(&self) {
        self.work.notified().await;
    }
}
