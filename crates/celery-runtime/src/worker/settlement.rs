//! How a delivery is settled.

use super::outcome::{FinalOutcome, Outcome};
use crate::TaskError;

/// The way to settle the delivery of a task.
pub(super) enum Settlement {
    /// Report the outcome, then acknowledge, or reject if the outcome says so.
    Report(Outcome),
    /// Acknowledge: the task was published again for later.
    AckRepublished,
    /// Reject without a result, as the handler asked.
    Reject {
        /// The handler's error.
        reason: Box<TaskError>,
        /// Whether the message goes back to its queue.
        requeue: bool,
    },
    /// Leave it unsettled: the broker delivers it again once the channel closes.
    Leave,
}

impl From<FinalOutcome> for Settlement {
    fn from(outcome: FinalOutcome) -> Self {
        Self::Report(Outcome::Final(Box::new(outcome)))
    }
}
