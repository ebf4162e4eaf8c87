//! How long a task may run, and how a worker ends.

use std::time::Duration;

/// How long a task may run. Both limits are cooperative: see [`TaskContext::cancelled`](crate::worker::TaskContext::cancelled).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeLimits {
    /// After this the task is dropped at its next await and has failed.
    pub hard: Option<Duration>,
    /// After this the task is asked to stop.
    pub soft: Option<Duration>,
}

/// How a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Takes nothing more and finishes running tasks, within the grace period.
    Warm,
    /// Stops running tasks at their next await. They are redelivered, to this worker or another.
    Cold,
}
