//! RabbitMQ takes the channel of a consumer that has not acknowledged for half an hour (406 PRECONDITION_FAILED, "delivery
//! acknowledgement on channel timed out"), and here for some seconds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use celery_runtime::{
    broker::{ConnectOptions, SharedBroker, connect},
    client::{Client, PendingResult, SendOptions},
    worker::{TaskContext, Worker, WorkerCounters, WorkerError},
};
use serde_json::{Map, json};
use testkit::servers::{PrivateRabbitMq, VHost};
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);
/// Short, for what is to meet with it.
const SHORT: u32 = 3;
/// Long enough for what is not to meet with it, however busy the machine.
const LONG: u32 = 12;
const QUEUE: &str = "slow";

struct Lab {
    client: Client,
    counters: Arc<WorkerCounters>,
    runs: Arc<Mutex<BTreeMap<String, usize>>>,
    gate: Arc<Semaphore>,
    shutdown: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
    broker: Option<(VHost, PrivateRabbitMq)>,
}

impl Lab {
    /// A worker with a task that waits for the gate and one that does not.
    async fn open(timeout: u32, hold: Duration) -> Self {
        let broker = tokio::task::spawn_blocking(move || {
            let rabbit = PrivateRabbitMq::start_with_consumer_timeout(timeout);
            (rabbit.vhost(), rabbit)
        });
        let broker = broker.await.unwrap();
        let connection: SharedBroker = connect(&broker.0.amqp_url, ConnectOptions::default()).await.unwrap();
        connection.declare_task_queue(&QUEUE.into()).await.unwrap();
        let (runs, gate) = (Arc::<Mutex<BTreeMap<String, usize>>>::default(), Arc::new(Semaphore::new(0)));
        let (notes, wait) = (runs.clone(), gate.clone());
        let note = move |context: &TaskContext| {
            *notes.lock().unwrap().entry(context.task_id.clone()).or_default() += 1;
        };
        let noted = note.clone();
        let worker = Worker::builder(connection.clone())
            .queue(QUEUE)
            .prefetch(4)
            .hold(hold)
            .task("slow", move |context, _| {
                note(&context);
                let wait = wait.clone();
                async move {
                    wait.acquire().await.unwrap().forget();
                    Ok(json!("done"))
                }
            })
            .task("quick", move |context, _| {
                noted(&context);
                async { Ok(json!("done")) }
            })
            .build()
            .unwrap();
        let (counters, shutdown) = (worker.counters(), CancellationToken::new());
        let worker = tokio::spawn(worker.run(shutdown.clone()));
        let client = Client::new(connection).await.unwrap();
        Self { client, counters, runs, gate, shutdown, worker, broker: Some(broker) }
    }

    async fn send(&self, task: &str, id: &str, countdown: Option<Duration>) -> PendingResult {
        let options = SendOptions { task_id: Some(id.to_owned()), countdown, ..SendOptions::default() };
        self.client.send(QUEUE, task, vec![], Map::new(), options).await.unwrap()
    }

    async fn redelivered(&self, count: u64) {
        let deadline = Instant::now() + SOON;
        while self.counters.snapshot().redelivered < count {
            assert!(Instant::now() < deadline, "not redelivered {count} times: {:?}", self.counters.snapshot());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Each of these has run once; nothing is left to be delivered: a worker that goes on acknowledges every copy.
    async fn ends_with_one_run_of(mut self, ids: &[&str]) {
        let (vhost, rabbit) = self.broker.take().unwrap();
        let kept = tokio::task::spawn_blocking(move || {
            let deadline = std::time::Instant::now() + SOON;
            // Counts lag.
            while vhost.queue(QUEUE).unwrap()["messages"] != 0 {
                assert!(std::time::Instant::now() < deadline, "something is left in the queue");
                std::thread::sleep(Duration::from_millis(50));
            }
            (vhost, rabbit)
        });
        let kept = kept.await.unwrap();
        let once: BTreeMap<String, usize> = ids.iter().map(|id| ((*id).to_owned(), 1)).collect();
        assert_eq!(*self.runs.lock().unwrap(), once);
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.worker).await.unwrap().unwrap().unwrap();
        drop(kept);
    }
}

/// Its channel is taken again and again while it runs; it runs once, and so does what shares the channel with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_runs_longer_than_the_consumer_timeout_runs_once() {
    let lab = Lab::open(SHORT, Duration::from_secs(60)).await;
    let mut slow = lab.send("slow", "one", None).await;
    let mut beside = lab.send("slow", "two", None).await;
    lab.redelivered(4).await;
    // Others are served meanwhile.
    assert_eq!(lab.send("quick", "three", None).await.get(SOON).await.unwrap(), "done");
    lab.gate.add_permits(2);
    for pending in [&mut slow, &mut beside] {
        assert_eq!(pending.get(SOON).await.unwrap(), "done");
    }
    lab.ends_with_one_run_of(&["one", "two", "three"]).await;
}

/// Tasks for later are held for less than the timeout, so that the channel is never taken, however late they are due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_with_an_eta_beyond_the_consumer_timeout_costs_no_channel() {
    let lab = Lab::open(LONG, Duration::from_millis(500)).await;
    // More of them than the worker may have in hand.
    let later = Some(Duration::from_secs(u64::from(LONG + LONG / 2)));
    let mut pending = Vec::new();
    for id in ["one", "two", "three", "four", "five", "six"] {
        pending.push(lab.send("quick", id, later).await);
    }
    for pending in &mut pending {
        assert_eq!(pending.get(SOON).await.unwrap(), "done");
    }
    assert_eq!(lab.counters.snapshot().redelivered, 0, "a channel was taken");
    lab.ends_with_one_run_of(&["one", "two", "three", "four", "five", "six"]).await;
}

/// A worker that holds them for too long loses its channel, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_held_for_longer_than_the_consumer_timeout_is_not_lost() {
    let lab = Lab::open(SHORT, Duration::from_secs(60)).await;
    let mut later = lab.send("quick", "one", Some(Duration::from_secs(u64::from(3 * SHORT)))).await;
    lab.redelivered(1).await;
    assert_eq!(later.get(SOON).await.unwrap(), "done");
    lab.ends_with_one_run_of(&["one"]).await;
}
