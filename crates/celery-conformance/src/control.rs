//! Rules for remote control and events.

use std::{sync::Arc, time::Duration};

use celery_protocol::{control::ControlReply, control::ControlRequest};
use celery_runtime::{
    broker::{Broker, Publish},
    client::{Client, Control, EventStream, SendOptions},
    worker::{RemoteControl, Worker, WorkerError, WorkerRegistry},
};
use serde_json::{Map, Value, json};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{A_WHILE, Fixture, SOON, no_kwargs};

/// A worker with the tasks `add` and `wait` (which ends when it is let go).
struct ControlledWorker {
    registry: Arc<WorkerRegistry>,
    let_go: Arc<Notify>,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), WorkerError>>,
}

impl ControlledWorker {
    async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.ended).await.unwrap().unwrap().unwrap();
    }
}

fn start(broker: Arc<dyn Broker>, node: &str, queue: &str, remote_control: RemoteControl) -> ControlledWorker {
    let let_go = Arc::new(Notify::new());
    let waits = let_go.clone();
    let worker = Worker::builder(broker)
        .name(node)
        .queue(queue)
        .prefetch(64)
        .remote_control(remote_control)
        .task("add", |_, arguments| async move {
            let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
            Ok(json!(x + y))
        })
        .task("wait", move |_, _| {
            let waits = waits.clone();
            async move {
                waits.notified().await;
                Ok(Value::Null)
            }
        })
        .build()
        .unwrap();
    let (registry, shutdown) = (worker.registry(), CancellationToken::new());
    let ended = tokio::spawn(worker.run(shutdown.clone()));
    ControlledWorker { registry, let_go, shutdown, ended }
}

/// One worker that listens already, and a client.
async fn one(fixture: &impl Fixture, remote_control: RemoteControl) -> (ControlledWorker, Client) {
    let running = start(fixture.connect().await, "a@h", "q", remote_control);
    let client = Client::new(fixture.connect().await).await.unwrap();
    listens(&client, "a@h").await;
    (running, client)
}

/// Waits until a worker answers.
async fn listens(client: &Client, node: &str) {
    let asking = async { while to(client, node).inspect("ping").await.unwrap().is_empty() {} };
    tokio::time::timeout(SOON, asking).await.expect("it does not answer");
}

/// A request to one worker, which returns with its answer.
fn to(client: &Client, node: &str) -> Control {
    client.control().to([node]).timeout(Duration::from_secs(5))
}

async fn ask(client: &Client, method: &str, arguments: Value) -> Value {
    let Value::Object(arguments) = arguments else { panic!("arguments") };
    let mut replies = to(client, "a@h").timeout(SOON).broadcast(method, arguments).await.unwrap();
    assert_eq!(replies.len(), 1, "{method}");
    replies.remove(0).value
}

fn names(replies: &[ControlReply]) -> Vec<&str> {
    replies.iter().map(|reply| reply.node.as_str()).collect()
}

pub async fn every_worker_answers_and_a_named_one_ends_the_wait(fixture: &impl Fixture) {
    let (first, client) = one(fixture, RemoteControl::Inspect).await;
    let second = start(fixture.connect().await, "b@h", "q2", RemoteControl::Inspect);
    let silent = start(fixture.connect().await, "c@h", "q3", RemoteControl::Off);
    listens(&client, "b@h").await;
    // It waits the whole time, since the number of workers is unknown.
    let all = client.control().timeout(Duration::from_secs(2)).inspect("ping").await.unwrap();
    assert_eq!(names(&all), ["a@h", "b@h"]);
    assert!(all.iter().all(|reply| reply.value == json!({"ok": "pong"})));
    let by_pattern = client.control().matching("b*").timeout(Duration::from_secs(2)).inspect("ping").await.unwrap();
    assert_eq!(names(&by_pattern), ["b@h"]);
    // It does not wait: the timeout is longer than the test may take.
    let named = client.control().to(["b@h"]).timeout(SOON * 10);
    let answered = tokio::time::timeout(SOON, named.inspect("ping")).await.unwrap().unwrap();
    assert_eq!(names(&answered), ["b@h"]);
    for running in [first, second, silent] {
        running.end().await;
    }
}

