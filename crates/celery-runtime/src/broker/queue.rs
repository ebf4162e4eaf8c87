//! Task queues.

/// A task queue as Celery declares it.
///
/// A durable queue without arguments, bound to a durable direct exchange of its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskQueue {
    /// The queue's name, which is also its exchange and its routing key.
    pub name: String,
    /// Further durable direct exchanges to bind it to, with the queue's name as routing key. An exchange that cannot be
    /// declared or bound (no permission) is logged and left out; the queue is still consumed.
    pub exchanges: Vec<String>,
}

impl TaskQueue {
    /// A queue bound only to the exchange of its own name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), exchanges: Vec::new() }
    }

    /// Binds the queue to one more exchange.
    #[must_use]
    pub fn also_bound_to(mut self, exchange: impl Into<String>) -> Self {
        self.exchanges.push(exchange.into());
        self
    }
}

impl From<&str> for TaskQueue {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}
