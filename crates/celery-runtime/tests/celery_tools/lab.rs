//! One broker with a worker of each kind, named alike and with the same tasks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use celery_runtime::{
    TaskError,
    backend::{SharedBackend, connect as connect_backend},
    broker::{Broker, ConnectOptions, SharedBroker, connect},
    client::Client,
    worker::{RemoteControl, Worker, WorkerBuilder, WorkerError, WorkerEvents},
};
use serde_json::{Map, Value, json};
use testkit::servers::{PrivateRedis, Process, Python, RabbitMq, VHost};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything that has to happen may take.
pub const SOON: Duration = Duration::from_secs(120);
/// The node name of our worker; it takes from queue `ours`, Python's from queue `pythons`.
pub const OURS: &str = "rust@lab";

pub async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A broker, with where results go.
pub enum Server {
    RabbitMq(VHost),
    Redis(PrivateRedis),
}

impl Server {
    pub async fn rabbitmq() -> Self {
        blocking(|| Self::RabbitMq(RabbitMq::shared().vhost())).await
    }

    pub async fn redis() -> Self {
        blocking(|| Self::Redis(PrivateRedis::start())).await
    }

    pub fn broker_url(&self) -> String {
        match self {
            Self::RabbitMq(vhost) => vhost.amqp_url.clone(),
            Self::Redis(redis) => redis.url(0),
        }
    }

    pub fn backend_url(&self) -> String {
        match self {
            Self::RabbitMq(_) => "rpc://".to_owned(),
            Self::Redis(redis) => redis.url(1),
        }
    }

    async fn connect(&self) -> (SharedBroker, SharedBackend) {
        let options = || ConnectOptions { operation_timeout: SOON, ..ConnectOptions::default() };
        let broker = connect(&self.broker_url(), options()).await.unwrap();
        let backend = connect_backend(&self.backend_url(), broker.clone(), options()).await.unwrap();
        (broker, backend)
    }

    pub async fn client(&self) -> Client {
        let (broker, backend) = self.connect().await;
        match self {
            Self::RabbitMq(_) => Client::new(broker).await.unwrap(),
            Self::Redis(_) => Client::with_backend(broker, backend),
        }
    }
}

/// Our worker.
pub struct Ours {
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), WorkerError>>,
}

impl Ours {
    pub async fn start(server: &Server, events: WorkerEvents) -> Self {
        Self::start_with(server, events, |worker| worker).await
    }

    /// With something of its own.
    pub async fn start_with(
        server: &Server,
        events: WorkerEvents,
        more: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
    ) -> Self {
        let (broker, backend) = server.connect().await;
        let mut builder = Worker::builder(broker as Arc<dyn Broker>)
            .name(OURS)
            .queue("ours")
            .backend(backend)
            .prefetch(4)
            .remote_control(RemoteControl::Full)
            .events(events)
            .task("lab.add", |_, arguments| async move {
                let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
                Ok(json!(x + y))
            })
            .task("lab.sleep", |_, arguments| async move {
                let (seconds,): (f64,) = arguments.bind_tuple(&["seconds"])?;
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                Ok(json!("slept"))
            })
            .task("lab.fail", |_, arguments| async move {
                let (message,): (String,) = arguments.bind_tuple(&["message"])?;
                Err(TaskError::value_error(message))
            })
            .task("lab.retry", |context, arguments| async move {
                let (times,): (u32,) = arguments.bind_tuple(&["times"])?;
                if context.retries < times {
                    return Err(TaskError::value_error("not yet").retry_in(Duration::ZERO));
                }
                Ok(json!(context.retries))
            });
        // Those of the Python worker that nobody calls here.
        for name in
            ["lab.echo", "lab.fail_custom", "lab.progress", "lab.reject", "lab.replace", "lab.told", "lab.typed"]
        {
            builder = builder.task(name, |_, _| async { Ok(Value::Null) });
        }
        let shutdown = CancellationToken::new();
        let ended = tokio::spawn(more(builder).build().unwrap().run(shutdown.clone()));
        Self { shutdown, ended }
    }

    /// Returns when it has ended by itself.
    pub async fn ended(self) {
        tokio::time::timeout(SOON, self.ended).await.expect("it goes on").unwrap().unwrap();
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.ended().await;
    }
}

