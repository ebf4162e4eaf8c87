//! How a worker can fail as a whole.

use std::net::SocketAddr;

use crate::config::ConfigError;
use crate::exit_code;

/// Why a worker ended other than by being asked to. Carries no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The worker refuses to start or to go on for the sake of keys or repository; an administrator has to act.
    #[error("{0}")]
    Refused(String),
    /// Something the worker stands on failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path or address.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The health address cannot be listened on.
    #[error("cannot listen on {address} for health checks (health_address): {source}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// `broker_url` is not understood; an unreachable broker is waited for instead.
    #[error("broker_url: {0}")]
    BrokerUrl(String),
    /// The broker or the queue cannot be used at all.
    #[error("broker: {0}")]
    Broker(String),
    /// A part of the worker ended that never should: a bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl FleetError {
    /// The exit code that says this (see [`exit_code`]).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::BrokerUrl(_) => exit_code::USAGE,
            Self::Refused(_) => exit_code::REFUSED,
            Self::Io { .. } | Self::Listen { .. } | Self::Broker(_) => exit_code::INFRASTRUCTURE,
            Self::Internal(_) => exit_code::FAILURE,
        }
    }
}
