//! Why a signing worker did not do its work.

use std::io;
use std::path::PathBuf;

use celery_runtime::TaskError;
use tuf_core::names::NameError;
use tuf_repository::floor::FloorError;
use tuf_repository::roles::{RoleError, RoleErrorKind};

use crate::exceptions;
use crate::key_files::KeysError;
use crate::roles::WorkerRole;

/// The reaction to a [`SigningError`]: it decides the exception, the worker's health and the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningErrorKind {
    /// Something that is not wrong is not there yet: no root, no record. Tried again with a growing pause.
    Waiting,
    /// Below the floor, a clock that went back, a bad signature: the role signs nothing until an operator acts. Tried
    /// again every `reconcile_period`.
    Alarm,
    /// Space, mount, lock or key device. Tried again with a growing pause.
    Infrastructure,
    /// The caller's fault. It says nothing about the role.
    Refused,
    /// A panic, contained. The role is opened again.
    Internal,
}

impl From<RoleErrorKind> for SigningErrorKind {
    fn from(kind: RoleErrorKind) -> Self {
        match kind {
            RoleErrorKind::Waiting => Self::Waiting,
            RoleErrorKind::Alarm => Self::Alarm,
            RoleErrorKind::Infrastructure => Self::Infrastructure,
            RoleErrorKind::Refused => Self::Refused,
        }
    }
}

/// Why a signing worker did not do its work. Operators and callers see the text: it holds no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The role did not sign.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The role's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The repository is not initialized, or the mount of the pinned root is missing.
    #[error("no pinned root at {} (trusted_root): run `rugged initialize`", path.display())]
    PinnedRootMissing {
        /// `trusted_root`.
        path: PathBuf,
    },
    /// The pinned root cannot be read.
    #[error("cannot read the pinned root (trusted_root): {source}")]
    PinnedRootUnreadable {
        /// The reason, with the path.
        source: io::Error,
    },
    /// The directory of all private state is missing.
    #[error("state_path {}: {source}: mount or create it", path.display())]
    StatePathMissing {
        /// `state_path`.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The private directory of the role cannot be made.
    #[error("cannot create the state directory of the role: {source}")]
    StateDir {
        /// The reason, with the path.
        source: io::Error,
    },
    /// The marks of retention are there and cannot be read.
    #[error("cannot read the retention marks: {source}")]
    RetentionMarks {
        /// The reason, with the path.
        source: io::Error,
    },
    /// This machine's clock and the clock of the shared mount differ by more than `max_clock_skew`.
    #[error(
        "the clock of this machine is {apart} s {} that of {} (max_clock_skew is {limit} s)",
        if *ahead { "ahead of" } else { "behind" },
        mount.display()
    )]
    ClockSkew {
        /// Difference in seconds.
        apart: i64,
        /// Whether this machine's clock is the later one.
        ahead: bool,
        /// A directory on the mount.
        mount: PathBuf,
        /// `max_clock_skew` in seconds.
        limit: i64,
    },
    /// A floor was raised between the inspection and the grant.
    #[error("the floor of {role} has changed since it was inspected: run the command again")]
    FloorChanged {
        /// The role.
        role: WorkerRole,
    },
    /// The name of a role is not valid.
    #[error(transparent)]
    RoleName(#[from] NameError),
    /// The worker's own work failed, such as reading an inbound file.
    #[error("{source}")]
    Worker {
        /// The reaction to it.
        kind: SigningErrorKind,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The caller's fault, as the exception that the caller sees.
    #[error(transparent)]
    Refused(TaskError),
    /// The role's code panicked.
    #[error("{task} panicked: {message}")]
    Panicked {
        /// The piece of work.
        task: &'static str,
        /// The panic's message, cut to 200 characters.
        message: String,
    },
    /// The thread of a piece of work ended without an outcome.
    #[error("{task} was cut short: {source}")]
    Aborted {
        /// The piece of work.
        task: &'static str,
        /// The reason.
        source: tokio::task::JoinError,
    },
}

impl SigningError {
    /// A failure of the worker's own that waits for something that is not there yet.
    pub fn waiting(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Worker { kind: SigningErrorKind::Waiting, source: source.into() }
    }

    /// A failure of the worker's own that an operator must look at.
    pub fn alarm(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Worker { kind: SigningErrorKind::Alarm, source: source.into() }
    }

    /// A failure of disk, network or mount in the worker's own work.
    pub fn infrastructure(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Worker { kind: SigningErrorKind::Infrastructure, source: source.into() }
    }

    /// The caller's fault, as `tuf_fleet.exceptions.Refused`.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused(exceptions::exception(exceptions::REFUSED, message))
    }

    /// The reaction to it.
    #[must_use]
    pub fn kind(&self) -> SigningErrorKind {
        match self {
            Self::Role(error) => error.kind().into(),
            Self::Worker { kind, .. } => *kind,
            Self::PinnedRootMissing { .. } => SigningErrorKind::Waiting,
            Self::Keys(KeysError::Io { .. })
            | Self::PinnedRootUnreadable { .. }
            | Self::StatePathMissing { .. }
            | Self::StateDir { .. }
            | Self::RetentionMarks { .. } => SigningErrorKind::Infrastructure,
            Self::Keys(_) | Self::ClockSkew { .. } => SigningErrorKind::Alarm,
            Self::FloorChanged { .. } | Self::RoleName(_) | Self::Refused(_) => SigningErrorKind::Refused,
            Self::Panicked { .. } | Self::Aborted { .. } => SigningErrorKind::Internal,
        }
    }
}

impl From<FloorError> for SigningError {
    fn from(error: FloorError) -> Self {
        Self::Role(error.into())
    }
}

impl From<SigningError> for TaskError {
    fn from(error: SigningError) -> Self {
        let class = match error.kind() {
            SigningErrorKind::Waiting => exceptions::NOT_READY,
            SigningErrorKind::Alarm => exceptions::ALARM,
            SigningErrorKind::Infrastructure => exceptions::INFRASTRUCTURE,
            SigningErrorKind::Refused => exceptions::REFUSED,
            SigningErrorKind::Internal => exceptions::INTERNAL,
        };
        match error {
            SigningError::Refused(exception) => exception,
            error => exceptions::exception(class, error.to_string()),
        }
    }
}
