//! The failures of a worker as a whole.

use std::path::PathBuf;

use celery_runtime::broker::BrokerError;
use celery_runtime::worker::{BuildError, WorkerError};
use service::ProcessError;
use service::config::ConfigError;
use service::exit_code::WorkerExit;
use tokio::task::JoinError;

use crate::preflight::PreflightFinding;
use crate::roles::WorkerRole;

/// Why a worker ended without being asked to. Carries no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The process around the worker failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A check before the start found a danger to keys; an administrator has to act.
    #[error("{0}")]
    Preflight(Box<PreflightFinding>),
    /// The worker can open a key of another role; an administrator has to act.
    #[error(
        "the {own}-worker can open the key {}, and a worker may reach only the keys of its own role: unmount {}",
        key.display(),
        directory.display()
    )]
    ForeignKey {
        /// The worker's role.
        own: WorkerRole,
        /// The key.
        key: PathBuf,
        /// The directory it is in.
        directory: PathBuf,
    },
    /// The keys' directory cannot be listed, though it exists and is open to this process.
    #[error("cannot list {}: {source}", path.display())]
    KeyDirectory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The broker refuses a client.
    #[error("broker: {0}")]
    Broker(#[from] BrokerError),
    /// The broker refuses the worker's queue.
    #[error("broker: {queue} cannot be served: {source}")]
    Queue {
        /// The queue.
        queue: &'static str,
        /// The broker's reason.
        source: WorkerError,
    },
    /// The worker stopped serving its queue: a bug.
    #[error("internal error: {queue} is no longer served")]
    ServingEnded {
        /// The queue.
        queue: &'static str,
    },
    /// A loop of the worker ended: a bug.
    #[error("internal error: the {name} loop ended: {source}")]
    LoopEnded {
        /// The loop.
        name: &'static str,
        /// The panic.
        source: JoinError,
    },
    /// The worker's tasks contradict each other: a bug.
    #[error("internal error: {0}")]
    Tasks(#[from] BuildError),
}

impl FleetError {
    /// The exit code for this failure.
    #[must_use]
    pub fn exit_code(&self) -> WorkerExit {
        match self {
            Self::Config(_) => WorkerExit::InvalidInput,
            Self::Process(error) => error.exit_code(),
            Self::Preflight(_) | Self::ForeignKey { .. } => WorkerExit::Refused,
            Self::KeyDirectory { .. } | Self::Broker(_) | Self::Queue { .. } => WorkerExit::Infrastructure,
            Self::ServingEnded { .. } | Self::LoopEnded { .. } | Self::Tasks(_) => WorkerExit::Failure,
        }
    }
}
