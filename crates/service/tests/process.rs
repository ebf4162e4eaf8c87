//! A worker as a process: exit codes, signals, health check.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use service::exit_code::WorkerExit;

fn worker(arguments: &[&str]) -> Command {
    // The test binary is target/…/deps/process-HASH, the example target/…/examples/idle-worker.
    let test = std::env::current_exe().unwrap();
    let example = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples/idle-worker");
    let mut command = Command::new(example);
    command.env_clear().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = worker(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

struct RunningWorker {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    /// Empty, so that nothing of this machine's configuration takes part.
    _config: tempfile::NamedTempFile,
    address: String,
}

impl RunningWorker {
    fn start(settings: &[&str]) -> Self {
        let mut arguments = vec!["--set", "log_format=json", "--set", "health_address=127.0.0.1:0"];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        let config = tempfile::NamedTempFile::new().unwrap();
        let mut child = worker(&arguments).arg("--config").arg(config.path()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut running = Self { child, lines, _config: config, address: String::new() };
        let served = running.until("health is served");
        running.address = served["health.address"].as_str().unwrap().to_owned();
        running.until("ready");
        running
    }

    /// Reads the log until a line with that message.
    fn until(&mut self, message: &str) -> serde_json::Value {
        loop {
            let line = self.lines.next().expect("the log ended").unwrap();
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"].as_str().unwrap().contains(message) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> u8 {
        u8::try_from(self.child.wait().unwrap().code().unwrap()).unwrap()
    }
}

#[test]
fn a_signal_ends_warmly_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = RunningWorker::start(&[]);
        running.signal(signal);
        let line = running.until("process ended");
        assert_eq!(line["worker"], "idle-worker");
        assert_eq!(running.end(), WorkerExit::Success.code());
    }
}

#[test]
fn a_second_signal_ends_immediately() {
    let mut running = RunningWorker::start(&["instance=stubborn"]);
    running.signal(Signal::TERM);
    running.until("finishing the work in hand");
    running.signal(Signal::TERM);
    assert_eq!(running.end(), WorkerExit::ForcedEnd.code());
}

#[test]
fn wrong_usage_and_configuration_have_their_exit_code() {
    let usage = i32::from(WorkerExit::InvalidInput.code());
    assert_eq!(run(&["--nonsense"]).0, usage);
    let (code, _, stderr) = run(&["--set", "bed_pth=/x", "--config", "/nonexistent/config.yaml"]);
    assert_eq!(code, usage);
    assert!(stderr.starts_with("idle-worker: cannot read /nonexistent/config.yaml"), "{stderr}");
    let config = tempfile::NamedTempFile::new().unwrap();
    let config = config.path().to_str().unwrap();
    let (code, _, stderr) = run(&["--config", config, "--set", "bed_pth=/x"]);
    assert_eq!(
        (code, stderr.as_str()),
        (usage, "idle-worker: --set: unknown key `bed_pth`; did you mean `bed_path`?\n")
    );
    let (code, _, stderr) = run(&["--config", config, "--set", "broker_url=gopher://x"]);
    assert_eq!(code, usage);
    assert!(stderr.contains("gopher"), "{stderr}");
}

#[test]
fn a_refusal_and_an_address_in_use_have_different_codes() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let config = config.path().to_str().unwrap();
    let (code, _, stderr) = run(&["--config", config, "--set", "instance=refusing"]);
    assert_eq!(code, i32::from(WorkerExit::Refused.code()));
    assert!(stderr.contains("the bed is taken"), "{stderr}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("health_address={}", taken.local_addr().unwrap());
    assert_eq!(run(&["--config", config, "--set", &address]).0, i32::from(WorkerExit::Infrastructure.code()));
}

#[test]
fn a_panic_is_one_line_of_the_log() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let config = config.path().to_str().unwrap();
    let (code, _, stderr) = run(&["--config", config, "--set", "instance=panicking", "--set", "log_format=json"]);
    assert_eq!(code, i32::from(WorkerExit::Panic.code()));
    let last: serde_json::Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
    assert_eq!(last["message"], "panic: a bug");
    assert_eq!(last["worker"], "idle-worker");
}

#[test]
fn the_binary_checks_its_own_health() {
    let mut running = RunningWorker::start(&[]);
    let config = tempfile::NamedTempFile::new().unwrap();
    let config = config.path().to_str().unwrap();
    let address = format!("health_address={}", running.address);
    for arguments in [&["healthcheck"][..], &["healthcheck", "--ready"]] {
        let (code, stdout, _) = run(&[arguments, &["--config", config, "--set", &address]].concat());
        assert_eq!((code, stdout.as_str()), (0, "ok\n"));
    }
    running.signal(Signal::TERM);
    running.until("process ended");
    assert_eq!(running.end(), WorkerExit::Success.code());
    let (code, ..) = run(&["healthcheck", "--config", config, "--set", &address]);
    assert_eq!(code, i32::from(WorkerExit::Unhealthy.code()));
    assert_eq!(run(&["healthcheck", "--config", config]).0, i32::from(WorkerExit::InvalidInput.code()));
}

#[test]
fn help_and_version_name_the_worker() {
    let (code, stdout, _) = run(&["--help"]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("Does nothing until it is asked to end") && stdout.contains("Exit codes"), "{stdout}");
    let (code, stdout, _) = run(&["--version"]);
    assert_eq!((code, stdout), (0, format!("idle-worker {}\n", env!("CARGO_PKG_VERSION"))));
}
