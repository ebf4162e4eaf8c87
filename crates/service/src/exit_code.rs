//! Exit codes of every program, in one table. Scripts and service managers rely on the numbers.
//!
//! | a worker or ceremony program ([`WorkerExit`]) | | a command ([`CommandExit`]) | |
//! |---|---|---|---|
//! | it ended as asked | 0 | success, or the answer is yes | 0 |
//! | a failure without a code of its own | 1 | the answer is no | 1 |
//! | invalid command line or configuration | 2 | invalid command line, configuration or file | 2 |
//! | refused, to protect keys or repository | 3 | no answer in time | 3 |
//! | this machine failed | 4 | a worker reported a failure | 4 |
//! | `healthcheck`: not live or not ready | 5 | refused, to protect keys or repository | 5 |
//! | | | this machine failed | 6 |
//! | a bug ended it (a panic) | 101 | | |
//! | a second signal ended it | 130 | a second signal ended it | 130 |
//!
//! The two kinds of program number some outcomes differently, so each has a type of its own: no number can be taken for
//! the other's.

use std::process::ExitCode;

/// How a worker process or a ceremony program ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WorkerExit {
    /// The worker ended because it was asked to, after it had finished its work in hand.
    Success = 0,
    /// A failure that no other code names.
    Failure = 1,
    /// The command line or the configuration is invalid; another start changes nothing.
    InvalidInput = 2,
    /// The worker refused, to protect the keys or the repository (another role's key can be read, a key is readable by
    /// its group, too few keys of the root): an administrator has to act.
    Refused = 3,
    /// This machine failed the worker for good (the health address is in use, a directory cannot be written); another
    /// start may help.
    Infrastructure = 4,
    /// `healthcheck`: the worker answered that it is not live or not ready, or did not answer.
    Unhealthy = 5,
    /// A bug ended the worker (the number Rust exits with after a panic); the panic is in the log.
    Panic = 101,
    /// A second SIGINT or SIGTERM ended the worker immediately (128 + SIGINT, as shells count).
    ForcedEnd = 130,
}

impl WorkerExit {
    /// Every exit code, in ascending order.
    pub const ALL: [Self; 8] = [
        Self::Success,
        Self::Failure,
        Self::InvalidInput,
        Self::Refused,
        Self::Infrastructure,
        Self::Unhealthy,
        Self::Panic,
        Self::ForcedEnd,
    ];

    /// The number that the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The meaning, as the help shows it.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "ended on request",
            Self::Failure => "failure",
            Self::InvalidInput => "invalid command line or configuration",
            Self::Refused => "refused, to protect the keys or the repository",
            Self::Infrastructure => {
                "this machine failed: an address is in use, a directory cannot be written, or similar"
            }
            Self::Unhealthy => "not live or not ready (healthcheck)",
            Self::Panic => "a bug",
            Self::ForcedEnd => "ended immediately by a second signal",
        }
    }

    /// Every exit code with its meaning, one per line.
    #[must_use]
    pub fn table() -> String {
        Self::ALL.iter().map(|exit| format!("{:>5}  {}\n", exit.code(), exit.meaning())).collect()
    }
}

impl From<WorkerExit> for ExitCode {
    fn from(exit: WorkerExit) -> Self {
        Self::from(exit.code())
    }
}

/// How a command of an operator ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CommandExit {
    /// The command did its work, or the answer is yes.
    Success = 0,
    /// The answer is no: a finding, a rejected release, an unhealthy worker.
    NegativeAnswer = 1,
    /// The command line, the configuration or a named file is invalid or cannot be read. Nothing was changed.
    InvalidInput = 2,
    /// No worker, no broker or no receipt answered in time. The work may still be done.
    NoAnswer = 3,
    /// A worker took the task and reported a failure.
    TaskFailed = 4,
    /// The command refused, to protect the keys or the repository.
    RequestRefused = 5,
    /// This machine failed the command: a directory cannot be written, an address is in use.
    LocalFailure = 6,
    /// A second SIGINT or SIGTERM ended the command immediately (128 + SIGINT, as shells count).
    ForcedEnd = 130,
}

impl CommandExit {
    /// Every exit code, in ascending order.
    pub const ALL: [Self; 8] = [
        Self::Success,
        Self::NegativeAnswer,
        Self::InvalidInput,
        Self::NoAnswer,
        Self::TaskFailed,
        Self::RequestRefused,
        Self::LocalFailure,
        Self::ForcedEnd,
    ];

    /// The number that the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The meaning, as the help shows it.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success, or the answer is yes",
            Self::NegativeAnswer => "the answer is no: a finding, a rejected release, an unhealthy worker",
            Self::InvalidInput => {
                "the command line, the configuration or a named file is invalid or cannot be read; nothing was changed"
            }
            Self::NoAnswer => "no answer in time (no worker, no broker, no receipt); the work may still happen",
            Self::TaskFailed => "a worker took the task and reported a failure",
            Self::RequestRefused => "refused, to protect the keys or the repository",
            Self::LocalFailure => {
                "this machine failed: a directory cannot be written, an address is in use, or similar"
            }
            Self::ForcedEnd => "a second SIGINT or SIGTERM ended the command immediately",
        }
    }

    /// Every exit code with its meaning, one per line.
    #[must_use]
    pub fn table() -> String {
        Self::ALL.iter().map(|exit| format!("{:>5}  {}\n", exit.code(), exit.meaning())).collect()
    }
}

impl From<CommandExit> for ExitCode {
    fn from(exit: CommandExit) -> Self {
        Self::from(exit.code())
    }
}
