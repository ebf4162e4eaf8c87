//! The bounds of a server.

use std::time::Duration;

/// The bounds of a server. Each is there for a client that does nothing, or as little as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time. A further one takes the place of the connection that has been without a request for the longest
    /// time, or waits until one ends when all have a request. Each takes a descriptor, and another while it sends a file.
    pub connections: usize,
    /// The longest wait for a whole request head: on a new connection, and between two requests of a kept one.
    pub head: Duration,
    /// The longest wait for a client that takes nothing of its answer.
    pub stalled_write: Duration,
    /// The longest life of a connection, whatever happens on it.
    pub connection: Duration,
}
