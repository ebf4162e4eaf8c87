//! The scripts that hold a private server; a server ends with its script's input.

use super::paths::workspace;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A running script of `scripts/`.
#[derive(Debug)]
pub(super) struct Supervisor {
    script: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Starts the script and returns the line that describes its server.
    #[track_caller]
    pub(super) fn spawn(script: &'static str, dir: &Path, options: &[&str], lease: Option<&Path>) -> (Self, Value) {
        let mut command = Command::new("/usr/bin/python3");
        command.arg("-B").arg(workspace().join("scripts").join(script)).arg("--dir").arg(dir).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(lease) = lease {
            // Shared with other processes: neither the end of this process nor a signal to its group may end it.
            command.arg("--lease").arg(lease).stdin(Stdio::null()).stderr(Stdio::null()).process_group(0);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) => panic!("cannot start /usr/bin/python3: {e}"),
        };
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let Some(output) = output else { panic!("no pipe to {script}") };
        let mut supervisor = Self { script, child, input, output: BufReader::new(output) };
        let answer = supervisor.answer();
        if let Some(error) = answer["error"].as_str() {
            panic!("{script}: {error}");
        }
        (supervisor, answer)
    }

    #[track_caller]
    pub(super) fn command(&mut self, command: &str) {
        let sent = self.input.as_mut().map(|input| input.write_all(format!("{command}\n").as_bytes()));
        assert!(matches!(sent, Some(Ok(()))), "{} has gone", self.script);
        let answer = self.answer();
        assert!(answer["ok"] == true, "{command} of {}: {}", self.script, text_of_error(&answer));
    }

    #[track_caller]
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(n) if n > 0 => serde_json::from_str(&line).unwrap_or(Value::String(line)),
            _ => panic!("{} has gone", self.script),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.input.take().is_some() {
            let _ = self.child.wait();
        }
    }
}

fn text_of_error(answer: &Value) -> String {
    answer["error"].as_str().map_or_else(|| answer.to_string(), str::to_owned)
}

/// Unique on this machine: process id, boot-relative start of the process, count.
pub(super) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static START: OnceLock<u32> = OnceLock::new();
    let start = START.get_or_init(|| {
        use std::hash::{BuildHasher as _, RandomState};
        // Process ids repeat; the standard library's hasher is seeded from the system's randomness.
        (RandomState::new().hash_one(0) & 0xffff_ffff) as u32
    });
    format!("{prefix}-{}-{start:08x}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
