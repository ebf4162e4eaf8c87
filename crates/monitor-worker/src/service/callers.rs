//! Callers of `find-new-targets`, which wait for a cycle that begins after their call.

use std::sync::{Arc, Mutex};

use fleet::contract::FindNewTargets;
use service::sync::lock;
use tokio::sync::oneshot;

use crate::cycle::{CycleError, CycleReport};

/// Callers that may wait for a cycle at the same time; further ones are refused, so that `ping` and `status` never queue
/// behind them.
const MAX_CALLERS: usize = 16;

/// The answer that a caller gets.
type CycleAnswer = Result<FindNewTargets, Arc<CycleError>>;

/// Too many callers wait already.
#[derive(Debug)]
pub(super) struct TooManyCallers;

/// Callers that wait for the next cycle.
#[derive(Debug, Default)]
pub(super) struct WaitingCallers(Mutex<Vec<oneshot::Sender<CycleAnswer>>>);

impl WaitingCallers {
    /// Adds a caller. Its receiver fails if the worker stops before the cycle ends.
    pub(super) fn add(&self) -> Result<oneshot::Receiver<CycleAnswer>, TooManyCallers> {
        let (sender, receiver) = oneshot::channel();
        let mut callers = lock(&self.0);
        callers.retain(|caller| !caller.is_closed());
        if callers.len() >= MAX_CALLERS {
            return Err(TooManyCallers);
        }
        callers.push(sender);
        Ok(receiver)
    }

    /// Takes the callers that a cycle which begins now is to answer.
    pub(super) fn take(&self) -> CallersOfCycle {
        CallersOfCycle(std::mem::take(&mut *lock(&self.0)))
    }
}

/// The callers that one cycle answers.
#[derive(Debug)]
pub(super) struct CallersOfCycle(Vec<oneshot::Sender<CycleAnswer>>);

impl CallersOfCycle {
    /// Answers them.
    pub(super) fn answer(self, result: &Result<CycleReport, Arc<CycleError>>) {
        for caller in self.0 {
            let answer = match result {
                Ok(report) => Ok(FindNewTargets {
                    taken: report.taken,
                    published: report.published,
                    rejected: report.rejected,
                    waiting: report.waiting,
                }),
                Err(error) => Err(error.clone()),
            };
            // A caller that has gone needs no answer.
            let _ = caller.send(answer);
        }
    }
}
