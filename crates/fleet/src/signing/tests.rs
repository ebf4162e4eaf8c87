use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use celery_runtime::broker::memory::MemoryBroker;
use celery_runtime::broker::{Broker, ConnectOptions, connect};
use celery_runtime::client::{Client, SendOptions};
use durable_fs::RealFs;
use serde_json::{Map, Value, json};
use service::clock::ManualClock;
use service::health::HealthState;
use service::metrics::MetricsFormat;
use tokio::sync::mpsc as channel;
use tokio_util::sync::CancellationToken;
use tuf_core::time::UtcTime;

use super::*;
use crate::contract::ADMIN_EXCHANGE;
use crate::roles::WorkerRole;
use crate::{Config, WorkerInfo, exceptions};

const QUEUE: &str = "snapshot-worker";
const LONG: Duration = Duration::from_secs(30);

/// One call of the role.
enum Step {
    Do(ReconcileOutcome),
    Fail(SigningError),
    Panic,
}

/// A role that follows a script; with the script at its end it has nothing to do.
struct Scripted {
    opening: usize,
    script: Arc<Mutex<VecDeque<Step>>>,
    events: channel::UnboundedSender<String>,
    renewal: Option<UtcTime>,
}

impl SigningRole for Scripted {
    fn reconcile(&mut self, _now: UtcTime, force: bool) -> Result<ReconcileOutcome, SigningError> {
        let _ = self.events.send(format!("reconcile {} {force}", self.opening));
        let step = self.script.lock().unwrap().pop_front();
        match step {
            None => Ok(ReconcileOutcome::default()),
            Some(Step::Do(progress)) => Ok(progress),
            Some(Step::Fail(error)) => Err(error),
            Some(Step::Panic) => panic!("out of paper"),
        }
    }

    fn tidy(&mut self, _now: UtcTime) -> Result<bool, SigningError> {
        let _ = self.events.send("tidy".into());
        match self.script.lock().unwrap().pop_front() {
            Some(Step::Fail(error)) => Err(error),
            _ => Ok(true),
        }
    }

    fn report(&self, _now: UtcTime) -> RoleReport {
        RoleReport {
            role_version: Some(7),
            expires: Some(UtcTime::from_unix(86_400)),
            next_renewal: self.renewal,
            also_expire: BTreeMap::from([("root", UtcTime::from_unix(172_800))]),
            floor: BTreeMap::from([("record".to_owned(), 3)]),
            notices: vec!["a lock is held".to_owned()],
        }
    }
}

struct Fleet {
    context: Context,
    events: channel::UnboundedReceiver<String>,
    running: tokio::task::JoinHandle<Result<(), FleetError>>,
}

impl Fleet {
    /// A worker over `broker` whose role follows `script` once `openings` (each an error) are through.
    fn start(broker: Arc<dyn Broker>, openings: Vec<SigningError>, script: Vec<Step>) -> Self {
        Self::start_with(broker, openings, script, "3600", None)
    }

    fn start_with(
        broker: Arc<dyn Broker>,
        openings: Vec<SigningError>,
        script: Vec<Step>,
        period: &str,
        renewal: Option<UtcTime>,
    ) -> Self {
        let config = Config::beneath(Path::new("/nonexistent")).set("reconcile_period", period).build().unwrap();
        let worker = WorkerInfo { name: QUEUE, role: WorkerRole::Snapshot, about: "" };
        let clock = Arc::new(ManualClock::at(0));
        let context = Context::new(worker, Arc::new(config), Arc::new(RealFs), broker, clock, CancellationToken::new());
        let (sender, events) = channel::unbounded_channel();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let mut openings = VecDeque::from(openings);
        let mut opening = 0;
        let open = move || {
            opening += 1;
            let _ = sender.send(format!("open {opening}"));
            match openings.pop_front() {
                Some(error) => Err(error),
                None => Ok(Scripted { opening, script: script.clone(), events: sender.clone(), renewal }),
            }
        };
        let running = tokio::spawn(crate::process::host(context.clone(), move |context| run(context, open, add_tasks)));
        Self { context, events, running }
    }

    async fn next(&mut self) -> String {
        self.events.recv().await.unwrap()
    }

    async fn end(self) -> Result<(), FleetError> {
        self.context.shutdown.cancel();
        self.running.await.unwrap()
    }
}

/// `wait` works until the gate opens; `fail` is refused.
static GATES: Mutex<BTreeMap<String, mpsc::Receiver<()>>> = Mutex::new(BTreeMap::new());

