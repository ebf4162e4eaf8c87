//! The worker from outside: tasks over a broker, real files, simulated signing workers.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celery_runtime::broker::memory::MemoryBroker;
use celery_runtime::client::{CallError, Client, SendOptions};
use celery_runtime::worker::Worker;
use celery_runtime::{Arguments, TaskError};
use durable_fs::{Fs, RealFs};
use fleet::contract::{
    ADD_TARGETS, ADMIN_EXCHANGE, AddTargets, FIND_NEW_TARGETS, FindNewTargets, MONITOR_QUEUE, PAUSE_PROCESSING,
    Processing, REFRESH_EXPIRY, RESUME_PROCESSING, RefreshExpiryResult, SNAPSHOT_QUEUE, STATUS, TARGETS_QUEUE,
    TIMESTAMP_QUEUE, UPDATE_SNAPSHOT, UPDATE_TIMESTAMP, UpdateResult, WorkerStatus,
};
use fleet::exceptions::{self, exception};
use fleet::{Config, Context};
use monitor_worker::{Chain, ChainError};
use serde_json::{Map, Value, json};
use service::clock::SystemClock;
use tokio_util::sync::CancellationToken;

use crate::scene::FakeChain;

const DEADLINE: Duration = Duration::from_secs(60);

struct Fleet {
    dir: tempfile::TempDir,
    client: Client,
    chain: Arc<FakeChain>,
    /// Exceptions with which `add-targets` fails first.
    failures: Arc<Mutex<VecDeque<TaskError>>>,
    asked: Arc<Mutex<Vec<String>>>,
    shutdown: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    monitor: tokio::task::JoinHandle<Result<(), fleet::FleetError>>,
}

impl Fleet {
    async fn start(scan_period: &str) -> Self {
        Self::start_with(&[("scheduler_scan_period", scan_period)]).await
    }

    async fn start_with(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = settings
            .iter()
            .fold(Config::beneath(dir.path()), |config, (key, value)| config.set(*key, *value))
            .set("publish_min_interval", "0")
            .set("instance", "test")
            .build()
            .unwrap();
        for path in [&config.post_to_tuf_path, &config.inbound_targets_path, &config.state_path] {
            RealFs.create_dir(path, 0o755).unwrap();
        }
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let broker = MemoryBroker::new();
        let shutdown = CancellationToken::new();
        let chain = Arc::new(FakeChain::new(fs.clone(), &config.inbound_targets_path));
        let failures: Arc<Mutex<VecDeque<TaskError>>> = Arc::default();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut tasks = Vec::new();
        for queue in [TARGETS_QUEUE, SNAPSHOT_QUEUE, TIMESTAMP_QUEUE] {
            let worker = play(queue, &broker, &chain, &failures, &asked);
            let shutdown = shutdown.clone();
            tasks.push(tokio::spawn(async move { worker.run(shutdown).await.unwrap() }));
        }
        let context = Context::new(
            monitor_worker::WORKER,
            Arc::new(config),
            fs,
            Arc::new(broker.connect()),
            Arc::new(SystemClock),
            shutdown.clone(),
        );
        let monitor = tokio::spawn(monitor_worker::run(context));
        let client = Client::new(Arc::new(broker.connect())).await.unwrap();
        // A queue exists once its worker has declared it.
        for queue in [MONITOR_QUEUE, TARGETS_QUEUE, SNAPSHOT_QUEUE, TIMESTAMP_QUEUE] {
            while let Err(CallError::Publish(_)) = client.call(queue, "ping", Map::new(), DEADLINE).await {
                tokio::task::yield_now().await;
            }
        }
        Self { dir, client, chain, failures, asked, shutdown, tasks, monitor }
    }

    fn post_dir(&self) -> PathBuf {
        self.dir.path().join("post_to_tuf")
    }

    fn post(&self, name: &str, files: &[(&str, &str)]) {
        let tmp = self.post_dir().join(format!("tuf_tmp_{name}"));
        RealFs.create_dir(&tmp, 0o755).unwrap();
        for (file, text) in files {
            RealFs.create_new(&tmp.join(file), 0o644).unwrap().write_all(text.as_bytes()).unwrap();
        }
        RealFs.rename(&tmp, &self.post_dir().join(format!("tuf_ready_{name}"))).unwrap();
    }

