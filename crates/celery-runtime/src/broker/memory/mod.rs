//! A broker inside this process.
//!
//! It behaves as the others do: unacknowledged messages are delivered again, and prefetch, mandatory, expiration and auto-deleted
//! reply queues work. Tests can make it crash, forget, fail and deliver twice.

mod connection;
mod consumer;
mod core;
mod fault;
mod memory_broker;
mod state;

pub use connection::MemoryConnection;
pub use fault::{Duplicates, FaultAction, FaultHook, Op, OpKind, Phase};
pub use memory_broker::MemoryBroker;
