//! The examples, as processes: driven by unmodified Python Celery, and by each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use testkit::servers::{Process, Python, RabbitMq};

const SOON: Duration = Duration::from_secs(120);

/// An example, up to date: where `scripts/test.sh` built it, or built now beside this test.
fn example(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| match std::env::var_os("TUF_FLEET_TEST_BIN") {
        Some(binaries) => Path::new(&binaries).join("examples"),
        None => build(),
    });
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --examples`", path.display());
    path
}

fn build() -> PathBuf {
    // target/PROFILE/deps/TEST-HASH
    let test = std::env::current_exe().unwrap();
    let profile_folder = test.ancestors().nth(2).unwrap();
    let profile = match profile_folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--examples", "--profile", profile, "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(profile_folder.parent().unwrap())
        .status();
    assert!(built.unwrap().success());
    profile_folder.join("examples")
}

fn worker(url: &str) -> Process {
    let worker = Process::spawn(Command::new(example("worker")).args([url, "math"]));
    worker.wait_for_line("ready", SOON);
    worker
}

fn python(url: &str, task: &str, args: &str) -> Value {
    let arguments = ["--broker", url, "--queue", "math", task, "--args", args, "--timeout", "90"];
    Python::run("celery_client.py", arguments, &[]).success().json()
}

#[test]
fn the_example_worker_answers_python_and_the_example_client() {
    let vhost = RabbitMq::shared().vhost();
    let mut worker = worker(&vhost.amqp_url);
    let answer = python(&vhost.amqp_url, "add", "[2, 3]");
    assert_eq!((&answer["state"], &answer["result"]), (&"SUCCESS".into(), &5.0.into()));
    let answer = python(&vhost.amqp_url, "divide", "[1, 0]");
    assert_eq!(answer["exception"]["class"], "ValueError");
    assert_eq!(python(&vhost.amqp_url, "flaky", "[]")["result"], 1);
    let arguments = [vhost.amqp_url.as_str(), "math", "divide", "[1, 4]"];
    let client = Process::spawn(Command::new(example("client")).args(arguments));
    assert_eq!(client.wait(SOON).success().stdout.trim(), "0.25");
    worker.signal(Signal::INT);
    let _ = worker.wait(SOON).success();
}

#[test]
fn the_example_workflow_needs_no_server() {
    let ran = Process::spawn(&mut Command::new(example("workflow"))).wait(SOON).success();
    assert_eq!(ran.stdout.trim(), "30");
}