pub async fn a_worker_shows_its_tasks(fixture: &impl Fixture) {
    let (running, client) = one(fixture, RemoteControl::Inspect).await;
    client.call("q", "add", Map::from_iter([("x".into(), json!(1)), ("y".into(), json!(2))]), SOON).await.unwrap();
    let options = || SendOptions { task_id: Some("waits".into()), ..SendOptions::default() };
    let mut waits = client.send("q", "wait", vec![json!([1, "x"])], no_kwargs(), options()).await.unwrap();
    let active = loop {
        let active = ask(&client, "active", json!({})).await;
        // The other's result came, but it may not be acknowledged yet.
        if active[0]["id"] == "waits" {
            break active;
        }
    };
    // Arguments as text: a worker that only allows inspection does not show the values of tasks.
    assert_eq!((&active[0]["id"], &active[0]["args"]), (&json!("waits"), &json!("([1, 'x'],)")));
    assert_eq!(active[0]["delivery_info"]["routing_key"], "q");
    assert!(active[0]["time_start"].is_f64() && active[0]["worker_pid"].is_u64());
    let found = ask(&client, "query_task", json!({"ids": ["waits", "nope"]})).await;
    assert_eq!(found, json!({"waits": ["active", active[0]]}));
    assert_eq!(ask(&client, "registered", json!({})).await, json!(["add", "wait"]));
    assert_eq!(ask(&client, "reserved", json!({})).await, json!([]));
    assert_eq!(ask(&client, "scheduled", json!({})).await, json!([]));
    assert_eq!(ask(&client, "revoked", json!({})).await, json!([]));
    let stats = ask(&client, "stats", json!({})).await;
    assert_eq!(stats["total"], json!({"add": 1, "wait": 1}));
    assert_eq!(stats["pid"], std::process::id());
    assert_eq!(stats["pool"]["max-concurrency"], 64);
    assert_eq!(ask(&client, "active_queues", json!({})).await[0]["name"], "q");
    assert_eq!(ask(&client, "conf", json!({})).await["result_backend"], "rpc://");
    assert!(ask(&client, "report", json!({})).await["ok"].as_str().unwrap().contains("celery-runtime"));
    assert!(ask(&client, "clock", json!({})).await["clock"].as_u64().unwrap() > 0);
    assert_eq!(ask(&client, "memdump", json!({})).await, Value::Null);
    assert_eq!(ask(&client, "nosuch", json!({})).await, json!({"error": "KeyError('nosuch')"}));
    running.let_go.notify_one();
    waits.get(SOON).await.unwrap();
    running.end().await;
}

pub async fn a_command_that_changes_a_worker_is_refused_unless_allowed(fixture: &impl Fixture) {
    let (running, client) = one(fixture, RemoteControl::Inspect).await;
    for (method, arguments) in [
        ("shutdown", json!({})),
        ("revoke", json!({"task_id": "x", "terminate": true})),
        ("terminate", json!({"task_id": "x", "signal": "KILL"})),
        ("revoke_by_stamped_headers", json!({"headers": {"a": "b"}})),
        ("rate_limit", json!({"task_name": "add", "rate_limit": "1/h"})),
        ("time_limit", json!({"task_name": "add", "hard": 1})),
        ("add_consumer", json!({"queue": "other"})),
        ("cancel_consumer", json!({"queue": "q"})),
        ("pool_grow", json!({})),
        ("pool_shrink", json!({})),
        ("autoscale", json!({"max": 1})),
        ("pool_restart", json!({})),
    ] {
        let answer = ask(&client, method, arguments).await;
        let refused = format!("PermissionError('{method} is refused: this worker can only be inspected')");
        assert_eq!(answer, json!({"error": refused}));
    }
    // The revoked ids of another worker are not adopted either.
    let hello = ask(&client, "hello", json!({"from_node": "x@y", "revoked": ["a"]})).await;
    assert_eq!(hello["revoked"], json!([]));
    assert!(running.registry.revoked().is_empty() && running.registry.rate_limit("add").is_none());
    assert_eq!(running.registry.queues().len(), 1);
    client.call("q", "add", Map::from_iter([("x".into(), json!(1)), ("y".into(), json!(2))]), SOON).await.unwrap();
    running.end().await;
}

