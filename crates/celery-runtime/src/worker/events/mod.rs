//! Events for monitors: the worker's own and those of its tasks.
//!
//! Work never waits for them: a task's events go into a bounded queue, one tokio task sends them in batches without a
//! confirm from the broker, and events that do not fit are dropped, as are all events while the broker is away.

mod mode;
mod queue;
mod send;

pub use mode::WorkerEvents;
pub(super) use {queue::EventQueue, send::run};
