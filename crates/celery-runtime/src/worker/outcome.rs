//! The outcome of a task, before it is reported.

use celery_protocol::{ResultMeta, TaskRequest, canvas::Plan};

use super::registry::TaskEventKind;

/// The outcome of a run. Reporting it twice does no more than reporting it once.
#[derive(Clone)]
pub(super) enum Outcome {
    /// The task is over.
    Final(Box<FinalOutcome>),
    /// The task is retried.
    Retry(Box<NextTry>),
    /// Nothing remains to be reported; the acknowledgement is missing.
    AckOnly,
}

/// The end of a task: its result and the tasks that follow.
#[derive(Clone)]
pub(super) struct FinalOutcome {
    pub meta: ResultMeta,
    /// Sent before the result is stored: the tasks that follow success.
    pub before: Plan,
    /// Sent after the result is stored: the tasks that follow failure.
    pub after: Plan,
    /// Whether the message is rejected instead of acknowledged.
    pub refused: bool,
    pub event: Option<TaskEventKind>,
}

/// Another try of a task.
#[derive(Clone)]
pub(super) struct NextTry {
    /// The task to publish.
    pub request: TaskRequest,
    pub meta: ResultMeta,
    /// The outcome if the next try cannot be sent.
    pub fallback: FinalOutcome,
    pub event: TaskEventKind,
}

impl Outcome {
    /// The part of it that a second report repeats: the result, without the tasks that follow and without the event.
    pub fn reported(self) -> Self {
        match self {
            Self::Final(outcome) => {
                let (before, after) = (Plan::default(), Plan::default());
                Self::Final(Box::new(FinalOutcome { before, after, event: None, ..*outcome }))
            }
            Self::Retry(_) | Self::AckOnly => Self::AckOnly,
        }
    }
}