    async fn call(&self, task: &str, kwargs: Value, exchange: Option<&str>) -> Result<Value, CallError> {
        let Value::Object(kwargs) = kwargs else { panic!("arguments are an object") };
        let options = SendOptions { exchange: exchange.map(str::to_owned), ..SendOptions::default() };
        self.client.call_with(MONITOR_QUEUE, task, kwargs, options, DEADLINE).await
    }

    async fn find(&self) -> FindNewTargets {
        serde_json::from_value(self.call(FIND_NEW_TARGETS, json!({}), None).await.unwrap()).unwrap()
    }

    async fn status(&self) -> WorkerStatus {
        serde_json::from_value(self.call(STATUS, json!({}), None).await.unwrap()).unwrap()
    }

    /// Waits for the receipt of `name`: the file system or the scan period wakes the loop.
    async fn receipt(&self, name: &str) -> monitor_worker::receipt::Receipt {
        let path = self.post_dir().join(format!("tuf_receipt_{name}.json"));
        loop {
            if let Ok(receipt) = monitor_worker::receipt::Receipt::read(&RealFs, &path) {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.monitor.await.unwrap().unwrap();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// A worker that answers for a signing role from the recorded state.
fn play(
    queue: &'static str,
    broker: &MemoryBroker,
    chain: &Arc<FakeChain>,
    failures: &Arc<Mutex<VecDeque<TaskError>>>,
    asked: &Arc<Mutex<Vec<String>>>,
) -> Worker {
    let (adding, folding, showing) = (chain.clone(), chain.clone(), chain.clone());
    let (failures, asked) = (failures.clone(), asked.clone());
    let builder = Worker::builder(Arc::new(broker.connect())).queue(queue).task(
        REFRESH_EXPIRY,
        move |_, arguments: Arguments| {
            let asked = asked.clone();
            async move {
                let _: fleet::contract::RefreshExpiry = arguments.bind(&["force"])?;
                asked.lock().unwrap().push(queue.to_owned());
                Ok(json!({"renewed": {queue: 2}, "bins_renewed": 1}))
            }
        },
    );
    let done = |result: Result<Value, ChainError>| {
        result.map_err(|e| match e {
            ChainError::BatchMissing(text) => exception(exceptions::BATCH_MISSING, text),
            ChainError::Failed { reason, .. } => exception(exceptions::REFUSED, reason),
            other => exception(exceptions::INFRASTRUCTURE, other.to_string()),
        })
    };
    let builder = match queue {
        TARGETS_QUEUE => builder.task(ADD_TARGETS, move |_, arguments: Arguments| {
            let (chain, failures) = (adding.clone(), failures.clone());
            async move {
                let arguments: AddTargets = arguments.bind(&["batch", "targets"])?;
                if let Some(failure) = failures.lock().unwrap().pop_front() {
                    return Err(failure);
                }
                let batch = arguments.batch.expect("a batch");
                done(chain.add_targets(&batch).await.map(|result| serde_json::to_value(result).unwrap()))
            }
        }),
        SNAPSHOT_QUEUE => builder.task(UPDATE_SNAPSHOT, move |_, _| {
            let chain = folding.clone();
            async move { done(chain.update_snapshot().await.map(|result| serde_json::to_value(result).unwrap())) }
        }),
        _ => builder.task(UPDATE_TIMESTAMP, move |_, _| {
            let chain = showing.clone();
            async move { done(chain.update_timestamp().await.map(|result| serde_json::to_value(result).unwrap())) }
        }),
    };
    builder.build().unwrap()
}

fn class(error: CallError) -> String {
    match error {
        CallError::TaskFailed { exc_type, exc_module, .. } => format!("{}.{exc_type}", exc_module.unwrap()),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_is_published_without_anybody_asking() {
    let fleet = Fleet::start("0.05").await;
    fleet.post("X", &[("a", "a"), ("b", "b")]);
    let receipt = fleet.receipt("X").await;
    assert_eq!((receipt.targets, receipt.timestamp_version), (2, Some(1)));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn find_new_targets_runs_a_cycle_and_reports_it() {
    let fleet = Fleet::start("3600").await;
    assert_eq!(fleet.find().await, FindNewTargets::default());
    fleet.post("good", &[("a", "a")]);
    fleet.post("bad", &[("b", "BAD")]);
    // The notification may have been quicker: then there is nothing left to report.
    let mut all = FindNewTargets::default();
    while all.published + all.rejected < 2 && fleet.chain.books.lock().unwrap().batches.is_empty() {
        let found = fleet.find().await;
        all.published += found.published;
        all.rejected += found.rejected;
    }
    fleet.receipt("good").await;
    assert!(fleet.receipt("bad").await.reason.unwrap().contains("is bad"));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pausing_is_for_operators_and_stops_intake() {
    let fleet = Fleet::start("0.05").await;
    let refused = fleet.call(PAUSE_PROCESSING, json!({"reason": "x"}), None).await.unwrap_err();
    assert_eq!(class(refused), "tuf_fleet.exceptions.NotPermitted");
    // The state directory is opened right after the start.
    let paused = loop {
        match fleet.call(PAUSE_PROCESSING, json!({"reason": "re-binning"}), Some(ADMIN_EXCHANGE)).await {
            Ok(paused) => break paused,
            Err(error) => assert_eq!(class(error), "tuf_fleet.exceptions.NotReady"),
        }
    };
    let paused: Processing = serde_json::from_value(paused).unwrap();
    assert!(paused.paused);
    fleet.post("X", &[("a", "a")]);
    assert_eq!(fleet.find().await.waiting, 1);
    assert_eq!(fleet.find().await.taken, 0);
    let status = fleet.status().await;
    assert_eq!(status.processing.unwrap().reason.as_deref(), Some("re-binning"));
    assert_eq!(status.drops["ready"], 1);
    fleet.call(RESUME_PROCESSING, json!({}), Some(ADMIN_EXCHANGE)).await.unwrap();
    fleet.receipt("X").await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_other_workers_are_waited_out() {
    let fleet = Fleet::start("0.05").await;
    fleet.failures.lock().unwrap().extend([
        exception(exceptions::INFRASTRUCTURE, "disk full"),
        exception(exceptions::NOT_READY, "no root yet"),
        exception(exceptions::BATCH_MISSING, "not there"),
        TaskError::custom("celery.exceptions", "NotRegistered", "add-targets"),
    ]);
    fleet.post("X", &[("a", "a")]);
    let receipt = fleet.receipt("X").await;
    assert_eq!(receipt.outcome, monitor_worker::receipt::DropOutcome::Published);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_role_does_not_get_on_status_follows_the_drop_directory() {
    let fleet = Fleet::start("0.05").await;
    let fault = || exception(exceptions::INFRASTRUCTURE, "disk full");
    fleet.failures.lock().unwrap().extend(std::iter::repeat_with(fault).take(100_000));
    for (name, stage) in [("X", "processing"), ("Y", "ready")] {
        fleet.post(name, &[(name, "text")]);
        while fleet.status().await.drops.get(stage) != Some(&1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    fleet.failures.lock().unwrap().clear();
    fleet.receipt("X").await;
    fleet.receipt("Y").await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_names_the_drop_and_says_why_clients_do_not_see_it_yet() {
    let fleet = Fleet::start("0.05").await;
    let stale = UpdateResult { version: 7, snapshot: Some(0), ..UpdateResult::default() };
    fleet.chain.books.lock().unwrap().timestamp_answers = vec![stale; 100_000];
    fleet.post("X", &[("a", "a")]);
    loop {
        let status = fleet.status().await;
        let said = status.detail.unwrap_or_default();
        if said == "the served timestamp 7 names snapshot 0, and the batch is in snapshot 1"
            && status.waiting.iter().any(|drop| drop.name == "X" && drop.since.is_some())
        {
            break;
        }
    }
    assert!(RealFs.stat(&fleet.post_dir().join("tuf_receipt_X.json")).is_err(), "nothing is said before");
    fleet.chain.books.lock().unwrap().timestamp_answers.clear();
    assert_eq!(fleet.receipt("X").await.snapshot_version, Some(1));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_drop_is_rejected_with_the_text_of_the_worker() {
    let fleet = Fleet::start("0.05").await;
    fleet.post("X", &[("a", "POISON")]);
    let receipt = fleet.receipt("X").await;
    assert_eq!(receipt.reason.as_deref(), Some("the poison works"));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_expiry_asks_the_roles_in_order() {
    let fleet = Fleet::start("3600").await;
    let renewed = fleet.call(REFRESH_EXPIRY, json!({}), None).await.unwrap();
    let renewed: RefreshExpiryResult = serde_json::from_value(renewed).unwrap();
    assert_eq!(renewed.renewed.len(), 3);
    assert_eq!(renewed.bins_renewed, 3);
    assert_eq!(*fleet.asked.lock().unwrap(), [TARGETS_QUEUE, SNAPSHOT_QUEUE, TIMESTAMP_QUEUE]);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_renewal_does_not_pass_through_the_monitor() {
    let fleet = Fleet::start("3600").await;
    for exchange in [None, Some(ADMIN_EXCHANGE)] {
        let error = fleet.call(REFRESH_EXPIRY, json!({"force": true}), exchange).await.unwrap_err();
        assert_eq!(class(error), "tuf_fleet.exceptions.Refused");
    }
    assert!(fleet.asked.lock().unwrap().is_empty());
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_arguments_are_a_type_error() {
    let fleet = Fleet::start("3600").await;
    let error = fleet.call(FIND_NEW_TARGETS, json!({"surplus": 1}), None).await.unwrap_err();
    assert_eq!(class(error), "builtins.TypeError");
    assert_eq!(fleet.call("ping", json!({}), None).await.unwrap(), "pong");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_drop_directory_is_waited_for() {
    let fleet = Fleet::start("0.05").await;
    fleet.find().await;
    // A cycle that is under way may be trying whether it can write there.
    while let Err(error) = RealFs.remove_dir(&fleet.post_dir()) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty);
        tokio::task::yield_now().await;
    }
    let error = fleet.call(FIND_NEW_TARGETS, Map::new().into(), None).await.unwrap_err();
    assert_eq!(class(error), "tuf_fleet.exceptions.Infrastructure");
    // A cycle that began while it was there may end after this one.
    while fleet.status().await.state != "waiting" {
        tokio::task::yield_now().await;
    }
    RealFs.create_dir(Path::new(&fleet.post_dir()), 0o755).unwrap();
    fleet.post("X", &[("a", "a")]);
    fleet.receipt("X").await;
    fleet.stop().await;
}

/// Prints how long it took, and asserts that every drop is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_drops_and_a_thousand_at_once_are_published() {
    let fleet = Fleet::start("5").await;
    fleet.post("first", &[("first", "text")]);
    fleet.receipt("first").await;
    let mut took = Vec::new();
    for n in 0..20 {
        let name = format!("one{n}");
        let started = std::time::Instant::now();
        fleet.post(&name, &[(&name, "text")]);
        fleet.receipt(&name).await;
        took.push(started.elapsed());
    }
    took.sort();
    println!("one drop until its receipt: p50 {:?}, most {:?}", took[10], took[19]);
    for n in 0..1000 {
        let name = format!("many{n}");
        fleet.post(&name, &[(&name, "text")]);
    }
    let started = std::time::Instant::now();
    for n in 0..1000 {
        fleet.receipt(&format!("many{n}")).await;
    }
    println!("1000 drops until the last receipt: {:?}", started.elapsed());
    assert_eq!(fleet.chain.books.lock().unwrap().visible.len(), 1021);
    fleet.stop().await;
}

#[tokio::test]
async fn tasks_of_the_schedule_are_sent_and_their_times_are_kept() {
    let schedule = r#"{"refresh": {"task": "refresh-expiry", "queue": "targets-worker", "every": 1}}"#;
    let fleet = Fleet::start_with(&[("scheduler_scan_period", "3600"), ("schedule", schedule)]).await;
    let noted = fleet.dir.path().join("state/monitor/schedule.json");
    let waiting = async {
        while fleet.asked.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("nothing was sent");
    assert!(fleet.asked.lock().unwrap().iter().all(|queue| queue == TARGETS_QUEUE));
    assert!(RealFs.stat(&noted).is_ok(), "its times are not kept");
    fleet.stop().await;
}
