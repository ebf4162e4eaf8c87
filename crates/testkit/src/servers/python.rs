//! The Python peers: python-tuf and Celery in virtual environments with pinned versions.

use super::{Finished, Process, workspace};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A virtual environment that `scripts/test.sh` makes from a file of `tests/python`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Environment {
    /// The environment variable that names its interpreter.
    variable: &'static str,
    /// Its path below the workspace, used when the variable is not set.
    directory: &'static str,
}

impl Environment {
    /// Celery 5.7, python-tuf and all else (`requirements.txt`).
    pub const MAIN: Self = Self { variable: "TUF_FLEET_TEST_PYTHON", directory: "target/test-venv" };
    /// Celery 5.4 and nothing else (`requirements-celery-5.4.txt`).
    pub const CELERY_5_4: Self =
        Self { variable: "TUF_FLEET_TEST_PYTHON_CELERY_5_4", directory: "target/test-venv-celery-5.4" };
    /// Celery 5.6 and nothing else (`requirements-celery-5.6.txt`).
    pub const CELERY_5_6: Self =
        Self { variable: "TUF_FLEET_TEST_PYTHON_CELERY_5_6", directory: "target/test-venv-celery-5.6" };

    /// Its interpreter: the value of its variable (`TUF_FLEET_TEST_PYTHON` and so on), otherwise the one in `target`.
    ///
    /// # Panics
    ///
    /// If neither exists.
    #[track_caller]
    #[must_use]
    pub fn interpreter(self) -> PathBuf {
        let python = std::env::var_os(self.variable)
            .map_or_else(|| workspace().join(self.directory).join("bin/python"), PathBuf::from);
        assert!(
            python.exists(),
            "{} is missing: run `scripts/test.sh --setup-only` once, it makes the virtual environments",
            python.display()
        );
        python
    }

    /// A command that runs `script` (a file of `tests/python`, or an absolute path) with `args`.
    #[track_caller]
    #[must_use]
    pub fn command<A: AsRef<OsStr>>(self, script: &str, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(self.interpreter());
        // `-P` would need Python 3.11. The scripts import no neighbours, so it is enough to write no bytecode.
        command.arg("-B").arg(workspace().join("tests/python").join(script)).args(args);
        command.env("PYTHONUNBUFFERED", "1").env("PYTHONIOENCODING", "utf-8");
        command
    }

    /// Starts `script` and lets it run.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn spawn<A: AsRef<OsStr>>(self, script: &str, args: impl IntoIterator<Item = A>) -> Process {
        Process::spawn(&mut self.command(script, args))
    }
}

/// The interpreter most tests use: that of [`Environment::MAIN`].
#[derive(Debug, Clone, Copy)]
pub struct Python;

impl Python {
    /// The longest a script started by [`Python::run`] may take.
    pub const DEADLINE: Duration = Duration::from_secs(300);

    /// See [`Environment::interpreter`].
    ///
    /// # Panics
    ///
    /// If it does not exist.
    #[track_caller]
    #[must_use]
    pub fn interpreter() -> PathBuf {
        Environment::MAIN.interpreter()
    }

    /// See [`Environment::command`].
    #[track_caller]
    #[must_use]
    pub fn command<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>) -> Command {
        Environment::MAIN.command(script, args)
    }

    /// Runs `script` to its end, within [`Python::DEADLINE`]. The status is not judged: see [`Finished::success`].
    ///
    /// # Panics
    ///
    /// If it cannot be started or does not end in time.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>, env: &[(&str, &str)]) -> Finished {
        Self::spawn(script, args, env).wait(Self::DEADLINE)
    }

    /// Starts `script` and lets it run.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn spawn<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>, env: &[(&str, &str)]) -> Process {
        Process::spawn(Self::command(script, args).envs(env.iter().copied()))
    }
}