pub async fn a_worker_that_allows_changes_is_controlled(fixture: &impl Fixture) {
    let (running, client) = one(fixture, RemoteControl::Full).await;
    let ok = |text: &str| json!({"ok": text});
    let registry = running.registry.clone();
    let limit = async |limit: Value| ask(&client, "rate_limit", json!({"task_name": "add", "rate_limit": limit})).await;
    assert_eq!(limit(json!("10/m")).await, ok("new rate limit set successfully"));
    assert_eq!(ask(&client, "registered", json!({})).await, json!(["add [rate_limit=10/m]", "wait"]));
    assert_eq!(limit(json!(0)).await, ok("rate limit disabled successfully"));
    assert_eq!(registry.rate_limit("add"), None);
    assert_eq!(
        limit(json!("x/m")).await["error"],
        "Invalid rate limit string: ValueError(\"could not convert string to float: 'x'\")"
    );
    let unknown = ask(&client, "rate_limit", json!({"task_name": "nope", "rate_limit": 1})).await;
    assert_eq!(unknown, json!({"error": "unknown task"}));
    let limits = ask(&client, "time_limit", json!({"task_name": "add", "hard": 120, "soft": 60})).await;
    assert_eq!(limits, ok("time limits set successfully"));
    assert_eq!(registry.time_limits("add").soft, Some(Duration::from_secs(60)));
    let before = registry.prefetch();
    assert_eq!(ask(&client, "pool_grow", json!({"n": 2})).await, ok("pool will grow"));
    assert_eq!(registry.prefetch(), before + 2);
    assert_eq!(ask(&client, "pool_shrink", json!({})).await, ok("pool will shrink"));
    assert_eq!(registry.prefetch(), before + 1);
    assert_eq!(ask(&client, "autoscale", json!({"max": 4})).await["error"], "ValueError('Autoscale not enabled')");
    let revoke = ask(&client, "revoke", json!({"task_id": ["a1", "a2"], "terminate": false})).await;
    assert_eq!(revoke, ok("tasks {'a1', 'a2'} flagged as revoked"));
    let terminate = ask(&client, "revoke", json!({"task_id": "a3", "terminate": true})).await;
    assert_eq!(terminate, ok("terminate: tasks unknown"));
    assert_eq!(ask(&client, "revoked", json!({})).await, json!(["a1", "a2", "a3"]));
    assert_eq!(ask(&client, "add_consumer", json!({"queue": "extra"})).await, ok("add consumer extra"));
    assert_eq!(ask(&client, "active_queues", json!({})).await[1]["name"], "extra");
    let cancelled = ask(&client, "cancel_consumer", json!({"queue": "extra"})).await;
    assert_eq!(cancelled, ok("no longer consuming from extra"));
    assert_eq!(registry.queues().len(), 1);
    assert_eq!(ask(&client, "enable_events", json!({})).await, ok("task events enabled"));
    assert_eq!(ask(&client, "enable_events", json!({})).await, ok("task events already enabled"));
    assert_eq!(ask(&client, "disable_events", json!({})).await, ok("task events disabled"));
    // Last, and without an answer.
    client.control().cast("shutdown", no_kwargs()).await.unwrap();
    tokio::time::timeout(SOON, running.ended).await.unwrap().unwrap().unwrap();
}

pub async fn a_busy_worker_answers(fixture: &impl Fixture) {
    let (running, client) = one(fixture, RemoteControl::Inspect).await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(client.send("q", "wait", vec![], no_kwargs(), SendOptions::default()).await.unwrap());
    }
    while ask(&client, "active", json!({})).await.as_array().unwrap().len() < 64 {}
    assert_eq!(ask(&client, "ping", json!({})).await, json!({"ok": "pong"}));
    for mut waits in waiting {
        running.let_go.notify_one();
        // Another one may have been released: the waiting one is, in the end.
        while waits.get(A_WHILE).await.is_err() {
            running.let_go.notify_one();
        }
    }
    running.end().await;
}

pub async fn a_request_through_another_exchange_is_ignored(fixture: &impl Fixture) {
    let (running, client) = one(fixture, RemoteControl::Full).await;
    // A user who may write to the default exchange reaches the queue, but not its exchange.
    let shutdown = Publish::reply("a@h.celery.pidbox", ControlRequest::new("shutdown").to_message());
    client.broker().publish(shutdown).await.unwrap();
    assert_eq!(ask(&client, "ping", json!({})).await, json!({"ok": "pong"}));
    assert!(!running.registry.is_shutting_down());
    running.end().await;
}

pub async fn a_worker_sends_online_heartbeat_and_offline_events(fixture: &impl Fixture) {
    let client = Client::new(fixture.connect().await).await.unwrap();
    let mut events = client.events("worker.#").await.unwrap();
    let running = start(fixture.connect().await, "a@h", "q", RemoteControl::Inspect);
    let online = of_type(&mut events, "worker-online").await;
    assert_eq!((&online["hostname"], &online["freq"]), (&json!("a@h"), &json!(2.0)));
    let first = of_type(&mut events, "worker-heartbeat").await;
    let second = of_type(&mut events, "worker-heartbeat").await;
    assert!(first["clock"].as_u64() < second["clock"].as_u64());
    assert!(first["timestamp"].as_f64() < second["timestamp"].as_f64());
    running.end().await;
    of_type(&mut events, "worker-offline").await;
}

/// The next event of a type; skips the others.
async fn of_type(events: &mut EventStream, kind: &str) -> Map<String, Value> {
    let searching = async {
        loop {
            let event = events.next().await.expect("the stream ended");
            if event["type"] == kind {
                return event;
            }
        }
    };
    tokio::time::timeout(SOON, searching).await.unwrap_or_else(|_| panic!("no {kind} came"))
}

pub async fn a_starting_worker_learns_the_revoked_tasks(fixture: &impl Fixture) {
    let (first, client) = one(fixture, RemoteControl::Full).await;
    to(&client, "a@h").revoke(&["gone".to_owned()], false).await.unwrap();
    let second = start(fixture.connect().await, "b@h", "q2", RemoteControl::Full);
    super::eventually("it knows", || second.registry.revoked() == ["gone"]).await;
    // A worker that only allows inspection does not ask.
    let third = start(fixture.connect().await, "c@h", "q3", RemoteControl::Inspect);
    listens(&client, "c@h").await;
    assert!(third.registry.revoked().is_empty());
    for running in [first, second, third] {
        running.end().await;
    }
}
