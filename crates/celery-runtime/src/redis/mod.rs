//! A Redis connection that repairs itself, for the broker and the result backend.
//!
//! One supervisor owns the connection for commands and opens a new one when it is lost. The commands of all users are pipelined
//! on it. A user that blocks or listens opens a connection of its own.

mod connection;
pub(crate) mod error;
mod listen;
mod transport;

pub(crate) use connection::{RedisConnection, RedisLink};
pub(crate) use error::{FailureKind, RequestError, classify, short_text};
pub(crate) use listen::silence;
pub(crate) use transport::{OpenedConnection, answer_timeout};
