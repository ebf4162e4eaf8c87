//! The names of the workers, which are the names of their queues.

use fleet::contract::{MONITOR_QUEUE, SNAPSHOT_QUEUE, TARGETS_QUEUE, TIMESTAMP_QUEUE};

/// Every worker with a queue, in the order of the chain.
pub const WORKER_NAMES: [&str; 4] = [MONITOR_QUEUE, TARGETS_QUEUE, SNAPSHOT_QUEUE, TIMESTAMP_QUEUE];
