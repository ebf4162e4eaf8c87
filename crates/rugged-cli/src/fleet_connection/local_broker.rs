//! The broker inside a process, and the socket through which other processes reach it.

use std::path::PathBuf;

use celery_runtime::broker::{BrokerUrl, parse_list};
use fleet::Config;

use crate::error::CliError;

/// The socket through which other processes reach a fleet on `memory://`.
#[must_use]
pub fn fleet_socket_path(config: &Config) -> PathBuf {
    config.state_path.join("broker.sock")
}

/// Whether the configured broker is the one inside a process (`memory://`).
///
/// # Errors
/// When `broker_url` is malformed.
pub fn uses_memory_broker(config: &Config) -> Result<bool, CliError> {
    let urls = parse_list(&config.process.broker.url).map_err(|error| {
        CliError::invalid_input(error)
            .during("invalid broker_url")
            .hint("set it to a URL such as amqp://user@host:5672/vhost, or to memory://")
    })?;
    Ok(matches!(urls.as_slice(), [BrokerUrl::Memory]))
}
