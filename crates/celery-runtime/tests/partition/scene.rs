//! A worker behind a network that can be broken, and a client that is not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use celery_runtime::{
    backend::{self, SharedBackend},
    broker::{ConnectOptions, ConnectionState, SharedBroker, connect},
    client::{Client, PendingResult, SendOptions},
    worker::{TaskContext, Worker, WorkerCounters, WorkerError},
};
use redis::AsyncCommands;
use serde_json::{Map, json};
use testkit::servers::{PrivateRedis, Proxy, RabbitMq, VHost};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// The longest anything may take that has to happen.
pub const SOON: Duration = Duration::from_secs(120);
pub const QUEUE: &str = "work";
pub const PREFETCH: u16 = 8;
pub const NODE: &str = "worker@partition";

/// The server on the other side of the network.
pub enum Server {
    RabbitMq(Arc<VHost>),
    Redis(PrivateRedis),
}

impl Server {
    pub async fn rabbitmq() -> Self {
        Self::RabbitMq(Arc::new(blocking(|| RabbitMq::shared().vhost()).await))
    }

    pub async fn redis() -> Self {
        Self::Redis(blocking(PrivateRedis::start).await)
    }

    pub fn url(&self) -> String {
        match self {
            Self::RabbitMq(vhost) => vhost.amqp_url.clone(),
            Self::Redis(server) => server.url(0),
        }
    }

    /// How many messages of the queue are delivered and not settled, and how many wait.
    pub async fn unsettled_and_waiting(&self) -> (u64, u64) {
        match self {
            Self::RabbitMq(vhost) => {
                let vhost = vhost.clone();
                let queue = blocking(move || vhost.queue(QUEUE)).await.unwrap_or_default();
                let count = |name: &str| queue[name].as_u64().unwrap_or(u64::MAX);
                (count("messages_unacknowledged"), count("messages_ready"))
            }
            Self::Redis(server) => {
                let client = redis::Client::open(server.url(0)).unwrap();
                let mut keys = client.get_multiplexed_async_connection().await.unwrap();
                (keys.hlen("unacked").await.unwrap(), keys.llen(QUEUE).await.unwrap())
            }
        }
    }
}

/// Logs to standard error if `RUST_LOG` is set.
fn logs() {
    use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};
    let filter: Targets = std::env::var("RUST_LOG").ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
}

pub async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

pub fn options(heartbeat: Duration) -> ConnectOptions {
    ConnectOptions { connection_name: "partition".into(), heartbeat, ..ConnectOptions::default() }
}

/// Waits until `condition` holds.
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A step of the worker's task.
#[derive(Default)]
pub struct Ledger {
    runs: Mutex<BTreeMap<String, usize>>,
}

impl Ledger {
    pub fn started(&self) -> usize {
        self.runs.lock().unwrap().values().sum()
    }

    pub fn runs(&self) -> BTreeMap<String, usize> {
        self.runs.lock().unwrap().clone()
    }
}

