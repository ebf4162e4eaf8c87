//! The failures of a process.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use celery_runtime::broker::ConnectError;

use crate::exit_code::WorkerExit;

/// A failure of the process around a worker. Carries no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// An action of the process failed.
    #[error("{action}: {source}")]
    Io {
        /// The action, with its path or address.
        action: String,
        /// The system's error.
        source: io::Error,
    },
    /// The health address cannot be listened on.
    #[error("cannot listen on {address} for health checks (health_address): {source}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// `broker_url` is not understood; for an unreachable broker the worker waits instead.
    #[error("broker_url: {0}")]
    BrokerUrl(#[source] ConnectError),
    /// The broker cannot be used at all.
    #[error("broker: {0}")]
    Broker(#[source] ConnectError),
    /// `sandbox` is `required`, and this kernel cannot enforce all of it.
    #[error("`sandbox` is required: {0}")]
    Sandbox(#[source] SandboxGap),
    /// A directory that the sandbox admits was replaced under the running worker.
    #[error("{} was mounted or created again, but the sandbox admits only the previous one: restart the worker", .0.display())]
    PlaceReplaced(PathBuf),
}

/// What keeps a sandbox from being complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxGap {
    /// Landlock refused the rules.
    #[error("Landlock failed: {0}")]
    Rules(#[from] landlock::RulesetError),
    /// Set-uid programs could still give privileges.
    #[error("`no_new_privs` could not be set")]
    NewPrivileges,
    /// The kernel enforces a part of the rules.
    #[error("this kernel's Landlock is too old to enforce all rules (Linux 6.12 can)")]
    OldKernel,
    /// The kernel enforces none of the rules.
    #[error("this kernel has no Landlock, or it is not enabled (`lsm=`)")]
    NoLandlock,
}

impl ProcessError {
    /// The exit code for this failure.
    #[must_use]
    pub fn exit_code(&self) -> WorkerExit {
        match self {
            Self::BrokerUrl(_) => WorkerExit::InvalidInput,
            Self::Sandbox(_) => WorkerExit::Refused,
            Self::Io { .. } | Self::Listen { .. } | Self::Broker(_) | Self::PlaceReplaced(_) => {
                WorkerExit::Infrastructure
            }
        }
    }
}
