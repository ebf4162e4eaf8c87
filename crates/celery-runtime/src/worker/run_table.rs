//! Runs that are under way, and the outcomes of runs whose delivery was lost.
//!
//! When a connection ends, or the broker closes a channel because a task took too long, the message is delivered again while
//! the first run is under way, or after it has ended and could not be acknowledged. The second delivery then waits for the
//! first run and gets its outcome instead of doing the work once more. This holds within one process; across processes a
//! task may still run twice, so handlers are idempotent.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outcome::Outcome;
use crate::{broker::Delivery, sync::lock};

/// The most outcomes kept; the oldest are dropped first. As many as may be under way of two queues when a connection is lost.
const MAX_KEPT_OUTCOMES: usize = 2048;
/// How long an outcome is kept. A broker redelivers as soon as it can.
const KEPT_OUTCOME_LIFETIME: Duration = Duration::from_secs(600);

/// A task id and the number of its try.
pub(super) type RunId = (String, u32);

/// The runs of one worker.
#[derive(Default)]
pub(super) struct RunTable {
    runs: Mutex<Runs>,
}

#[derive(Default)]
struct Runs {
    under_way: HashMap<RunId, (Arc<Delivery>, CancellationToken)>,
    kept: HashMap<RunId, (Instant, Outcome)>,
    /// The runs of `kept`, oldest first.
    order: VecDeque<RunId>,
}

impl RunTable {
    /// A run begins. Dropping the guard marks it as ended.
    pub fn begin(&self, run: RunId, delivery: Arc<Delivery>) -> RunGuard<'_> {
        let ended = CancellationToken::new();
        lock(&self.runs).under_way.insert(run.clone(), (delivery, ended.clone()));
        RunGuard { table: self, run, ended }
    }

    /// If a run that has lost its delivery is under way: a token that is cancelled when the run has ended.
    pub fn orphan(&self, run: &RunId) -> Option<CancellationToken> {
        let runs = lock(&self.runs);
        let (delivery, ended) = runs.under_way.get(run)?;
        delivery.is_stale().then(|| ended.clone())
    }

    /// Keeps the outcome of a run that could not be settled, for the redelivery of its task.
    pub fn keep(&self, run: RunId, outcome: Outcome) {
        let mut runs = lock(&self.runs);
        if runs.kept.insert(run.clone(), (Instant::now(), outcome)).is_none() {
            runs.order.push_back(run);
        }
        while runs.order.len() > MAX_KEPT_OUTCOMES {
            if let Some(oldest) = runs.order.pop_front() {
                runs.kept.remove(&oldest);
            }
        }
    }

    /// The outcome kept for a task that was redelivered. It is given out once.
    pub fn take(&self, run: &RunId) -> Option<Outcome> {
        let mut runs = lock(&self.runs);
        let (since, outcome) = runs.kept.remove(run)?;
        runs.order.retain(|kept| kept != run);
        (since.elapsed() < KEPT_OUTCOME_LIFETIME).then_some(outcome)
    }

    /// A task was sent again under the same id: its earlier outcome does not answer it.
    pub fn forget(&self, run: &RunId) {
        if !lock(&self.runs).kept.is_empty() {
            let _ = self.take(run);
        }
    }
}

/// Marks a run as under way until it is dropped.
pub(super) struct RunGuard<'a> {
    table: &'a RunTable,
    run: RunId,
    ended: CancellationToken,
}

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        self.ended.cancel();
        let mut runs = lock(&self.table.runs);
        // A second run of the same task may have replaced this one.
        if runs.under_way.get(&self.run).is_some_and(|(_, ended)| ended.is_cancelled()) {
            runs.under_way.remove(&self.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: usize) -> RunId {
        (id.to_string(), 0)
    }

    #[test]
    fn an_outcome_is_given_out_once_and_not_for_a_task_that_is_sent_again() {
        let table = RunTable::default();
        table.keep(run(1), Outcome::AckOnly);
        assert!(table.take(&run(1)).is_some());
        assert!(table.take(&run(1)).is_none());
        table.keep(run(2), Outcome::AckOnly);
        table.forget(&run(2));
        assert!(table.take(&run(2)).is_none());
        for id in 0..=MAX_KEPT_OUTCOMES {
            table.keep(run(id), Outcome::AckOnly);
        }
        assert!(table.take(&run(0)).is_none(), "the oldest are dropped first");
        assert!(table.take(&run(MAX_KEPT_OUTCOMES)).is_some());
    }

    #[test]
    fn only_a_run_that_lost_its_delivery_is_waited_for() {
        let table = RunTable::default();
        let delivery = || Arc::new(Delivery::new(Default::default(), String::new(), "q".into(), false, 1, None));
        let running = table.begin(run(1), delivery());
        assert!(table.orphan(&run(1)).is_none(), "its delivery is alive: the other is a copy");
        drop(running);
        assert!(lock(&table.runs).under_way.is_empty());
    }
}
