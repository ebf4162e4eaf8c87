//! Why a command failed, and the next step.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use fleet::FleetError;
use root_worker::CeremonyError;
use service::config::ConfigError;

use service::exit_code::{CommandExit, WorkerExit};

/// Any error that a command can end with.
pub type BoxedError = Box<dyn Error + Send + Sync>;

/// The error of a command: its cause, its exit code and a hint at the next step.
///
/// The cause keeps its sources. Messages are lower-case fragments without secrets. One place shows it to the user:
/// [`crate::output::Output::error`].
#[derive(Debug)]
pub struct CliError {
    exit: CommandExit,
    cause: BoxedError,
    hint: Option<String>,
}

/// A cause, with the action that it made fail.
#[derive(Debug, thiserror::Error)]
#[error("{action}")]
struct FailedAction {
    action: String,
    source: BoxedError,
}

impl CliError {
    fn new(exit: CommandExit, cause: impl Into<BoxedError>) -> Self {
        Self { exit, cause: cause.into(), hint: None }
    }

    /// The command line, the configuration or a named file is invalid.
    pub fn invalid_input(cause: impl Into<BoxedError>) -> Self {
        Self::new(CommandExit::InvalidInput, cause)
    }

    /// No worker, no broker or no receipt answered.
    pub fn no_answer(cause: impl Into<BoxedError>) -> Self {
        Self::new(CommandExit::NoAnswer, cause)
    }

    /// A worker reported that the task failed.
    pub fn task_failed(cause: impl Into<BoxedError>) -> Self {
        Self::new(CommandExit::TaskFailed, cause)
    }

    /// The answer is no, and the command has no more to print about it.
    pub fn negative_answer(cause: impl Into<BoxedError>) -> Self {
        Self::new(CommandExit::NegativeAnswer, cause)
    }

    /// The command refuses, to protect the keys or the repository.
    pub fn request_refused(cause: impl Into<BoxedError>) -> Self {
        Self::new(CommandExit::RequestRefused, cause)
    }

    /// This machine failed the command.
    pub fn local_failure(cause: impl Into<BoxedError>) -> Self {
        Self::new(CommandExit::LocalFailure, cause)
    }

    /// A file cannot be written.
    pub fn writing(path: &Path, error: io::Error) -> Self {
        Self::local_failure(error).during(format!("cannot write {}", path.display()))
    }

    /// A file cannot be read.
    pub fn reading(path: &Path, error: io::Error) -> Self {
        Self::invalid_input(error).during(format!("cannot read {}", path.display()))
    }

    /// Names the action that failed; the cause so far becomes its source.
    #[must_use]
    pub fn during(self, action: impl Into<String>) -> Self {
        let cause = Box::new(FailedAction { action: action.into(), source: self.cause });
        Self { cause, ..self }
    }

    /// Adds the next step, in place of an earlier one.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> CommandExit {
        self.exit
    }

    /// The cause and its sources, as [`describe`] shows them.
    #[must_use]
    pub fn message(&self) -> String {
        describe(self.cause.as_ref())
    }

    /// The next step, if one is known.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for CliError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// An error and its sources on one line, separated by colons. A source that the text already contains is left out.
#[must_use]
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        // Its text is made for a terminal: the message, then the usage.
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        let message = lines.by_ref().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
        Self::invalid_input(message).hint("run the command with --help")
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let hint = match &error {
            ConfigError::Unreadable { .. } => "name an existing file with --config or RUGGED_CONFIG",
            ConfigError::NotAPair => "write KEY=VALUE, for example --set scheduler_scan_period=1",
            _ => "run `rugged config` to see every value with its origin, or `rugged help config` for the rules",
        };
        Self::invalid_input(error).hint(hint)
    }
}

impl From<FleetError> for CliError {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Config(error) => error.into(),
            error if error.exit_code() == WorkerExit::Refused => Self::request_refused(error),
            FleetError::Broker(_) | FleetError::Queue { .. } => {
                Self::invalid_input(error).hint("set broker_url to memory://, amqp://… or amqps://…")
            }
            _ => Self::local_failure(error),
        }
    }
}

impl From<CeremonyError> for CliError {
    fn from(error: CeremonyError) -> Self {
        if error.is_invalid_request() {
            return Self::invalid_input(error);
        }
        match &error {
            CeremonyError::Exists(_) => Self::request_refused(error),
            CeremonyError::Keys(_) => Self::request_refused(error).hint(
                "generate missing keys with `rugged generate-keys`; `rugged config` shows the directories of the keys",
            ),
            CeremonyError::TooFewKeys { role, .. } => {
                let hint = format!(
                    "generate another key with `rugged generate-keys --role {role} --name NAME`, or lower the threshold"
                );
                Self::request_refused(error).hint(hint)
            }
            _ => Self::local_failure(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_shown_once() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let error = CliError::reading(Path::new("/x"), missing).during("cannot load");
        assert_eq!(error.message(), "cannot load: cannot read /x: entity not found");
        assert_eq!(error.to_string(), "cannot load");
        let missing = FleetError::KeyDirectory { path: "/x".into(), source: io::ErrorKind::NotFound.into() };
        let twice = CliError::no_answer(missing).during("cannot list /x: entity not found, again");
        assert_eq!(twice.message(), "cannot list /x: entity not found, again");
    }
}
