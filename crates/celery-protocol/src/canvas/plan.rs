//! The messages of a workflow.

use crate::routing::RouteWish;
use crate::task::TaskRequest;

/// A message to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The task.
    pub task: TaskRequest,
    /// The queue, exchange or routing key that the sender chose.
    pub route: RouteWish,
    /// The requested compression, by Celery's name.
    pub compression: Option<String>,
}

/// All messages that a workflow sends now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The chords to announce before any task is sent: group and number of members.
    pub chords: Vec<(String, u64)>,
    /// The tasks to send, in this order.
    pub tasks: Vec<Outgoing>,
}
