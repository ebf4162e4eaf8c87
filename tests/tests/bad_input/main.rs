//! Bad input: whatever a producer, an administrator, a broker or a disk does wrong is told clearly and loses nothing.
//!
//! Each test is named after what is wrong. `docs/bad-input.md` lists all of them, those of single crates included, with what
//! happens; `table.rs` holds it against the source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

mod broker;
mod configuration;
mod drops;
mod floods;
mod keys;
mod metadata;
mod mounts;
mod paths;
mod share;
mod sizes;
mod table;
mod tasks;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use celery_runtime::broker::{ConnectOptions, connect};
use celery_runtime::client::{CallError, Client, SendOptions};
use serde_json::{Map, Value, json};
use system_tests::{Files, Fleet, Keys, SNAPSHOT, TARGETS, TIMESTAMP, eventually, eventually_ok};
use testkit::servers::RabbitMq;

/// Longer than anything takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// Settings with which nothing waits for its period.
pub fn quick(more: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
    let mut settings =
        vec![("publish_min_interval", json!(0)), ("scheduler_scan_period", json!(1)), ("reconcile_period", json!(1))];
    settings.extend(more.iter().cloned());
    settings
}

/// A fleet that runs.
pub fn fleet() -> Fleet {
    Fleet::start(RabbitMq::shared().vhost(), Keys::Ed25519, &quick(&[]))
}

/// A fleet that is laid out, and of which nothing runs.
pub fn stopped(settings: &[(&'static str, Value)]) -> Fleet {
    Fleet::lay_out(RabbitMq::shared().vhost(), Keys::Ed25519, &quick(settings))
}

/// A fleet whose monitor is yet to be started: what is posted until then is one batch.
pub fn without_monitor(settings: &[(&'static str, Value)]) -> Fleet {
    let mut fleet = stopped(settings);
    for worker in [TARGETS, SNAPSHOT, TIMESTAMP] {
        fleet.start_worker(worker);
    }
    fleet.wait_ready();
    fleet
}

/// Files by path.
pub fn files<const N: usize>(files: [(&str, &str); N]) -> Files {
    files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).into()
}

/// An empty `tuf_tmp_NAME`, to be filled in unusual ways.
pub fn unfinished(fleet: &Fleet, name: &str) -> std::path::PathBuf {
    let dir = fleet.post().join(format!("tuf_tmp_{name}"));
    fs::create_dir(&dir).unwrap();
    dir
}

/// Runs a program every system has.
pub fn run(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> bool {
    let mut command = Command::new(program);
    for argument in arguments {
        command.arg(argument.as_ref());
    }
    command.output().unwrap().status.success()
}

/// Sets permission bits.
pub fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Waits for a batch that the targets-worker is yet to sign; its directory's name.
#[track_caller]
pub fn batch(fleet: &Fleet) -> String {
    eventually("a visible batch", || {
        let names =
            fs::read_dir(fleet.inbound()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.into_iter().find(|name| name.starts_with("batch_"))
    })
}

/// Waits until a worker logs a line with `text`.
#[track_caller]
pub fn logged(fleet: &Fleet, worker: &str, text: &str) -> String {
    eventually_ok(&format!("{worker} says {text:?}"), || {
        let log = fleet.log_of(worker);
        log.lines().find(|line| line.contains(text)).map(str::to_owned).ok_or(log)
    })
}

/// What a task raised: class and message.
#[derive(Debug, PartialEq, Eq)]
pub struct Raised(pub String, pub String);

/// Somebody who sends tasks to the workers of a fleet.
#[allow(missing_debug_implementations, reason = "a client has nothing to show")]
pub struct Caller {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Caller {
    /// In the fleet's virtual host.
    pub fn of(fleet: &Fleet) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let broker = connect(&fleet.vhost().amqp_url, ConnectOptions::default()).await.unwrap();
            Client::new(broker).await.unwrap()
        });
        Self { runtime, client }
    }

    /// Sends a task and returns what its result is.
    #[track_caller]
    pub fn call(&self, queue: &str, task: &str, arguments: Value) -> Result<Value, Raised> {
        self.send(queue, task, arguments, SendOptions::default())
    }

    /// As an operator, through the exchange that only they may write to.
    #[track_caller]
    pub fn operate(&self, queue: &str, task: &str, arguments: Value) -> Result<Value, Raised> {
        let exchange = Some(fleet::contract::ADMIN_EXCHANGE.to_owned());
        self.send(queue, task, arguments, SendOptions { exchange, ..SendOptions::default() })
    }

    /// As [`Caller::call`], in an unusual way.
    #[track_caller]
    pub fn send(&self, queue: &str, task: &str, arguments: Value, options: SendOptions) -> Result<Value, Raised> {
        let arguments: Map<String, Value> = match arguments {
            Value::Object(arguments) => arguments,
            other => panic!("keyword arguments, not {other}"),
        };
        // A worker that is starting has not declared its queue yet: nothing was sent, and the same is sent again.
        let mut pending = eventually_ok(&format!("{queue} takes a task"), || {
            let sent = self.client.send(queue, task, vec![], arguments.clone(), options.clone());
            self.runtime.block_on(sent).map_err(|error| error.to_string())
        });
        match self.runtime.block_on(pending.get(SOON)) {
            Ok(value) => Ok(value),
            Err(CallError::TaskFailed { exc_type, messages, .. }) => {
                let text = messages.first().and_then(Value::as_str).unwrap_or_default();
                Err(Raised(exc_type, text.to_owned()))
            }
            Err(other) => panic!("{task} on {queue}: {other}"),
        }
    }
}
