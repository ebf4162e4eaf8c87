//! The addresses and the administrator of a broker.

use std::path::Path;

use serde::Deserialize;

use crate::servers::supervisor::Supervisor;

#[derive(Clone, Deserialize)]
pub(super) struct Endpoint {
    pub(super) amqp: String,
    pub(super) management: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) amqps_port: Option<u16>,
}

/// Starts a broker in `dir`.
#[track_caller]
pub(super) fn spawn(dir: &Path, options: &[&str], lease: Option<&Path>) -> (Supervisor, Endpoint) {
    let (supervisor, answer) = Supervisor::spawn("private-rabbitmq.py", dir, options, lease);
    match serde_json::from_value(answer.clone()) {
        Ok(endpoint) => (supervisor, endpoint),
        Err(_) => panic!("cannot start a private RabbitMQ: {answer}"),
    }
}
