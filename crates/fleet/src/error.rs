//! How a worker can fail as a whole.

use std::path::PathBuf;

use service::ProcessError;
use service::config::ConfigError;
use service::exit_code::WorkerExit;

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
    /// The process around the worker failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The keys' directory cannot be listed, though it exists and is open to this process.
    #[error("listing {}: {source}", path.display())]
    KeyDirectory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The broker or the queue cannot be used at all.
    #[error("broker: {0}")]
    Broker(String),
    /// A part of the worker ended that never should: a bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl FleetError {
    /// The exit code for this failure.
    #[must_use]
    pub fn exit(&self) -> WorkerExit {
        match self {
            Self::Config(_) => WorkerExit::InvalidInput,
            Self::Refused(_) => WorkerExit::Refused,
            Self::Process(error) => error.exit(),
            Self::KeyDirectory { .. } | Self::Broker(_) => WorkerExit::Infrastructure,
            Self::Internal(_) => WorkerExit::Failure,
        }
    }
}
