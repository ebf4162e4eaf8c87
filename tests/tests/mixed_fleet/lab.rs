//! One Python and one Rust worker on one queue, a client, and a broker to kill.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use celery_runtime::backend;
use celery_runtime::broker::{ConnectOptions, PublishError, connect};
use celery_runtime::client::{Client, SendOptions};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use testkit::servers::{PrivateRabbitMq, PrivateRedis, Process, Python, VHost};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const QUEUE: &str = "mixed";
const SOON: Duration = Duration::from_secs(120);
/// Longer than a worker that is killed while it restores what others lost can keep others from it, which on Redis is five
/// minutes for one of Python.
const IN_THE_END: Duration = Duration::from_secs(400);
const POLL: Duration = Duration::from_millis(10);
/// On Redis what a killed worker held comes back after so many seconds.
const VISIBILITY: u32 = 5;

pub enum Broker {
    RabbitMq(Box<PrivateRabbitMq>, Box<VHost>),
    Redis(PrivateRedis),
}

impl Broker {
    pub fn rabbitmq() -> Self {
        let rabbit = PrivateRabbitMq::start();
        let vhost = rabbit.vhost();
        Self::RabbitMq(Box::new(rabbit), Box::new(vhost))
    }

    pub fn redis() -> Self {
        Self::Redis(PrivateRedis::start())
    }

    fn url(&self) -> String {
        match self {
            Self::RabbitMq(_, vhost) => vhost.amqp_url.clone(),
            Self::Redis(server) => server.url(0),
        }
    }

    pub fn kill(&mut self) {
        match self {
            Self::RabbitMq(server, _) => server.kill(),
            Self::Redis(server) => server.kill(),
        }
    }

    pub fn start_again(&mut self) {
        match self {
            Self::RabbitMq(server, _) => server.start_again(),
            Self::Redis(server) => server.start_again(),
        }
    }

    /// A clean stop and a start.
    pub fn restart(&mut self) {
        match self {
            Self::RabbitMq(server, _) => server.restart(),
            Self::Redis(server) => {
                server.stop();
                server.start_again();
            }
        }
    }
}

/// What the workers wrote down.
#[derive(Default)]
struct Ledger {
    reader: Option<BufReader<File>>,
    line: String,
    /// Which kind of worker ran a task, each time one did.
    runs: BTreeMap<String, Vec<String>>,
    /// Tasks that wait for their gate, and in whose hands.
    held: BTreeSet<(String, String)>,
}

pub struct Lab {
    pub broker: Broker,
    results: PrivateRedis,
    dir: TempDir,
    runtime: Runtime,
    client: Client,
    sent: Arc<Mutex<BTreeMap<String, u64>>>,
    ledger: Ledger,
    rust: Option<Process>,
    python: Option<Process>,
}

