//! A task that was delivered again: the outcome of its earlier run in this worker.

use super::{hold::STALE_CHECK_INTERVAL, run_table::RunGuard, settlement::Settlement, task_in_hand::TaskInHand};

/// How the earlier run of a task decides its redelivery.
pub(super) enum EarlierRun<'a> {
    /// No outcome is known: the task runs.
    Unknown,
    /// It settles this delivery. The guard marks the run as under way while its outcome is reported once more, so that yet
    /// another delivery waits as well.
    Decides(Settlement, Option<RunGuard<'a>>),
}

impl<'a> TaskInHand<'a> {
    /// Finds the outcome of an earlier run, and waits for one that is still under way.
    pub async fn earlier_run(&self) -> EarlierRun<'a> {
        let run = self.run_id();
        let mut logged = false;
        while let Some(ended) = self.core.runs.orphan(&run) {
            if !std::mem::replace(&mut logged, true) {
                tracing::info!("task redelivered while it runs; waiting for that run");
            }
            tokio::select! {
                () = self.stopping.cancelled() => return EarlierRun::Decides(Settlement::Leave, None),
                () = ended.cancelled() => {}
                // Each lost connection brings another copy; the older ones end here, or they would pile up.
                () = tokio::time::sleep(STALE_CHECK_INTERVAL) => if self.delivery.is_stale() {
                    return EarlierRun::Decides(Settlement::Leave, None);
                }
            }
        }
        // This delivery may have become stale meanwhile; then the outcome is for the next one.
        if self.delivery.is_stale() {
            return EarlierRun::Decides(Settlement::Leave, None);
        }
        match self.core.runs.take(&run) {
            Some(outcome) => {
                let guard = self.core.runs.begin(run, self.delivery.clone());
                EarlierRun::Decides(Settlement::Report(outcome), Some(guard))
            }
            None => EarlierRun::Unknown,
        }
    }
}