fn add_tasks(builder: WorkerBuilder, shared: Arc<SharedRole<Scripted>>) -> WorkerBuilder {
    let refusing = shared.clone();
    builder
        .task("wait", move |_, arguments: Arguments| {
            let shared = shared.clone();
            async move {
                let (gate,): (String,) = arguments.bind_tuple(&["gate"])?;
                let gate = GATES.lock().unwrap().remove(&gate).unwrap();
                let opening = shared.with("wait", move |role, _| {
                    gate.recv().map(|()| role.opening).map_err(|_| SigningError::infrastructure("the gate is gone"))
                });
                Ok(opening.await?.into())
            }
        })
        .task("fail", move |_, _| {
            let shared = refusing.clone();
            async move { Ok(shared.with("fail", |_, _| Err::<Value, _>(SigningError::refused("not like that"))).await?) }
        })
}

async fn call(client: &Client, task: &str, kwargs: Value) -> Result<Value, String> {
    let kwargs: Map<String, Value> = serde_json::from_value(kwargs).unwrap();
    client.call(QUEUE, task, kwargs, LONG).await.map_err(|error| error.to_string())
}

/// As an operator sends it.
async fn call_as_operator(client: &Client, task: &str, kwargs: Value) -> Result<Value, String> {
    let kwargs: Map<String, Value> = serde_json::from_value(kwargs).unwrap();
    let options = SendOptions { exchange: Some(ADMIN_EXCHANGE.into()), ..SendOptions::default() };
    client.call_with(QUEUE, task, kwargs, options, LONG).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_role_reconciles_at_start_and_periodically_while_the_broker_is_away() {
    // No broker listens there.
    let broker = connect("amqp://nobody:nothing@127.0.0.1:1/none", ConnectOptions::default()).await.unwrap();
    let mut fleet = Fleet::start_with(broker, vec![], vec![], "0.001", None);
    assert_eq!(fleet.next().await, "open 1");
    for _ in 0..3 {
        assert_eq!(fleet.next().await, "reconcile 1 false");
    }
    assert_eq!(fleet.context.health.settled(), HealthState::Ready);
    assert_eq!(fleet.context.health.missing(), ["the broker is not connected"]);
    fleet.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_made_when_it_is_due() {
    let broker = Arc::new(MemoryBroker::new().connect());
    let due = Some(UtcTime::from_unix(1_500));
    let mut fleet = Fleet::start_with(broker, vec![], vec![], "86400", due);
    assert_eq!(fleet.next().await, "open 1");
    assert_eq!(fleet.next().await, "reconcile 1 false");
    let first = tokio::time::Instant::now();
    assert_eq!(fleet.next().await, "reconcile 1 false");
    assert_eq!(first.elapsed().as_secs(), 1_500);
    fleet.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn work_of_a_task_is_renewed_when_it_is_due_although_the_loop_waits_for_longer() {
    let broker = MemoryBroker::new();
    let script = vec![Step::Fail(SigningError::alarm("not yet"))];
    let due = Some(UtcTime::from_unix(10));
    let mut fleet = Fleet::start_with(Arc::new(broker.connect()), vec![], script, "86400", due);
    assert_eq!(fleet.next().await, "open 1");
    assert_eq!(fleet.next().await, "reconcile 1 false");
    let client = Client::new(Arc::new(broker.connect())).await.unwrap();
    call(&client, "refresh-expiry", json!({})).await.unwrap();
    assert_eq!(fleet.next().await, "reconcile 1 false");
    let signed = tokio::time::Instant::now();
    assert_eq!(fleet.next().await, "reconcile 1 false");
    assert_eq!(signed.elapsed().as_secs(), 10);
    fleet.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_with_a_growing_pause_and_alarms_at_the_period() {
    let waiting = || SigningError::waiting("no root yet");
    let script =
        vec![Step::Fail(SigningError::infrastructure("no space")), Step::Fail(SigningError::alarm("below the floor"))];
    let broker = Arc::new(MemoryBroker::new().connect());
    let mut fleet = Fleet::start_with(broker, vec![waiting(), waiting(), waiting()], script, "3600", None);
    let mut pauses = Vec::new();
    assert_eq!(fleet.next().await, "open 1");
    for event in ["open 2", "open 3", "open 4"] {
        let before = tokio::time::Instant::now();
        assert_eq!(fleet.next().await, event);
        pauses.push(before.elapsed().as_millis());
    }
    assert_eq!(pauses, [100, 200, 400]);
    assert_eq!(fleet.next().await, "reconcile 4 false");
    assert_eq!(fleet.next().await, "reconcile 4 false");
    let alarmed = tokio::time::Instant::now();
    assert_eq!(fleet.next().await, "reconcile 4 false");
    assert_eq!(alarmed.elapsed().as_secs(), 3_600);
    fleet.end().await.unwrap();
}

#[tokio::test]
async fn ping_and_status_are_answered_while_work_is_blocked() {
    let broker = MemoryBroker::new();
    let (open_gate, gate) = mpsc::channel();
    GATES.lock().unwrap().insert("blocked".into(), gate);
    let mut fleet = Fleet::start(Arc::new(broker.connect()), vec![], vec![]);
    assert_eq!(fleet.next().await, "open 1");
    assert_eq!(fleet.next().await, "reconcile 1 false");
    let client = Arc::new(Client::new(Arc::new(broker.connect())).await.unwrap());
    let blocked = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "wait", json!({"gate": "blocked"})).await }
    });
    while GATES.lock().unwrap().contains_key("blocked") {
        tokio::task::yield_now().await;
    }
    assert_eq!(call(&client, "ping", json!({})).await, Ok("pong".into()));
    let status = call(&client, "status", json!({})).await.unwrap();
    assert_eq!((&status["worker"], &status["role"]), (&json!(QUEUE), &json!("snapshot")));
    assert_eq!(status["broker_connected"], true);
    open_gate.send(()).unwrap();
    assert_eq!(blocked.await.unwrap(), Ok(1.into()));
    let status = call(&client, "status", json!({})).await.unwrap();
    assert_eq!(status["state"], "ready");
    assert_eq!(status["role_version"], 7);
    assert_eq!(status["expires"], "1970-01-02T00:00:00Z");
    assert_eq!(status["also_expire"], json!({"root": "1970-01-03T00:00:00Z"}));
    assert_eq!(status["floor"], json!({"record": 3}));
    assert_eq!(status["notices"], json!(["a lock is held"]));
    fleet.end().await.unwrap();
}