impl Lab {
    /// Both workers are up.
    pub fn open(broker: Broker) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let results = PrivateRedis::start();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let connection = connect(&broker.url(), ConnectOptions::default()).await.unwrap();
            connection.declare_task_queue(&QUEUE.into()).await.unwrap();
            let url = results.url(0);
            let backend = backend::connect(&url, connection.clone(), ConnectOptions::default()).await.unwrap();
            Client::with_backend(connection, backend)
        });
        let (sent, ledger) = (Arc::default(), Ledger::default());
        let mut lab = Self { broker, results, dir, runtime, client, sent, ledger, rust: None, python: None };
        // RabbitMQ writes down late that a queue was declared, so it is not killed before it was once stopped.
        lab.broker.restart();
        lab.start_rust();
        lab.start_python();
        lab
    }

    pub fn start_rust(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mixed-fleet-worker"));
        command.args([self.url(), self.results.url(0), QUEUE.to_owned()]).arg(self.dir.path());
        self.rust = Some(Process::spawn(&mut command));
    }

    /// The URL for workers of ours.
    fn url(&self) -> String {
        match &self.broker {
            Broker::RabbitMq(..) => self.broker.url(),
            Broker::Redis(_) => format!("{}?visibility_timeout={VISIBILITY}", self.broker.url()),
        }
    }

    pub fn start_python(&mut self) {
        let dir = self.dir.path().to_str().unwrap();
        let (broker, results, visibility) = (self.broker.url(), self.results.url(0), VISIBILITY.to_string());
        let arguments = ["--broker", &broker, "--results", &results, "--queue", QUEUE, "--dir", dir];
        let arguments = arguments.into_iter().chain(["--visibility-timeout", &visibility]);
        let python = Python::spawn("mixed_fleet_worker.py", arguments, &[]);
        python.wait_for_line("worker ready", SOON);
        self.python = Some(python);
    }

    pub fn kill_rust(&mut self) {
        self.rust.take().unwrap().kill();
    }

    pub fn kill_python(&mut self) {
        self.python.take().unwrap().kill();
    }

    /// Sends so many tasks while other things happen.
    pub fn send(&self, count: u64) -> JoinHandle<()> {
        let (client, sent) = (self.client.clone(), self.sent.clone());
        self.runtime.spawn(async move {
            for _ in 0..count {
                send(&client, &sent, "nobody").await;
            }
        })
    }

    pub fn wait_for(&self, sending: JoinHandle<()>) {
        self.runtime.block_on(sending).unwrap();
    }

    /// Has a worker of this kind hold a task until [`release`](Self::release); returns its id.
    pub fn caught_by(&mut self, kind: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let id = self.runtime.block_on(send(&self.client, &self.sent, kind));
            loop {
                // What is held is noted a moment after the run.
                let ran = self.ledger.runs.contains_key(&id);
                std::thread::sleep(POLL);
                self.read();
                if self.ledger.held.contains(&(id.clone(), kind.to_owned())) {
                    return id;
                }
                assert!(Instant::now() < deadline, "no {kind} worker takes a task; {}", self.told());
                let other = |by: &Vec<String>| by.iter().all(|by| by != kind);
                if ran && self.ledger.runs.get(&id).is_some_and(other) {
                    break;
                }
            }
        }
    }

    /// Lets a held task end, wherever it runs.
    pub fn release(&self, id: &str) {
        fs::write(self.dir.path().join(id), "").unwrap();
    }

    fn read(&mut self) {
        let path = self.dir.path().join("ledger");
        let ledger = &mut self.ledger;
        if ledger.reader.is_none() {
            ledger.reader = File::open(path).ok().map(BufReader::new);
        }
        let Some(reader) = &mut ledger.reader else { return };
        while reader.read_line(&mut ledger.line).unwrap() > 0 && ledger.line.ends_with('\n') {
            match ledger.line.split_whitespace().collect::<Vec<_>>()[..] {
                ["run", id, kind] => ledger.runs.entry(id.to_owned()).or_default().push(kind.to_owned()),
                ["held", id, kind] => drop(ledger.held.insert((id.to_owned(), kind.to_owned()))),
                _ => panic!("not a line of the ledger: {:?}", ledger.line),
            }
            ledger.line.clear();
        }
    }

    fn told(&self) -> String {
        let count = |kind: &str| self.ledger.runs.values().flatten().filter(|by| *by == kind).count();
        let again = self.ledger.runs.values().filter(|by| by.len() > 1).count();
        let (sent, ran) = (self.sent.lock().unwrap().len(), self.ledger.runs.len());
        format!(
            "{sent} tasks, {ran} ran, {again} of them again; {} runs in Rust, {} in Python",
            count("rust"),
            count("python")
        )
    }

    /// Every task has run, and its result can be read by its id. Both kinds of workers did their share, and end in order.
    pub fn finish(mut self) {
        let sent = self.sent.lock().unwrap().clone();
        let url = self.results.url(0);
        let missing: Vec<String> = self.runtime.block_on(async {
            // One that knows nothing of the tasks but their ids.
            let connection = self.client.broker().clone();
            let results = backend::connect(&url, connection, ConnectOptions::default()).await.unwrap();
            let deadline = tokio::time::Instant::now() + IN_THE_END;
            let mut missing = Vec::new();
            for (id, number) in &sent {
                let mut expected = results.expect(id).await.unwrap();
                let ready = expected.newest().wait_for(|meta| meta.as_ref().is_some_and(|meta| meta.state.is_ready()));
                match tokio::time::timeout_at(deadline, ready).await {
                    Ok(meta) => {
                        let meta = meta.unwrap().clone().unwrap();
                        assert_eq!(
                            (meta.state.to_string().as_str(), &meta.result),
                            ("SUCCESS", &json!(2 * number)),
                            "{id}"
                        );
                    }
                    Err(_) => missing.push(id.clone()),
                }
            }
            missing
        });
        self.read();
        eprintln!("{}", self.told());
        assert!(missing.is_empty(), "no result of {missing:?}");
        let never: Vec<_> = sent.keys().filter(|id| !self.ledger.runs.contains_key(*id)).collect();
        assert!(never.is_empty(), "never ran: {never:?}");
        for kind in ["rust", "python"] {
            assert!(self.ledger.runs.values().flatten().any(|by| by == kind), "the {kind} worker did nothing");
        }
        let _ = self.rust.take().unwrap().terminate(SOON).success();
        let _ = self.python.take().unwrap().terminate(SOON).success();
    }
}

/// Sends one task until the broker says that it has it.
async fn send(client: &Client, sent: &Mutex<BTreeMap<String, u64>>, holder: &str) -> String {
    let (number, id) = {
        let mut sent = sent.lock().unwrap();
        let number = u64::try_from(sent.len()).unwrap();
        let id = format!("task-{number:05}");
        sent.insert(id.clone(), number);
        (number, id)
    };
    let args: Vec<Value> = vec![json!(number), json!(holder)];
    loop {
        let options = SendOptions { task_id: Some(id.clone()), ..SendOptions::default() };
        match client.send(QUEUE, "mixed.note", args.clone(), Map::new(), options).await {
            Ok(_) => return id,
            // The broker was killed before it said so: sent once more, under the same id.
            Err(PublishError::Timeout | PublishError::Unavailable { .. }) => {}
            Err(error) => panic!("{id}: {error}"),
        }
    }
}
