//! The part of the in-process broker that its connections and consumers share.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use super::{
    fault::{FaultAction, Op},
    state::MemoryQueues,
};
use crate::sync::lock;

/// Queues and deliveries under a lock, and whether the broker is stopped.
pub(super) struct MemoryBrokerCore {
    queues: Mutex<MemoryQueues>,
    pub stopped: watch::Sender<bool>,
}

/// The failure that a test has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InjectedFault {
    #[error("the connection was lost")]
    ConnectionLost,
    #[error("the broker was stopped")]
    BrokerStopped,
}

impl MemoryBrokerCore {
    pub fn new() -> Self {
        let queues = Mutex::new(MemoryQueues { generation: 1, ..MemoryQueues::default() });
        Self { queues, stopped: watch::Sender::new(false) }
    }

    pub fn lock(&self) -> MutexGuard<'_, MemoryQueues> {
        lock(&self.queues)
    }

    /// Calls the hook of a test, and stops the broker if the hook says so.
    pub fn call_fault_hook(&self, queues: &mut MemoryQueues, op: Op) -> Result<(), InjectedFault> {
        match queues.hook.as_ref().map_or(FaultAction::Continue, |hook| hook(op)) {
            FaultAction::Continue => Ok(()),
            FaultAction::Error => Err(InjectedFault::ConnectionLost),
            FaultAction::Stop => {
                queues.stopped = true;
                self.stopped.send_replace(true);
                Err(InjectedFault::BrokerStopped)
            }
        }
    }
}
