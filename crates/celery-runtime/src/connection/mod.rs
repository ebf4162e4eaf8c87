//! Connections to servers that repair themselves: one supervisor for every kind of server.
//!
//! A [`SupervisedConnection`] holds the state that all users see. [`supervise`] opens the connection, uses it until it is
//! lost, waits and opens the next. The two kinds (RabbitMQ and Redis) differ in their [`Transport`].

mod backoff;
mod error;
mod options;
mod servers;
mod state;
mod supervised;
mod supervisor;

pub use options::ConnectOptions;
pub use servers::Servers;
pub use state::ConnectionState;

pub(crate) use backoff::Backoff;
pub(crate) use error::ConnectionError;
pub(crate) use supervised::{LiveLink, SupervisedConnection};
pub(crate) use supervisor::{ConnectionLoss, Transport, supervise};
