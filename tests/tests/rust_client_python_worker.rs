//! Our Celery client asks an unmodified Python Celery worker over RabbitMQ.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use celery_runtime::broker::{ConnectOptions, connect};
use celery_runtime::client::{CallError, Client, SendOptions};
use serde_json::{Map, Value, json};
use testkit::servers::{Process, Python, RabbitMq, VHost};

const SOON: Duration = Duration::from_secs(60);
const QUEUE: &str = "lab";

struct Lab {
    client: Client,
    worker: Process,
    _vhost: VHost,
}

impl Lab {
    async fn open() -> Self {
        let (vhost, worker) = tokio::task::spawn_blocking(|| {
            let vhost = RabbitMq::shared().vhost();
            let arguments = ["--broker", &vhost.amqp_url, "--queue", QUEUE];
            let worker = Python::spawn("celery_worker.py", arguments, &[]);
            worker.wait_for_line("worker ready", SOON);
            (vhost, worker)
        })
        .await
        .unwrap();
        let broker = connect(&vhost.amqp_url, ConnectOptions::default()).await.unwrap();
        Self { client: Client::new(broker).await.unwrap(), worker, _vhost: vhost }
    }

    async fn call(&self, task: &str, kwargs: Value) -> Result<Value, CallError> {
        self.client.call(QUEUE, task, object(kwargs), SOON).await
    }
}

fn object(kwargs: Value) -> Map<String, Value> {
    match kwargs {
        Value::Object(map) => map,
        other => panic!("{other} is not an object"),
    }
}

/// Class, module and arguments of the exception a task ended with.
fn raised(outcome: Result<Value, CallError>) -> (String, Option<String>, Vec<Value>) {
    match outcome {
        Err(CallError::TaskFailed { exc_type, exc_module, messages, .. }) => (exc_type, exc_module, messages),
        other => panic!("not a failure of the task: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_back_from_a_python_worker() {
    let lab = Lab::open().await;

    assert_eq!(lab.call("lab.add", json!({"x": 2, "y": 3})).await.unwrap(), 5);
    let hard =
        json!({"text": "ü \u{1f4a1} \"\\", "none": null, "deep": [[{"a": [1, -2, 3.5, true]}]], "big": 1_u64 << 53});
    let echo = lab.call("lab.echo", hard.clone()).await.unwrap();
    assert_eq!(echo, json!({"args": [], "kwargs": hard}));

    let sending = lab.client.send(QUEUE, "lab.add", vec![json!("a"), json!("b")], Map::new(), SendOptions::default());
    let mut positional = sending.await.unwrap();
    assert_eq!(positional.get(SOON).await.unwrap(), "ab");

    let sending = lab.client.send(QUEUE, "lab.progress", vec![json!(3)], Map::new(), SendOptions::default());
    let mut progress = sending.await.unwrap();
    assert_eq!(progress.get(SOON).await.unwrap(), 3, "states on the way are no results");
    assert_eq!(lab.call("lab.retry", json!({"times": 2})).await.unwrap(), 2, "nor is a retry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_exception_arrives_with_its_type() {
    let lab = Lab::open().await;

    let failed = raised(lab.call("lab.fail", json!({"message": "no such luck"})).await);
    assert_eq!(failed, ("ValueError".into(), Some("builtins".into()), vec![json!("no such luck")]));

    let (class, _, messages) = raised(lab.call("lab.fail_custom", json!({"a": 1, "b": "two"})).await);
    assert_eq!((class.as_str(), messages), ("LabError", vec![json!(1), json!("two")]));

    let (class, module, messages) = raised(lab.call("lab.add", json!({"x": 1})).await);
    assert_eq!((class.as_str(), module.as_deref()), ("TypeError", Some("builtins")));
    assert!(messages[0].as_str().unwrap().contains("'y'"), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_start_in_time_is_not_started_any_more() {
    let Lab { client, worker, _vhost } = Lab::open().await;

    // The only slot of the worker is taken, so that the call behind it waits for longer than its deadline.
    let sending = client.send(QUEUE, "lab.sleep", vec![json!(2)], Map::new(), SendOptions::default());
    let mut first = sending.await.unwrap();
    let kwargs = object(json!({"x": 1, "y": 1}));
    let late = client.call(QUEUE, "lab.add", kwargs, Duration::from_millis(200)).await;
    assert!(matches!(late, Err(CallError::Timeout { .. })), "{late:?}");

    assert_eq!(first.get(SOON).await.unwrap(), "slept");
    // The queue is served in order: once this is answered, the late one has been dealt with.
    let after = object(json!({"x": 40, "y": 2}));
    assert_eq!(client.call(QUEUE, "lab.add", after, SOON).await.unwrap(), 42);

    let log = tokio::task::spawn_blocking(move || worker.terminate(SOON).success().stderr).await.unwrap();
    let ran = log.lines().filter(|line| line.contains("lab.add[") && line.contains("succeeded")).count();
    assert_eq!(ran, 1, "the late call ran\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_expired_is_answered_as_revoked() {
    let Lab { client, worker: _worker, _vhost } = Lab::open().await;

    // The worker takes it at once and holds it until its time; by then it has expired.
    let options = SendOptions {
        countdown: Some(Duration::from_millis(1500)),
        expires_in: Some(Duration::from_millis(500)),
        ..SendOptions::default()
    };
    let sending = client.send(QUEUE, "lab.add", vec![json!(1), json!(1)], Map::new(), options);
    let outcome = sending.await.unwrap().get(SOON).await;
    assert!(matches!(outcome, Err(CallError::Revoked { .. })), "{outcome:?}");
}
