//! Where tests can make the in-process broker fail.

use std::sync::Arc;

/// What is about to happen, or has just happened, at the broker.
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

/// The operations a fault can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// A publish, whatever its guarantee.
    Publish,
    /// An acknowledgement.
    Ack,
    /// A rejection, requeueing or not.
    Reject,
}

/// Which side of the effect a fault is on. An error after the effect is the reply that got lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing has happened yet.
    Before,
    /// It has happened; the caller does not know yet.
    After,
}

/// What the hook wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultAction {
    /// Go on.
    Continue,
    /// This call fails as if the connection had been lost.
    Error,
    /// The machine stops here: this call and every later one fails and consumers receive nothing, until
    /// [`MemoryBroker::crash`](super::MemoryBroker::crash).
    Stop,
}

/// Called at every publish, acknowledgement and rejection, before and after its effect; broadcasts (remote control, events)
/// excepted, on which nothing depends. Must not call the broker.
pub type FaultHook = Arc<dyn Fn(Op) -> FaultAction + Send + Sync>;

/// Whether tasks are delivered once more than they were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Duplicates {
    /// Once.
    #[default]
    Off,
    /// A second copy follows right behind the first, so that both may be running at a time.
    Together,
    /// A second copy is queued when the first is acknowledged, as when the acknowledgement got lost.
    AfterAck,
}
