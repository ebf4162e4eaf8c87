//! Quorum queues and Celery's native delayed delivery, with unmodified Python Celery at the other end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{sync::Arc, time::Duration};

use celery_protocol::delayed::DELIVERY_EXCHANGE;
use celery_runtime::{
    Arguments,
    broker::{ConnectOptions, PublishError, SharedBroker, connect},
    client::{Client, SendOptions},
    worker::{Worker, WorkerError},
};
use serde_json::{Map, Value, json};
use testkit::servers::{Process, Python, RabbitMq, VHost};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);

struct Lab {
    vhost: Arc<VHost>,
    broker: SharedBroker,
    client: Client,
    shutdown: CancellationToken,
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

impl Lab {
    async fn open() -> Self {
        let vhost = Arc::new(blocking(|| RabbitMq::shared().vhost()).await);
        let broker = connect(&vhost.amqp_url, ConnectOptions::default()).await.unwrap();
        let client = Client::new(broker.clone()).await.unwrap();
        Self { vhost, broker, client, shutdown: CancellationToken::new() }
    }

    /// A Python worker, which declares the queue, and sets up delayed delivery.
    async fn python(&self, queue: &'static str) -> Process {
        let url = self.vhost.amqp_url.clone();
        blocking(move || {
            let python = Python::spawn("quorum_peer.py", ["--broker", &url, "worker", queue], &[]);
            python.wait_for_line("worker ready", SOON);
            python
        })
        .await
    }

    /// The result of a task, called by a Python client.
    async fn asked_by_python(&self, queue: &'static str, task: &'static str, countdown: &'static str) -> Value {
        let url = self.vhost.amqp_url.clone();
        blocking(move || {
            let arguments = ["--broker", &url, "send", queue, task, countdown];
            Python::spawn("quorum_peer.py", arguments, &[]).wait(SOON).success().json()
        })
        .await
    }

    /// A worker of ours; its task returns the exchange of its message, and whether it came before its time.
    fn ours(&self, queue: &str) -> JoinHandle<Result<(), WorkerError>> {
        let worker = Worker::builder(self.broker.clone())
            .queue(queue)
            .delayed_delivery()
            .prefetch(2)
            .task("rust.add", |context, arguments: Arguments| async move {
                let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
                let eta = context.request().and_then(|request| request.headers.eta.as_ref().map(|eta| eta.timestamp()));
                let early = eta.is_some_and(|eta| celery_runtime::clock::now() < eta);
                Ok(json!({"sum": x + y, "exchange": context.exchange, "early": early}))
            })
            .build()
            .unwrap();
        tokio::spawn(worker.run(self.shutdown.clone()))
    }

    async fn call(&self, queue: &str, task: &str, options: SendOptions) -> Value {
        let sending = self.client.send(queue, task, vec![json!(2), json!(3)], Map::new(), options);
        sending.await.unwrap().get(SOON).await.unwrap()
    }
}

fn later(seconds: u64) -> SendOptions {
    SendOptions { countdown: Some(Duration::from_secs(seconds)), ..SendOptions::default() }
}

fn delayed(seconds: u64) -> SendOptions {
    SendOptions { delayed: true, ..later(seconds) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_queue_of_python_is_consumed_and_its_tasks_may_wait_in_the_broker() {
    let lab = Lab::open().await;
    // Python comes first: it declares both queues, one by a worker that ends.
    let python = lab.python("ours").await;
    drop(blocking(move || python.terminate(SOON).success()).await);
    let python = lab.python("theirs").await;
    let worker = lab.ours("ours");

    // As on any other queue.
    for _ in 0..20 {
        let sum = lab.call("ours", "rust.add", SendOptions::default()).await;
        assert_eq!(sum, json!({"sum": 5, "exchange": "", "early": false}));
    }
    assert_eq!(lab.call("theirs", "lab.add", SendOptions::default()).await, 5);

    // Without delayed delivery a task with an ETA waits in the worker.
    let sum = lab.call("ours", "rust.add", later(1)).await;
    assert_eq!(sum, json!({"sum": 5, "exchange": "", "early": false}));
    // With delayed delivery: sent by us, and by Python, to ours; and by us to Python.
    let expected = json!({"sum": 5, "exchange": DELIVERY_EXCHANGE, "early": false});
    assert_eq!(lab.call("ours", "rust.add", delayed(3)).await, expected);
    assert_eq!(lab.asked_by_python("ours", "rust.add", "3").await, expected);
    assert_eq!(lab.call("theirs", "lab.add", delayed(2)).await, 5);
    // A delay below one second is not delayed by the broker.
    let short = SendOptions { countdown: Some(Duration::from_millis(300)), ..delayed(0) };
    assert_eq!(lab.call("ours", "rust.add", short).await, json!({"sum": 5, "exchange": "", "early": false}));

    lab.shutdown.cancel();
    worker.await.unwrap().unwrap();
    drop(blocking(move || python.terminate(SOON).success()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_nobody_has_set_up_is_an_error_and_not_a_silence() {
    let lab = Lab::open().await;
    let worker = lab.ours("ours");
    lab.broker.declare_task_queue(&"ours".into()).await.unwrap();
    let outcome = lab.client.send("ours", "rust.add", vec![], Map::new(), delayed(60)).await;
    assert!(matches!(outcome, Err(PublishError::Unroutable { .. })), "{outcome:?}");
    lab.shutdown.cancel();
    worker.await.unwrap().unwrap();
}
