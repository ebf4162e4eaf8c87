//! Why a command did not do what it was asked, and how to go on.

use std::io;
use std::path::Path;

use fleet::FleetError;
use root_worker::CeremonyError;
use service::config::ConfigError;

use crate::exit_code;

/// An error as the user sees it: `error: …`, `hint: …`, exit code. Messages are lower-case fragments without secrets.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// One of [`exit_code`].
    pub code: u8,
    /// What went wrong.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl CliError {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// The command line or what it names is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(exit_code::USAGE, message)
    }

    /// Nobody answered.
    pub fn no_answer(message: impl Into<String>) -> Self {
        Self::new(exit_code::NO_ANSWER, message)
    }

    /// A worker said no.
    pub fn task_failed(message: impl Into<String>) -> Self {
        Self::new(exit_code::TASK_FAILED, message)
    }

    /// The answer is no, and there is nothing more to print about it.
    pub fn finding(message: impl Into<String>) -> Self {
        Self::new(exit_code::FINDING, message)
    }

    /// Refused for the sake of the keys or the repository.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(exit_code::REFUSED, message)
    }

    /// Something this command stands on failed.
    pub fn infrastructure(message: impl Into<String>) -> Self {
        Self::new(exit_code::INFRASTRUCTURE, message)
    }

    /// A file that was to be written could not be.
    pub fn writing(path: &Path, error: &io::Error) -> Self {
        Self::infrastructure(format!("cannot write {}: {error}", path.display()))
    }

    /// A file that was to be read could not be.
    pub fn reading(path: &Path, error: &io::Error) -> Self {
        Self::usage(format!("cannot read {}: {error}", path.display()))
    }

    /// The same with a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let hint = match &error {
            ConfigError::Unreadable { .. } => "name a file that exists with --config or RUGGED_CONFIG",
            ConfigError::NotAPair => "for example: --set scheduler_scan_period=1",
            _ => "`rugged config` shows every value and where it comes from; `rugged help config` says more",
        };
        Self::usage(error.to_string()).hint(hint)
    }
}

impl From<FleetError> for CliError {
    fn from(error: FleetError) -> Self {
        let message = error.to_string();
        match error {
            FleetError::Config(error) => error.into(),
            FleetError::Refused(_) => Self::refused(message),
            FleetError::Broker(_) => Self::usage(message).hint("broker_url is memory://, amqp://… or amqps://…"),
            _ => Self::infrastructure(message),
        }
    }
}

impl From<CeremonyError> for CliError {
    fn from(error: CeremonyError) -> Self {
        let message = error.to_string();
        match error {
            CeremonyError::Request(_) => Self::usage(message),
            CeremonyError::Exists(_) => Self::refused(message),
            CeremonyError::Keys(_) => Self::refused(message)
                .hint("`rugged generate-keys` makes what is missing; `rugged config` shows where keys are looked for"),
            CeremonyError::Threshold { role, .. } => Self::refused(message).hint(format!(
                "make another with `rugged generate-keys --role {role} --name NAME`, or lower the threshold"
            )),
            _ => Self::infrastructure(message),
        }
    }
}
