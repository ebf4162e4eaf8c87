//! The options of a registered task.

use super::{
    registry::{TaskRate, TimeLimits},
    retry::RetryPolicy,
};

/// Options of one task; see [`WorkerBuilder::task_with`](super::WorkerBuilder::task_with). The defaults are Celery's,
/// except that a task is always acknowledged last.
#[derive(Debug, Clone, Default)]
pub struct TaskOptions {
    pub(super) lane: Option<String>,
    pub(super) retry: RetryPolicy,
    pub(super) limits: TimeLimits,
    pub(super) rate: Option<TaskRate>,
    pub(super) ignore_result: bool,
    pub(super) track_started: Option<bool>,
}

impl TaskOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tasks of the same lane run one at a time, in the order they were delivered.
    #[must_use]
    pub fn lane(mut self, lane: impl Into<String>) -> Self {
        self.lane = Some(lane.into());
        self
    }

    /// When and how often it is retried.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How long it may run when its message sets no limits.
    #[must_use]
    pub fn time_limits(mut self, limits: TimeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How often it may start in this worker.
    #[must_use]
    pub fn rate_limit(mut self, limit: TaskRate) -> Self {
        self.rate = Some(limit);
        self
    }

    /// Its result is not stored unless the caller asks for it.
    #[must_use]
    pub fn ignore_result(mut self) -> Self {
        self.ignore_result = true;
        self
    }

    /// Whether STARTED is reported when it starts; overrides the worker's setting.
    #[must_use]
    pub fn track_started(mut self, track: bool) -> Self {
        self.track_started = Some(track);
        self
    }
}