#[tokio::test]
async fn a_forced_renewal_is_for_operators_alone() {
    let broker = MemoryBroker::new();
    let mut fleet = Fleet::start(Arc::new(broker.connect()), vec![], vec![]);
    assert_eq!(fleet.next().await, "open 1");
    assert_eq!(fleet.next().await, "reconcile 1 false");
    let client = Client::new(Arc::new(broker.connect())).await.unwrap();
    let error = call(&client, "refresh-expiry", json!({"force": true})).await.unwrap_err();
    assert!(error.contains(exceptions::NOT_PERMITTED) && error.contains("refresh-expiry with `force`"), "{error}");
    call(&client, "refresh-expiry", json!({})).await.unwrap();
    assert_eq!(fleet.next().await, "reconcile 1 false");
    call_as_operator(&client, "refresh-expiry", json!({"force": true})).await.unwrap();
    assert_eq!(fleet.next().await, "reconcile 1 true");
    fleet.end().await.unwrap();
}

#[tokio::test]
async fn a_panic_opens_the_role_again_and_poisons_nothing() {
    let broker = MemoryBroker::new();
    let renewed = ReconcileOutcome {
        version: 8,
        changed: true,
        renewed: BTreeMap::from([("snapshot".into(), 8)]),
        ..ReconcileOutcome::default()
    };
    let script = vec![Step::Do(ReconcileOutcome::default()), Step::Panic, Step::Do(renewed)];
    let mut fleet = Fleet::start(Arc::new(broker.connect()), vec![], script);
    assert_eq!(fleet.next().await, "open 1");
    assert_eq!(fleet.next().await, "reconcile 1 false");
    let client = Client::new(Arc::new(broker.connect())).await.unwrap();
    let error = call_as_operator(&client, "refresh-expiry", json!({"force": true})).await.unwrap_err();
    assert!(error.contains(exceptions::INTERNAL) && error.contains("out of paper"), "{error}");
    assert!(matches!(fleet.context.health.settled(), HealthState::Alarm(_)));
    let result = call_as_operator(&client, "refresh-expiry", json!({"force": true})).await.unwrap();
    assert_eq!(result, json!({"renewed": {"snapshot": 8}, "bins_renewed": 0}));
    assert_eq!(fleet.context.health.settled(), HealthState::Ready);
    assert_eq!(fleet.context.health.status().last_work.as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!(fleet.next().await, "reconcile 1 true");
    assert_eq!(fleet.next().await, "open 2");
    assert_eq!(fleet.next().await, "reconcile 2 true");
    let metrics = fleet.context.metrics.process().render(MetricsFormat::OpenMetrics);
    assert!(metrics.contains("tuf_fleet_tasks_total{task=\"refresh-expiry\",outcome=\"panic\"} 1"), "{metrics}");
    assert!(metrics.contains("tuf_fleet_role_version{role=\"snapshot\"} 7"), "{metrics}");
    fleet.end().await.unwrap();
}

#[tokio::test]
async fn a_callers_fault_is_a_typed_exception_and_says_nothing_of_the_role() {
    let broker = MemoryBroker::new();
    let mut fleet = Fleet::start(Arc::new(broker.connect()), vec![], vec![]);
    assert_eq!(fleet.next().await, "open 1");
    let client = Client::new(Arc::new(broker.connect())).await.unwrap();
    let error = call(&client, "fail", json!({})).await.unwrap_err();
    assert!(error.contains("Refused") && error.contains("not like that"), "{error}");
    assert_eq!(fleet.context.health.settled(), HealthState::Ready);
    let error = call(&client, "refresh-expiry", json!({"forse": true})).await.unwrap_err();
    assert!(error.contains("TypeError") && error.contains("forse"), "{error}");
    fleet.end().await.unwrap();
}

#[tokio::test]
async fn an_alarm_stays_until_a_reconciliation_succeeds() {
    let broker = MemoryBroker::new();
    let (open_gate, gate) = mpsc::channel();
    GATES.lock().unwrap().insert("alarmed".into(), gate);
    open_gate.send(()).unwrap();
    let script = vec![Step::Fail(SigningError::alarm("a bad signature"))];
    let mut fleet = Fleet::start(Arc::new(broker.connect()), vec![], script);
    assert_eq!(fleet.next().await, "open 1");
    assert_eq!(fleet.next().await, "reconcile 1 false");
    let client = Client::new(Arc::new(broker.connect())).await.unwrap();
    assert_eq!(call(&client, "wait", json!({"gate": "alarmed"})).await, Ok(1.into()));
    assert_eq!(fleet.context.health.settled(), HealthState::Alarm("a bad signature".into()));
    call(&client, "refresh-expiry", json!({})).await.unwrap();
    assert_eq!(fleet.context.health.settled(), HealthState::Ready);
    fleet.end().await.unwrap();
}

#[tokio::test]
async fn tidying_that_fails_says_nothing_of_the_role() {
    let broker = MemoryBroker::new();
    let mut fleet = Fleet::start(Arc::new(broker.connect()), vec![], vec![]);
    assert_eq!(fleet.next().await, "open 1");
    let (sender, mut events) = channel::unbounded_channel();
    let failure = Step::Fail(SigningError::infrastructure("a read-only mount"));
    let script = Arc::new(Mutex::new(VecDeque::from([failure])));
    let open = move || Ok(Scripted { opening: 1, script: script.clone(), events: sender.clone(), renewal: None });
    let shared = SharedRole::new(&fleet.context, Box::new(open));
    assert!(!shared.tidy().await);
    assert_eq!(fleet.context.health.settled(), HealthState::Ready);
    assert!(shared.tidy().await, "there is more to do");
    assert_eq!([events.recv().await.unwrap(), events.recv().await.unwrap()], ["tidy", "tidy"]);
    fleet.end().await.unwrap();
}

#[tokio::test]
async fn work_under_way_is_finished_before_the_worker_ends() {
    let broker = MemoryBroker::new();
    let (open_gate, gate) = mpsc::channel();
    GATES.lock().unwrap().insert("ending".into(), gate);
    let mut fleet = Fleet::start(Arc::new(broker.connect()), vec![], vec![]);
    assert_eq!(fleet.next().await, "open 1");
    let client = Arc::new(Client::new(Arc::new(broker.connect())).await.unwrap());
    let blocked = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "wait", json!({"gate": "ending"})).await }
    });
    while GATES.lock().unwrap().contains_key("ending") {
        tokio::task::yield_now().await;
    }
    fleet.context.shutdown.cancel();
    tokio::task::yield_now().await;
    assert!(!fleet.running.is_finished());
    open_gate.send(()).unwrap();
    assert_eq!(blocked.await.unwrap(), Ok(1.into()));
    fleet.end().await.unwrap();
}

#[test]
fn each_error_becomes_the_exception_for_the_callers_next_step() {
    use crate::exceptions::{ALARM, INFRASTRUCTURE, INTERNAL, MODULE, NOT_READY, REFUSED};
    for (error, expected) in [
        (SigningError::waiting("x"), NOT_READY),
        (SigningError::infrastructure("x"), INFRASTRUCTURE),
        (SigningError::Panicked { task: "x", message: "x".into() }, INTERNAL),
        (SigningError::alarm("x"), ALARM),
        (SigningError::refused("x"), REFUSED),
    ] {
        let error: celery_runtime::TaskError = error.into();
        assert_eq!((error.exc_module.as_str(), error.exc_type.as_str()), (MODULE, expected));
    }
}
