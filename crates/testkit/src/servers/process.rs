//! Child processes that never outlive the test that started them.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(5);

/// A running child whose output is collected. Dropping it kills the child. The child stays in the process group of the test, so
/// that a signal to the test runner's group ends it too.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
}

/// The exit status and the output of a process.
#[derive(Debug)]
#[must_use]
pub struct Finished {
    /// The exit status.
    pub status: ExitStatus,
    /// The whole standard output.
    pub stdout: String,
    /// The whole standard error.
    pub stderr: String,
}

#[derive(Default)]
struct Lines {
    output: Mutex<Output>,
    grown: Condvar,
}

#[derive(Default)]
struct Output {
    stdout: String,
    stderr: String,
    open: u8,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

impl Process {
    /// Starts `command` with no standard input (unless the command says otherwise) and both outputs collected.
    ///
    /// # Panics
    ///
    /// If the program cannot be started.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) => panic!("cannot start {name}: {e}"),
        };
        let lines = Arc::new(Lines::default());
        let mut readers = Vec::new();
        if let Some(out) = child.stdout.take() {
            readers.push(Lines::collect(&lines, Stream::Stdout, out));
        }
        if let Some(err) = child.stderr.take() {
            readers.push(Lines::collect(&lines, Stream::Stderr, err));
        }
        Self { name, child, lines, readers }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process still runs.
    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        self.try_wait().is_none()
    }

    /// The standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.lines.lock().stdout.clone()
    }

    /// The standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.lines.lock().stderr.clone()
    }

    /// Waits until a whole line that contains `text` was printed on either output, and returns that line.
    ///
    /// # Panics
    ///
    /// If the outputs end or `within` passes before that; the message holds all that was printed.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        let mut output = self.lines.lock();
        loop {
            let whole = |s: &str| s.rfind('\n').map_or(0, |end| end + 1);
            for stream in [&output.stdout, &output.stderr] {
                if let Some(line) = stream[..whole(stream)].lines().find(|line| line.contains(text)) {
                    return line.to_owned();
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || output.open == 0 {
                let why = if left.is_zero() { format!("within {within:?}") } else { "before it ended".to_owned() };
                panic!("{} did not print {text:?} {why}\n{}", self.name, output.report());
            }
            output = self.lines.grown.wait_timeout(output, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends a signal; a process that has already ended is left alone.
    ///
    /// # Panics
    ///
    /// If the signal cannot be sent.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running()
            && let Ok(id) = i32::try_from(self.child.id())
            && let Some(pid) = Pid::from_raw(id)
            && let Err(e) = kill_process(pid, signal)
        {
            panic!("cannot signal {}: {e}", self.name);
        }
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// If it has not ended `within`; it is killed then, and the message holds all that was printed.
    #[track_caller]
    pub fn wait(mut self, within: Duration) -> Finished {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.try_wait() {
                for reader in self.readers.drain(..) {
                    // A grandchild may hold the pipe open: use the output read so far.
                    while !reader.is_finished() && Instant::now() < deadline {
                        std::thread::sleep(POLL);
                    }
                }
                let output = self.lines.lock();
                return Finished { status, stdout: output.stdout.clone(), stderr: output.stderr.clone() };
            }
            if Instant::now() >= deadline {
                self.kill();
                panic!("{} did not end within {within:?}\n{}", self.name, self.lines.lock().report());
            }
            std::thread::sleep(POLL);
        }
    }

    /// SIGTERM, then waits as [`Process::wait`] does.
    #[track_caller]
    pub fn terminate(mut self, within: Duration) -> Finished {
        self.signal(Signal::TERM);
        self.wait(within)
    }

    /// SIGKILL, as a power cut would end the process. Waits until the process is gone.
    pub fn kill(&mut self) {
        // Both fail only when the process has already ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    #[track_caller]
    fn try_wait(&mut self) -> Option<ExitStatus> {
        match self.child.try_wait() {
            Ok(status) => status,
            Err(e) => panic!("cannot wait for {}: {e}", self.name),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("output of {}:\n{}", self.name, self.lines.lock().report());
        }
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("name", &self.name).field("id", &self.child.id()).finish_non_exhaustive()
    }
}

impl Finished {
    /// Returns itself if the exit status is 0.
    ///
    /// # Panics
    ///
    /// On any other status, with all that was printed.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(
            self.status.success(),
            "ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output as one JSON value.
    ///
    /// # Panics
    ///
    /// If it is not one JSON value.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(e) => panic!("not JSON: {e}\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr),
        }
    }
}

impl Lines {
    fn lock(&self) -> std::sync::MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(lines: &Arc<Self>, stream: Stream, from: impl Read + Send + 'static) -> JoinHandle<()> {
        lines.lock().open += 1;
        let lines = Arc::clone(lines);
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                let mut output = lines.lock();
                match stream {
                    Stream::Stdout => output.stdout.push_str(&text),
                    Stream::Stderr => output.stderr.push_str(&text),
                }
                drop(output);
                lines.grown.notify_all();
            }
            lines.lock().open -= 1;
            lines.grown.notify_all();
        })
    }
}

impl Output {
    fn report(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_are_collected() {
        let finished = Process::spawn(&mut sh("echo '{\"a\":1}'; echo oops >&2; exit 3")).wait(Duration::from_secs(30));
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.json()["a"], 1);
        assert_eq!(finished.stderr, "oops\n");
    }

    #[test]
    fn a_line_is_waited_for() {
        let process = Process::spawn(&mut sh("echo starting; echo ready on 7 >&2; exec sleep 600"));
        assert_eq!(process.wait_for_line("ready", Duration::from_secs(30)), "ready on 7");
    }

    #[test]
    #[should_panic(expected = "before it ended")]
    fn a_line_that_never_comes_fails_when_the_process_ends() {
        Process::spawn(&mut sh("echo starting")).wait_for_line("ready", Duration::from_secs(600));
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = Process::spawn(&mut sh("exec sleep 600"));
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
