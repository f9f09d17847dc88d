//! The signal between those who make jobs, the loop that runs them, and those who wait for their end.
//!
//! Owns: waking, within one process. Never: the jobs, which are rows.

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
    /// Jobs were made, or became claimable.
    pub(crate) fn changed(&self) {
        self.work.notify_one();
    }

    /// A receiver that changes whenever a job of this process ends.
    pub(crate) fn finished(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// A job of this process has ended.
    pub(crate) fn job_ended(&self) {
        self.ended.send_modify(|count| *count += 1);
        // Its end may let a twin run, or free a slot.
        self.work.notify_one();
    }

    /// Returns when there may be work.
    pub(crate) async fn wait_for_work(&self) {
        self.work.notified().await;
    }
}
