//! Runs whose delivery was lost under way, and what came of them.
//!
//! When a connection ends, or the broker takes a channel away because a task took too long, its message comes again while
//! the first run goes on, or after it has ended and could not be acknowledged. The second delivery then waits for the first
//! run and is answered with its outcome instead of doing the work once more. This is within one process; across processes a
//! task may still run twice, so handlers are idempotent.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::settle::Outcome;
use crate::{broker::Delivery, sync::LockExt as _};

/// The most outcomes kept; the oldest go first. As many as may be under way of two queues when a connection is lost.
const KEPT: usize = 2048;
/// How long one is kept. A broker delivers again as soon as it can.
const EXPIRES: Duration = Duration::from_secs(600);

/// A task and which of its tries.
pub(super) type RunId = (String, u32);

#[derive(Default)]
pub(super) struct Outcomes {
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    running: HashMap<RunId, (Arc<Delivery>, CancellationToken)>,
    ended: HashMap<RunId, (Instant, Outcome)>,
    order: VecDeque<RunId>,
}

impl Outcomes {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock_unpoisoned()
    }

    /// A run begins. Dropping the guard says that it has ended, however it did.
    pub fn begin(&self, run: RunId, delivery: Arc<Delivery>) -> Running<'_> {
        let ended = CancellationToken::new();
        self.lock().running.insert(run.clone(), (delivery, ended.clone()));
        Running { outcomes: self, run, ended }
    }

    /// When a run that has lost its delivery is under way: what tells that it has ended.
    pub fn orphan(&self, run: &RunId) -> Option<CancellationToken> {
        let tables = self.lock();
        let (delivery, ended) = tables.running.get(run)?;
        delivery.is_stale().then(|| ended.clone())
    }

    /// Keeps the outcome of a run that could not be settled, for the next delivery of its task.
    pub fn keep(&self, run: RunId, outcome: Outcome) {
        let mut tables = self.lock();
        if tables.ended.insert(run.clone(), (Instant::now(), outcome)).is_none() {
            tables.order.push_back(run);
        }
        while tables.order.len() > KEPT {
            if let Some(oldest) = tables.order.pop_front() {
                tables.ended.remove(&oldest);
            }
        }
    }

    /// The outcome kept for a task that was delivered again. It is given out once.
    pub fn take(&self, run: &RunId) -> Option<Outcome> {
        let mut tables = self.lock();
        let (since, outcome) = tables.ended.remove(run)?;
        tables.order.retain(|kept| kept != run);
        (since.elapsed() < EXPIRES).then_some(outcome)
    }

    /// A task is asked for anew under the same id: what came of it before is no answer.
    pub fn forget(&self, run: &RunId) {
        if !self.lock().ended.is_empty() {
            let _ = self.take(run);
        }
    }
}

pub(super) struct Running<'a> {
    outcomes: &'a Outcomes,
    run: RunId,
    ended: CancellationToken,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.ended.cancel();
        let mut tables = self.outcomes.lock();
        // A second run of the same task may have taken the place.
        if tables.running.get(&self.run).is_some_and(|(_, ended)| ended.is_cancelled()) {
            tables.running.remove(&self.run);
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
    fn an_outcome_is_given_out_once_and_not_for_a_task_that_is_asked_for_anew() {
        let outcomes = Outcomes::default();
        outcomes.keep(run(1), Outcome::Out);
        assert!(outcomes.take(&run(1)).is_some());
        assert!(outcomes.take(&run(1)).is_none());
        outcomes.keep(run(2), Outcome::Out);
        outcomes.forget(&run(2));
        assert!(outcomes.take(&run(2)).is_none());
        for id in 0..=KEPT {
            outcomes.keep(run(id), Outcome::Out);
        }
        assert!(outcomes.take(&run(0)).is_none(), "the oldest go first");
        assert!(outcomes.take(&run(KEPT)).is_some());
    }

    #[test]
    fn only_a_run_that_lost_its_delivery_is_waited_for() {
        let outcomes = Outcomes::default();
        let delivery = || Arc::new(Delivery::new(Default::default(), String::new(), "q".into(), false, 1, None));
        let running = outcomes.begin(run(1), delivery());
        assert!(outcomes.orphan(&run(1)).is_none(), "its delivery is alive: the other is a copy");
        drop(running);
        assert!(outcomes.lock().running.is_empty());
    }
}
