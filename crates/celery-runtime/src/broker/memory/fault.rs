//! Faults that tests inject into the in-process broker.

use std::sync::Arc;

/// An operation of the broker, before or after its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// The kind of operation.
    pub kind: OpKind,
    /// Before or after its effect.
    pub phase: Phase,
    /// The exchange of the message; empty is the default exchange.
    pub exchange: String,
    /// The routing key of the message.
    pub routing_key: String,
    /// The task's name, if the message is a task.
    pub task: Option<String>,
}

/// The operations that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// A publish, whatever its guarantee.
    Publish,
    /// An acknowledgement.
    Ack,
    /// A rejection, requeueing or not.
    Reject,
}

/// Whether a fault comes before or after the effect. An error after the effect stands for a lost reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The operation has had no effect yet.
    Before,
    /// The operation has had its effect; the caller does not know it yet.
    After,
}

/// A hook's decision on an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultAction {
    /// Continue.
    Continue,
    /// Fail this call as if the connection had been lost.
    Error,
    /// Stop the broker: this call and every later one fails and consumers receive nothing, until
    /// [`MemoryBroker::crash`](super::MemoryBroker::crash).
    Stop,
}

/// Called at every publish, acknowledgement and rejection, before and after its effect. Not called for broadcasts (remote
/// control, events), because no work depends on them. Must not call the broker.
pub type FaultHook = Arc<dyn Fn(Op) -> FaultAction + Send + Sync>;

/// Whether and when tasks are delivered a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Duplicates {
    /// Tasks are delivered once.
    #[default]
    Off,
    /// A second copy follows right behind the first, so that both may be running at a time.
    Together,
    /// A second copy is queued when the first is acknowledged, as when the acknowledgement got lost.
    AfterAck,
}
