//! One cell: a broker, a result backend, a worker of ours and, where it is wanted, one of Python.

use std::time::Duration;

use celery_protocol::{Limits, Routes, TaskRequest};
use celery_runtime::{
    backend::{SharedBackend, connect as connect_backend},
    broker::{ConnectOptions, Publish, SharedBroker, connect},
    client::Client,
    worker::WorkerError,
};
use serde_json::Value;
use testkit::servers::{Environment, PrivateRedis, Process, RabbitMq, VHost};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::ours;

/// Long enough for a busy machine.
pub const SOON: Duration = Duration::from_secs(240);

/// The queue of our worker, that of Python's, and one that both consume.
pub const OURS: &str = "ours";
pub const THEIRS: &str = "theirs";
pub const SHARED: &str = "shared";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    RabbitMq,
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Celery {
    V5_4,
    V5_6,
    V5_7,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub transport: Transport,
    pub celery: Celery,
}

impl Cell {
    fn environment(self) -> Environment {
        match self.celery {
            Celery::V5_4 => Environment::CELERY_5_4,
            Celery::V5_6 => Environment::CELERY_5_6,
            Celery::V5_7 => Environment::MAIN,
        }
    }
}

/// The processes besides the broker and our worker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    pub python_worker: bool,
    /// Chords need results in Redis, even where RabbitMQ is the broker.
    pub chords: bool,
}

pub struct Lab {
    cell: Cell,
    /// Goes with the test.
    _vhost: Option<VHost>,
    _redis: Option<PrivateRedis>,
    broker_url: String,
    backend_url: String,
    python: Option<Process>,
    broker: SharedBroker,
    backend: Option<SharedBackend>,
    shutdown: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
    noted: mpsc::UnboundedReceiver<Vec<Value>>,
}

impl Lab {
    pub async fn open(cell: Cell, needs: Needs) -> Self {
        let (vhost, redis) = blocking(move || {
            let rabbitmq = cell.transport == Transport::RabbitMq;
            let vhost = rabbitmq.then(|| RabbitMq::shared().vhost());
            (vhost, (!rabbitmq || needs.chords).then(PrivateRedis::start))
        })
        .await;
        let of_redis = |db| redis.as_ref().map(|redis| redis.url(db));
        let broker_url = vhost.as_ref().map(|vhost| vhost.amqp_url.clone()).or_else(|| of_redis(0)).unwrap();
        let backend_url = of_redis(1).unwrap_or_else(|| "rpc://".to_owned());
        let options = ConnectOptions { operation_timeout: SOON, ..ConnectOptions::default() };
        let broker = connect(&broker_url, options.clone()).await.unwrap();
        let backend = match &redis {
            Some(_) => Some(connect_backend(&backend_url, broker.clone(), options).await.unwrap()),
            None => None,
        };
        for queue in [OURS, SHARED] {
            broker.declare_task_queue(&queue.into()).await.unwrap();
        }
        let shutdown = CancellationToken::new();
        let (sender, noted) = mpsc::unbounded_channel();
        let worker = tokio::spawn(ours::worker(broker.clone(), backend.clone(), sender).run(shutdown.clone()));
        let mut lab = Self {
            cell,
            _vhost: vhost,
            _redis: redis,
            broker_url,
            backend_url,
            python: None,
            broker,
            backend,
            shutdown,
            worker,
            noted,
        };
        if needs.python_worker {
            let more = ["--queue", THEIRS, "--also", SHARED, "--early-ack"];
            let worker = lab.spawn("celery_worker.py", &more).await;
            let worker = blocking(move || {
                worker.wait_for_line("worker ready", SOON);
                worker
            });
            lab.python = Some(worker.await);
        }
        lab
    }

    async fn spawn(&self, script: &'static str, more: &[&str]) -> Process {
        let mut arguments = vec!["--broker", &self.broker_url, "--backend", &self.backend_url];
        arguments.extend(more);
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let environment = self.cell.environment();
        blocking(move || environment.spawn(script, arguments)).await
    }

    /// The observations of a Python client of these features.
    pub async fn python_client(&self, features: &str) -> Value {
        let client = self.spawn("celery_features.py", &[features]).await;
        blocking(move || client.wait(SOON).success().json()).await
    }

    /// A client of ours, which knows where each worker's tasks go.
    pub async fn client(&self) -> Client {
        let client = match &self.backend {
            Some(backend) => Client::with_backend(self.broker.clone(), backend.clone()),
            None => Client::new(self.broker.clone()).await.unwrap(),
        };
        client.with_routes(Routes::to(OURS).route("lab.*", THEIRS))
    }

    /// The next value that our worker was given to note.
    pub async fn noted(&mut self) -> Value {
        tokio::time::timeout(SOON, self.noted.recv()).await.expect("nothing to note").unwrap().into()
    }

    /// Ends both workers, and sees that nothing they had to do is left.
    pub async fn close(self) {
        let queues: &[&str] = if self.python.is_some() { &[OURS, THEIRS, SHARED] } else { &[OURS, SHARED] };
        self.shutdown.cancel();
        self.worker.await.unwrap().unwrap();
        if let Some(python) = self.python {
            let _ = blocking(move || python.terminate(SOON)).await.success();
        }
        for queue in queues {
            let mut consumer = self.broker.consume(&(*queue).into(), 1).await.unwrap();
            let marker = TaskRequest::builder("marker", "marker").build().to_message().unwrap();
            self.broker.publish(Publish::task(*queue, marker)).await.unwrap();
            let first = tokio::time::timeout(SOON, consumer.next()).await.expect("no delivery").unwrap();
            let first_task = TaskRequest::decode(&first.message, &Limits::default()).unwrap();
            assert_eq!(first_task.name(), "marker", "{:?}: {queue} was not empty", self.cell);
            first.ack().await.unwrap();
        }
        if self.cell.transport == Transport::Redis {
            let client = redis::Client::open(self.broker_url.as_str()).unwrap();
            let mut keys = client.get_multiplexed_async_connection().await.unwrap();
            let unacknowledged: usize = redis::AsyncCommands::hlen(&mut keys, "unacked").await.unwrap();
            assert_eq!(unacknowledged, 0, "{:?}", self.cell);
        }
    }
}

pub async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}
