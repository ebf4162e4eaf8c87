//! How a command reaches the fleet: over the configured broker, through the socket of a `rugged up` on this machine, or by
//! hosting the workers that it needs for as long as it runs.

mod call_error;
mod connection;
mod embedded;
mod hosted_worker;
mod local_broker;

pub use call_error::explain_call_error;
pub use connection::FleetConnection;
pub use embedded::EmbeddedFleet;
pub use local_broker::{fleet_socket_path, uses_memory_broker};