pub struct Scene {
    pub server: Arc<Server>,
    pub proxy: Proxy,
    pub state: watch::Receiver<ConnectionState>,
    pub counters: Arc<WorkerCounters>,
    pub ledger: Arc<Ledger>,
    /// Each run of the task takes one to end.
    pub gate: Arc<Semaphore>,
    pub client: Client,
    pending: Vec<PendingResult>,
    shutdown: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl Scene {
    /// A worker that consumes behind the proxy.
    pub async fn open(server: Server, heartbeat: Duration) -> Self {
        Self::open_on(&Arc::new(server), heartbeat).await
    }

    /// As [`open`](Self::open), on a server that is used again.
    pub async fn open_on(server: &Arc<Server>, heartbeat: Duration) -> Self {
        logs();
        let server = server.clone();
        let url = server.url();
        let proxy = Proxy::in_front_of(&url);
        let direct = connect(&url, options(Duration::from_secs(20))).await.unwrap();
        direct.declare_task_queue(&QUEUE.into()).await.unwrap();
        let behind = connect(proxy.url(), options(heartbeat)).await.unwrap();
        // Results take the same way as everything else the worker does.
        let results = async |broker: &SharedBroker, url: &str, heartbeat| -> SharedBackend {
            let url = if url.starts_with("redis") { url } else { "rpc://" };
            backend::connect(url, broker.clone(), options(heartbeat)).await.unwrap()
        };
        let client = match &*server {
            Server::RabbitMq(_) => Client::new(direct.clone()).await.unwrap(),
            Server::Redis(_) => {
                Client::with_backend(direct.clone(), results(&direct, &url, Duration::from_secs(20)).await)
            }
        };
        let backend = results(&behind, proxy.url(), heartbeat).await;
        let (ledger, gate) = (Arc::new(Ledger::default()), Arc::new(Semaphore::new(0)));
        let worker = worker(behind, backend, ledger.clone(), gate.clone());
        let (counters, state, shutdown) = (worker.counters(), worker.connection_state(), CancellationToken::new());
        let worker = tokio::spawn(worker.run(shutdown.clone()));
        let pending = Vec::new();
        Self { server, proxy, state, counters, ledger, gate, client, pending, shutdown, worker }
    }

    /// The worker is gone without a word, and another takes its name.
    pub async fn replace_worker(&mut self) {
        self.worker.abort();
        let behind = connect(self.proxy.url(), options(Duration::from_secs(20))).await.unwrap();
        let backend = backend::connect("rpc://", behind.clone(), options(Duration::from_secs(20))).await.unwrap();
        let worker = worker(behind, backend, self.ledger.clone(), self.gate.clone());
        (self.counters, self.state) = (worker.counters(), worker.connection_state());
        self.worker = tokio::spawn(worker.run(self.shutdown.clone()));
    }

    /// The nodes that answer a `ping`.
    pub async fn answering(&self) -> Vec<String> {
        let control = self.client.control().timeout(Duration::from_secs(1));
        let replies = control.inspect("ping").await.unwrap();
        replies.into_iter().map(|reply| reply.node).collect()
    }

    /// Sends so many tasks, by the way that is not broken.
    pub async fn send(&mut self, count: usize) {
        for _ in 0..count {
            let options =
                SendOptions { task_id: Some(format!("task-{}", self.pending.len())), ..SendOptions::default() };
            self.pending.push(self.client.send(QUEUE, "note", vec![], Map::new(), options).await.unwrap());
        }
    }

    /// Waits until so many runs have begun since the worker started.
    pub async fn started(&self, count: usize) {
        eventually(&format!("{count} runs have begun"), || async { self.ledger.started() >= count }).await;
    }

    /// Waits until the worker has lost the connection of this generation.
    pub async fn noticed(&mut self, generation: u64) {
        let lost = self.state.wait_for(|state| !state.connected || state.generation > generation);
        tokio::time::timeout(SOON, lost).await.expect("the worker did not notice").unwrap();
    }

    /// The broker's names of its connections. Redis holds nothing by them.
    pub async fn connections(&self) -> Vec<String> {
        match &*self.server {
            Server::RabbitMq(vhost) => {
                let vhost = vhost.clone();
                blocking(move || vhost.connections()).await
            }
            Server::Redis(_) => Vec::new(),
        }
    }

    /// Waits until the broker has given up the worker's connection, which was one of these.
    pub async fn given_up(&self, before: &[String]) {
        eventually("of the old connections only the one that does not come by the proxy is left", || async {
            self.connections().await.iter().filter(|name| before.contains(name)).count() <= 1
        })
        .await;
    }

    /// Waits until the worker has a connection that is younger than this one.
    pub async fn reconnected(&mut self, generation: u64) {
        let back = self.state.wait_for(|state| state.connected && state.generation > generation);
        tokio::time::timeout(SOON, back).await.expect("no new connection").unwrap();
    }

    /// Nothing ends while the gate is closed: as many as may be are in the worker's hands, and stay so many. More than
    /// `waiting` wait, which tells this state from an earlier one where the broker's numbers come late.
    pub async fn prefetch_is_bounded(&self, waiting: u64) {
        let mut looks = 0;
        let mut last = (0, 0);
        let deadline = Instant::now() + SOON;
        // Longer than the broker takes to count anew.
        while looks < 6 {
            assert!(Instant::now() < deadline, "(unsettled, waiting) is {last:?}, prefetch {PREFETCH}");
            last = self.server.unsettled_and_waiting().await;
            looks = if last.0 == u64::from(PREFETCH) && last.1 > waiting { looks + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The worker ends, and has given up nothing that ran.
    pub async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.worker).await.unwrap().unwrap().unwrap();
    }

    /// Lets everything end: each task has run, and each result is there. Returns how often tasks ran more than once.
    pub async fn finish(mut self) -> usize {
        self.gate.add_permits(10 * self.pending.len());
        for pending in &mut self.pending {
            let id = pending.task_id().to_owned();
            match pending.get(SOON).await {
                Ok(result) => assert_eq!(result, id),
                Err(error) => {
                    let at = (self.server.unsettled_and_waiting().await, self.counters.snapshot());
                    panic!("no result of {id}: {error}; ran {:?}; {at:?}", self.ledger.runs().get(&id));
                }
            }
        }
        let runs = self.ledger.runs();
        assert_eq!(runs.len(), self.pending.len(), "every task ran");
        eventually("nothing is left in the queue", || async { self.server.unsettled_and_waiting().await == (0, 0) })
            .await;
        self.end().await;
        runs.values().filter(|runs| **runs > 1).count()
    }
}

/// A worker whose task says that it ran, and waits for the gate.
fn worker(broker: SharedBroker, backend: SharedBackend, ledger: Arc<Ledger>, gate: Arc<Semaphore>) -> Worker {
    let note = move |context: TaskContext, _| {
        let (ledger, gate) = (ledger.clone(), gate.clone());
        async move {
            *ledger.runs.lock().unwrap().entry(context.task_id.clone()).or_default() += 1;
            gate.acquire().await.unwrap().forget();
            Ok(json!(context.task_id))
        }
    };
    let worker = Worker::builder(broker).name(NODE).backend(backend).queue(QUEUE).prefetch(PREFETCH);
    worker.task("note", note).build().unwrap()
}
