//! Exit codes of the `rugged` command. Scripts may rely on them.

use std::process::ExitCode;

/// How a command ended, as its exit code says it.
///
/// The codes of the worker processes are others: a number may mean one there and another here, and no name of this
/// table is used for two meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CommandExit {
    /// The command did its work, or the answer is yes.
    Success = 0,
    /// The answer is no: a finding of `validate`, a rejected drop, an unhealthy worker.
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
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The meaning, as the help shows it.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success, or the answer is yes",
            Self::NegativeAnswer => "the answer is no: a finding, a rejected drop, an unhealthy worker",
            Self::InvalidInput => {
                "the command line, the configuration or a named file is invalid or cannot be read; nothing was changed"
            }
            Self::NoAnswer => "no answer in time (no worker, no broker, no receipt); the work may still be done",
            Self::TaskFailed => "a worker took the task and reported a failure",
            Self::RequestRefused => "refused, to protect the keys or the repository",
            Self::LocalFailure => {
                "this machine failed: a directory cannot be written, an address is in use, or similar"
            }
            Self::ForcedEnd => "a second SIGINT or SIGTERM ended the command immediately",
        }
    }
}

impl From<CommandExit> for ExitCode {
    fn from(exit: CommandExit) -> Self {
        Self::from(exit.code())
    }
}

/// All exit codes with their meanings, one per line.
#[must_use]
pub fn exit_code_table() -> String {
    CommandExit::ALL.iter().map(|exit| format!("{:>5}  {}\n", exit.code(), exit.meaning())).collect()
}
