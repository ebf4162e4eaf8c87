//! The tasks, queues and limits of a worker: shared by its main loop and everything that watches or steers it from outside
//! (remote control, events, metrics).
//!
//! Every call returns immediately; locks are held for a few map operations. Changes are wishes: the main loop compares all of
//! them with its state after each change, so none is missed.

mod event_listener;
mod events;
mod limits;
mod rate;
mod revoked;
mod tracked;
mod worker_registry;

pub use events::{TaskEvent, TaskEventKind, TaskEvents};
pub use limits::{Shutdown, TimeLimits};
pub use rate::{TaskRate, TaskRateError};
pub use tracked::{StopCause, TaskStage, TrackedTask};
pub use worker_registry::WorkerRegistry;
pub(super) use {rate::TokenBucket, tracked::TaskTracker};
