//! The broker `memory://`.

use std::{fmt, sync::Arc};

use super::{
    connection::MemoryConnection,
    core::MemoryBrokerCore,
    fault::{Duplicates, FaultHook},
};

/// The in-process broker.
///
/// Its queues outlive the connections made with [`connect`](Self::connect), as RabbitMQ's outlive a worker. Clones are the same
/// broker.
#[derive(Clone)]
pub struct MemoryBroker {
    core: Arc<MemoryBrokerCore>,
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBroker {
    /// An empty broker.
    #[must_use]
    pub fn new() -> Self {
        Self { core: Arc::new(MemoryBrokerCore::new()) }
    }

    /// A connection to this broker.
    ///
    /// Tests open one for each process they simulate: [`crash`](Self::crash) ends the existing ones for good, so that the
    /// remaining tasks of a stopped process have no effect.
    #[must_use]
    pub fn connect(&self) -> MemoryConnection {
        MemoryConnection::new(self.core.clone())
    }

    /// Simulates the end of every connected process. Connections and consumers end for good, unacknowledged messages return to
    /// their queues marked as redelivered, and their reply queues are deleted. Lifts a
    /// [`FaultAction::Stop`](super::FaultAction::Stop).
    pub fn crash(&self) {
        let mut queues = self.core.lock();
        queues.generation += 1;
        queues.stopped = false;
        for (_, connection) in queues.connections.drain() {
            connection.state.send_modify(|state| state.down(Some("the connection was lost".to_owned())));
        }
        for (_, lost) in queues.locks.drain() {
            lost.cancel();
        }
        let mut consumers: Vec<u64> = queues.consumers.keys().copied().collect();
        consumers.sort_unstable();
        for consumer in consumers {
            queues.remove_consumer(consumer);
        }
        queues.wake_everyone();
        drop(queues);
        self.core.stopped.send_replace(false);
    }

    /// Cuts every connection and opens it again immediately, as when the network fails for a moment. Unacknowledged messages are
    /// delivered again, older deliveries are stale, consumers continue.
    pub fn cut_connections(&self) {
        let mut queues = self.core.lock();
        queues.generation += 1;
        let generation = queues.generation;
        for connection in queues.connections.values_mut() {
            connection.generation = generation;
            connection.state.send_modify(|state| {
                state.down(Some("the connection was lost".to_owned()));
                state.up(generation);
            });
        }
        let mut returned = Vec::new();
        for consumer in queues.consumers.values_mut() {
            consumer.generation = generation;
            returned.push((consumer.queue.clone(), std::mem::take(&mut consumer.unacked)));
        }
        for (queue, unacked) in returned {
            queues.requeue(&queue, unacked);
        }
        queues.wake_everyone();
    }

    /// A [`crash`](Self::crash) that also loses every queue and message, as when an embedded broker ends with its process.
    pub fn lose_everything(&self) {
        self.crash();
        let mut queues = self.core.lock();
        queues.queues.clear();
        queues.bindings.clear();
        queues.kinds.clear();
    }

    /// Installs or removes the hook that is called at every publish, acknowledgement and rejection, before and after its effect.
    pub fn set_fault_hook(&self, hook: Option<FaultHook>) {
        self.core.lock().hook = hook;
    }

    /// With `true`, every task message is delivered a second time right after the first.
    pub fn deliver_twice(&self, twice: bool) {
        self.set_duplicates(if twice { Duplicates::Together } else { Duplicates::Off });
    }

    /// Chooses how task messages are delivered twice.
    pub fn set_duplicates(&self, duplicates: Duplicates) {
        self.core.lock().duplicates = duplicates;
    }

    /// Whether a [`FaultAction::Stop`](super::FaultAction::Stop) is in force.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.core.lock().stopped
    }

    /// Waits until a [`FaultAction::Stop`](super::FaultAction::Stop) is in force.
    pub async fn stopped(&self) {
        // Cannot fail: the sender lives as long as self.
        let _ = self.core.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// The number of messages ready in a queue, without unacknowledged ones; `None` if the queue does not exist.
    #[must_use]
    pub fn queue_len(&self, queue: &str) -> Option<usize> {
        self.core.lock().queues.get(queue).map(|queue| queue.ready.len())
    }

    /// The number of messages of a queue that were delivered and not settled.
    #[must_use]
    pub fn unacked_len(&self, queue: &str) -> usize {
        self.core
            .lock()
            .consumers
            .values()
            .filter(|consumer| consumer.queue == queue)
            .map(|consumer| consumer.unacked.len())
            .sum()
    }
}

impl fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBroker").finish_non_exhaustive()
    }
}
