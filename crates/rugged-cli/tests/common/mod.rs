//! Runs the built `rugged` binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what it did not expect")]
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::disallowed_methods, reason = "tests look at what was written from outside")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the exit code.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// `rugged` with nothing of this machine's environment.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rugged"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RUGGED_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs `rugged` with these arguments.
pub fn rugged<I, S>(arguments: I) -> Said
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    command().args(arguments).output().unwrap().into()
}

/// A directory made by `rugged demo`.
pub struct Demo {
    temp: tempfile::TempDir,
}

impl Demo {
    /// Runs the demo once.
    pub fn new() -> Self {
        let demo = Self { temp: tempfile::tempdir().unwrap() };
        demo.again().exits(0);
        demo
    }

    /// Runs it on the same directory, for its JSON.
    pub fn again(&self) -> Said {
        rugged(["demo", "--json", "--dir", self.path("").to_str().unwrap()])
    }

    /// A path below the directory.
    pub fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join("a demo").join(below)
    }

    /// Runs a command with its configuration.
    pub fn rugged(&self, arguments: &[&str]) -> Said {
        let config = self.path("config.yaml");
        rugged(["--config", config.to_str().unwrap()].iter().chain(arguments))
    }

    /// Starts `rugged up` and waits until its workers are ready.
    pub fn up(&self) -> Up {
        let mut child = command()
            .arg("--config")
            .arg(self.path("config.yaml"))
            .args(["--json", "up", "--http", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut said = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            said.push_str(&line.unwrap());
            if said.ends_with('}') {
                break;
            }
        }
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        let up = Up { child, said };
        // Workers answer before they have opened their state.
        for _ in 0..1000 {
            let status = self.rugged(&["--json", "status"]).json();
            let workers = status["workers"].as_array().unwrap();
            if workers.iter().all(|worker| worker["status"]["state"] == "ready") {
                return up;
            }
        }
        panic!("the workers are not ready");
    }
}

/// A running `rugged up`; killed when dropped.
pub struct Up {
    child: Child,
    /// What it said of itself.
    pub said: Value,
}

impl Up {
    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as Ctrl-C does; its exit code.
    pub fn interrupt(mut self) -> i32 {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file and the directories above it.
pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Every regular file below `dir`.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
