//! The Python peers: python-tuf and Celery in a virtual environment with pinned versions.

use super::{Finished, Process, workspace};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The interpreter of the virtual environment that `scripts/test.sh` makes from `tests/python/requirements.txt`.
#[derive(Debug, Clone, Copy)]
pub struct Python;

impl Python {
    /// The longest a script started by [`Python::run`] may take.
    pub const DEADLINE: Duration = Duration::from_secs(300);

    /// The interpreter: `TUF_FLEET_TEST_PYTHON`, else the one in `target/test-venv`.
    ///
    /// # Panics
    ///
    /// If neither exists.
    #[track_caller]
    #[must_use]
    pub fn interpreter() -> PathBuf {
        let python = std::env::var_os("TUF_FLEET_TEST_PYTHON")
            .map_or_else(|| workspace().join("target/test-venv/bin/python"), PathBuf::from);
        assert!(
            python.exists(),
            "{} is missing: run `scripts/test.sh --setup-only` once, it makes the virtual environment",
            python.display()
        );
        python
    }

    /// A command that runs `script` (a file of `tests/python`, or an absolute path) with `args`.
    #[track_caller]
    #[must_use]
    pub fn command<A: AsRef<OsStr>>(script: &str, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(Self::interpreter());
        // `-P` would need 3.11; the scripts import nothing from beside themselves, so no bytecode is all it takes.
        command.arg("-B").arg(workspace().join("tests/python").join(script)).args(args);
        command.env("PYTHONUNBUFFERED", "1").env("PYTHONIOENCODING", "utf-8");
        command
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