/// The answers of `celery` to some command lines.
pub fn tools(broker: &str, commands: &[Vec<&str>]) -> Vec<Value> {
    let commands = json!(commands).to_string();
    let ran = Python::run("celery_tools.py", ["--broker", broker, "commands", &commands], &[]).success();
    ran.json().as_array().unwrap().clone()
}

pub fn words(lines: &[&str]) -> Vec<Vec<String>> {
    lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

pub struct Lab {
    pub ours: Ours,
    pub python: Process,
    pub python_node: String,
    pub client: Client,
    // Last, so that it goes last.
    pub server: Server,
}

impl Lab {
    /// Starts both workers; with task events, if they are wanted.
    pub async fn start(server: Server, pool: &'static str, events: bool) -> Self {
        let (broker, backend) = (server.broker_url(), server.backend_url());
        let (python, python_node) = blocking(move || {
            let mut arguments = vec!["--broker", &broker, "--backend", &backend, "--queue", "pythons", "--pool", pool];
            if events {
                arguments.push("--events");
            }
            let python = Python::spawn("celery_worker.py", arguments, &[]);
            python.wait_for_line("worker ready", SOON);
            let until = Instant::now() + SOON;
            loop {
                let answers = tools(&broker, &[vec!["inspect", "-j", "-t", "5", "ping"]]);
                let nodes = serde_json::from_str::<Map<String, Value>>(answers[0]["output"].as_str().unwrap());
                if let Some(node) = nodes.ok().and_then(|nodes| nodes.keys().next().cloned()) {
                    return (python, node);
                }
                assert!(Instant::now() < until, "the Python worker does not answer: {answers:?}");
            }
        })
        .await;
        let ours = Ours::start(&server, if events { WorkerEvents::Tasks } else { WorkerEvents::Worker }).await;
        let client = server.client().await;
        let until = Instant::now() + SOON;
        while client.control().to([OURS]).inspect("ping").await.unwrap().is_empty() {
            assert!(Instant::now() < until, "our worker does not answer");
        }
        Self { ours, python, python_node, client, server }
    }

    /// Python's node, then ours.
    pub fn nodes(&self) -> [String; 2] {
        [self.python_node.clone(), OURS.to_owned()]
    }

    /// The commands that `celery KIND --list` names.
    pub async fn commands(&self, kind: &'static str) -> Vec<String> {
        let broker = self.server.broker_url();
        let answers = blocking(move || tools(&broker, &[vec![kind, "--list"]])).await;
        let listed = answers[0]["output"].as_str().unwrap().lines();
        // What is explained goes on further to the right.
        let names = listed.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
        names.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
    }

    /// The answers of both workers to the same commands of `celery inspect` or `celery control`: Python's, then ours.
    pub async fn both(&self, kind: &'static str, commands: Vec<Vec<String>>) -> Vec<(String, Value, Value)> {
        let (broker, nodes) = (self.server.broker_url(), self.nodes());
        blocking(move || {
            let lines: Vec<Vec<&str>> = commands
                .iter()
                .flat_map(|command| {
                    nodes.iter().map(move |node| {
                        let mut line = vec![kind, "-j", "-t", "30", "-d", node.as_str()];
                        line.extend(command.iter().map(String::as_str));
                        line
                    })
                })
                .collect();
            let answers = tools(&broker, &lines);
            let value = |answer: &Value, node: &str, line: &[&str]| {
                assert_eq!(answer["exit"], 0, "celery {}: {answer}", line.join(" "));
                let replies: Value = serde_json::from_str(answer["output"].as_str().unwrap()).unwrap();
                let found = match &replies {
                    Value::Array(replies) => replies.iter().find_map(|reply| reply.get(node)).cloned(),
                    replies => replies.get(node).cloned(),
                };
                found.unwrap_or_else(|| panic!("no answer of {node} in {answer}"))
            };
            commands
                .iter()
                .zip(lines.chunks(2).zip(answers.chunks(2)))
                .map(|(command, (lines, answers))| {
                    (
                        command.join(" "),
                        value(&answers[0], &nodes[0], &lines[0]),
                        value(&answers[1], &nodes[1], &lines[1]),
                    )
                })
                .collect()
        })
        .await
    }

    pub async fn end(mut self) {
        self.ours.stop().await;
        blocking(move || self.python.kill()).await;
    }
}
