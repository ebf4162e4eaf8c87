//! `healthcheck`: asks the running worker for its health.

use std::io::{self, Write as _};
use std::net::SocketAddr;

use super::complain::complain;
use crate::exit_code::WorkerExit;
use crate::health::probe;

/// Asks `path` of the worker that serves health on `address`, and prints the answer.
pub(super) fn healthcheck(address: Option<SocketAddr>, path: &str) -> WorkerExit {
    let Some(address) = address.filter(|address| address.port() != 0) else {
        complain("health_address is not configured, or leaves the port to the system: there is no address to ask");
        return WorkerExit::InvalidInput;
    };
    match probe(address, path) {
        Ok(answer) => {
            // Standard output may be closed; the exit code says the same.
            let _ = io::stdout().write_all(answer.body.as_bytes());
            if answer.is_ok() { WorkerExit::Success } else { WorkerExit::Unhealthy }
        }
        Err(error) => {
            complain(&format!("no answer from {address}: {error}"));
            WorkerExit::Unhealthy
        }
    }
}
