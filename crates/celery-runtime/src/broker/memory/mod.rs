//! A broker inside this process, with the semantics the others have: what is unacknowledged is delivered again, prefetch,
//! mandatory, expiration, auto-deleted reply queues. Tests can make it crash, forget, fail and deliver twice.

mod connection;
mod consumer;
mod fault;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

pub use connection::MemoryConnection;
pub use fault::{Duplicates, FaultAction, FaultHook, Op, OpKind, Phase};

use self::state::State;

/// The in-process broker: queues outlive the connections made with [`connect`](Self::connect), as RabbitMQ's outlive a
/// worker. Clones are the same broker.
#[derive(Clone)]
pub struct MemoryBroker {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    state: Mutex<State>,
    stopped: watch::Sender<bool>,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in the state is left half-done by a panic: every change is a few infallible map operations.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(State { generation: 1, ..State::default() }),
                stopped: watch::Sender::new(false),
            }),
        }
    }

    /// A connection to this broker. One per process that a test pretends to have: [`crash`](Self::crash) ends those that
    /// exist for good, so that what is left of a stopped process cannot do anything any more.
    #[must_use]
    pub fn connect(&self) -> MemoryConnection {
        MemoryConnection::new(self.inner.clone())
    }

    /// Every connected process is gone: connections and consumers end for good, what was unacknowledged returns to its
    /// queue marked as redelivered, reply queues of the dead are deleted. Lifts a [`FaultAction::Stop`].
    pub fn crash(&self) {
        let mut state = self.inner.lock();
        state.generation += 1;
        state.stopped = false;
        for (_, connection) in state.connections.drain() {
            connection.state.send_modify(|state| state.down(Some("the connection was lost".to_owned())));
        }
        for (_, lost) in state.locks.drain() {
            lost.cancel();
        }
        let mut consumers: Vec<u64> = state.consumers.keys().copied().collect();
        consumers.sort_unstable();
        for consumer in consumers {
            state.remove_consumer(consumer);
        }
        state.wake_everyone();
        drop(state);
        self.inner.stopped.send_replace(false);
    }

    /// Every connection is cut and made again at once, as when the network failed for a moment: unacknowledged messages
    /// are delivered again, older deliveries are stale, consumers go on by themselves.
    pub fn cut_connections(&self) {
        let mut state = self.inner.lock();
        state.generation += 1;
        let generation = state.generation;
        for connection in state.connections.values_mut() {
            connection.generation = generation;
            connection.state.send_modify(|state| {
                state.down(Some("the connection was lost".to_owned()));
                state.up(generation);
            });
        }
        let mut returned = Vec::new();
        for consumer in state.consumers.values_mut() {
            consumer.generation = generation;
            returned.push((consumer.queue.clone(), std::mem::take(&mut consumer.unacked)));
        }
        for (queue, unacked) in returned {
            state.requeue(&queue, unacked);
        }
        state.wake_everyone();
    }

    /// A [`crash`](Self::crash) that also loses every queue and message, as when an embedded broker goes with its process.
    pub fn lose_everything(&self) {
        self.crash();
        let mut state = self.inner.lock();
        state.queues.clear();
        state.bindings.clear();
        state.kinds.clear();
    }

    /// Installs (or removes) the hook called at every publish, acknowledgement and rejection, before and after its effect.
    pub fn set_fault_hook(&self, hook: Option<FaultHook>) {
        self.inner.lock().hook = hook;
    }

    /// With `true`, every task message is delivered a second time right behind the first.
    pub fn deliver_twice(&self, twice: bool) {
        self.set_duplicates(if twice { Duplicates::Together } else { Duplicates::Off });
    }

    /// Chooses how task messages are delivered twice.
    pub fn set_duplicates(&self, duplicates: Duplicates) {
        self.inner.lock().duplicates = duplicates;
    }

    /// Whether a [`FaultAction::Stop`] is in force.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.inner.lock().stopped
    }

    /// Waits until a [`FaultAction::Stop`] is in force.
    pub async fn stopped(&self) {
        // The sender lives as long as self.
        let _ = self.inner.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Messages ready in a queue, unacknowledged ones excluded; `None` if there is no such queue.
    #[must_use]
    pub fn queue_len(&self, queue: &str) -> Option<usize> {
        self.inner.lock().queues.get(queue).map(|queue| queue.ready.len())
    }

    /// Messages of a queue that were delivered and not settled yet.
    #[must_use]
    pub fn unacked_len(&self, queue: &str) -> usize {
        self.inner
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
