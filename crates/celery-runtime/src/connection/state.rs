//! The state of a connection, as a program can watch it.

use jiff::Timestamp;

use crate::clock;

/// The state of a broker connection, as published by [`Broker::connection_state`](crate::broker::Broker::connection_state).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionState {
    /// Whether there is a usable connection now.
    pub connected: bool,
    /// When `connected` last changed.
    pub since: Timestamp,
    /// The number of connections so far; 0 before the first.
    pub generation: u64,
    /// The last connection error, without credentials. Stays while connected, as the reason of the last outage.
    pub last_error: Option<String>,
}

impl ConnectionState {
    pub(crate) fn connected() -> Self {
        Self { connected: true, since: clock::now(), generation: 1, last_error: None }
    }

    pub(crate) fn connecting() -> Self {
        Self { connected: false, since: clock::now(), generation: 0, last_error: None }
    }

    pub(crate) fn up(&mut self, generation: u64) {
        self.generation = generation;
        if !self.connected {
            self.connected = true;
            self.since = clock::now();
        }
    }

    pub(crate) fn down(&mut self, error: Option<String>) {
        if error.is_some() {
            self.last_error = error;
        }
        if self.connected {
            self.connected = false;
            self.since = clock::now();
        }
    }
}
