//! Unmodified Celery over Redis, on both ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{sync::Arc, time::Duration};

use celery_protocol::ResultMeta;
use celery_runtime::{
    Arguments, TaskError,
    backend::{SharedBackend, connect as connect_backend, redis::RedisBackend},
    broker::{BrokerUrl, ConnectOptions, SharedBroker, connect},
    client::{CallError, Client, SendOptions},
    worker::{Counters, RemoteControl, Worker, WorkerEvents},
};
use redis::AsyncCommands;
use serde_json::{Map, Value, json};
use testkit::servers::{PrivateRedis, Process, Python};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A Redis, and a worker of ours on queue `rust`.
struct Estate {
    server: PrivateRedis,
    broker: SharedBroker,
    backend: SharedBackend,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
}

impl Estate {
    async fn start(queue: &str) -> Self {
        let server = blocking(PrivateRedis::start).await;
        let options = ConnectOptions { operation_timeout: SOON, ..ConnectOptions::default() };
        let broker = connect(&server.url(0), options.clone()).await.unwrap();
        let backend = connect_backend(&server.url(1), broker.clone(), options).await.unwrap();
        let worker = Worker::builder(broker.clone())
            .name("rust@lab")
            .queue(queue)
            .backend(backend.clone())
            .remote_control(RemoteControl::Full)
            .events(WorkerEvents::Tasks)
            .task("lab.add", |_, arguments: Arguments| async move {
                let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
                Ok(json!(x + y))
            })
            .task("lab.fail", |_, arguments: Arguments| async move {
                let (message,): (String,) = arguments.bind_tuple(&["message"])?;
                Err(TaskError::value_error(message))
            })
            .task("lab.total", |_, arguments: Arguments| async move {
                let (values,): (Vec<i64>,) = arguments.bind_tuple(&["values"])?;
                Ok(json!(values.iter().sum::<i64>()))
            })
            .build()
            .unwrap();
        let (counters, shutdown) = (worker.counters(), CancellationToken::new());
        broker.declare_task_queue(&queue.into()).await.unwrap();
        tokio::spawn(worker.run(shutdown.clone()));
        Self { server, broker, backend, counters, shutdown }
    }

    /// What a Python client that calls a task gets.
    async fn ask(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = vec!["--broker".to_owned(), self.server.url(0), "--backend".to_owned(), self.server.url(1)];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let finished = blocking(move || Python::run("celery_client.py", all, &[])).await.success();
        finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn python_worker(&self, queue: &str) -> Process {
        let arguments = [
            "--broker".to_owned(),
            self.server.url(0),
            "--backend".to_owned(),
            self.server.url(1),
            "--queue".to_owned(),
            queue.to_owned(),
        ];
        blocking(move || {
            let worker = Python::spawn("celery_worker.py", arguments, &[]);
            worker.wait_for_line("worker ready", SOON);
            worker
        })
        .await
    }

    async fn stored(&self, task_id: &str) -> ResultMeta {
        let Ok(BrokerUrl::Redis(url)) = self.server.url(1).parse() else { panic!("not a redis url") };
        let backend = RedisBackend::start(url, ConnectOptions::default());
        let waiting = async {
            loop {
                match backend.get(task_id).await.unwrap() {
                    Some(meta) if meta.state.is_ready() => return meta,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(SOON, waiting).await.expect("no result")
    }

    async fn assert_nothing_is_left(&self, queue: &str) {
        let client = redis::Client::open(self.server.url(0)).unwrap();
        let mut keys = client.get_multiplexed_async_connection().await.unwrap();
        let empty = async {
            loop {
                let (unacked, waiting): (usize, usize) =
                    (keys.hlen("unacked").await.unwrap(), keys.llen(queue).await.unwrap());
                if (unacked, waiting) == (0, 0) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, empty).await.expect("something is left");
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_gets_our_results_and_typed_exceptions() {
    let estate = Estate::start("rust").await;
    for more in [&[][..], &["--compression", "gzip"], &["--compression", "bzip2"], &["--protocol", "1"]] {
        let arguments = [&["--queue", "rust", "lab.add", "--args", "[2, 3]"][..], more].concat();
        let answers = estate.ask(&arguments).await;
        assert_eq!(
            (&answers[0]["state"], &answers[0]["result"]),
            (&json!("SUCCESS"), &json!(5)),
            "{more:?} {answers:?}"
        );
    }
    let failed = &estate.ask(&["--queue", "rust", "lab.fail", "--args", "[\"boom\"]"]).await[0];
    assert_eq!(failed["exception"]["module"], "builtins", "{failed}");
    assert_eq!((&failed["exception"]["class"], &failed["exception"]["args"]), (&json!("ValueError"), &json!(["boom"])));
    let unknown = &estate.ask(&["--queue", "rust", "lab.nothing"]).await[0];
    assert_eq!(unknown["exception"]["class"], "NotRegistered", "{unknown}");
    let many = estate.ask(&["--queue", "rust", "lab.add", "--args", "[1, 1]", "--count", "50"]).await;
    assert!(many.len() == 50 && many.iter().all(|answer| answer["result"] == 2), "{many:?}");
    estate.assert_nothing_is_left("rust").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_drives_a_python_worker() {
    let estate = Estate::start("rust").await;
    let worker = estate.python_worker("python").await;
    let client = Client::with_backend(estate.broker.clone(), estate.backend.clone());
    let mut kwargs = Map::new();
    kwargs.insert("x".into(), 2.into());
    kwargs.insert("y".into(), 3.into());
    assert_eq!(client.call("python", "lab.add", kwargs, SOON).await.unwrap(), 5);
    let mut failing = Map::new();
    failing.insert("message".into(), "boom".into());
    let error = client.call("python", "lab.fail", failing, SOON).await.unwrap_err();
    assert!(matches!(&error, CallError::TaskFailed { exc_type, .. } if exc_type == "ValueError"), "{error}");
    let send = async |task: &str, argument: i64| {
        client.send("python", task, vec![json!(argument)], Map::new(), SendOptions::default()).await.unwrap()
    };
    assert_eq!(send("lab.retry", 2).await.get(SOON).await.unwrap(), 2);
    let mut seen = Vec::new();
    let steps =
        send("lab.progress", 3).await.get_with(SOON, |state, meta| seen.push((state.to_string(), meta.clone()))).await;
    assert_eq!(steps.unwrap(), 3);
    assert!(seen.iter().all(|(state, _)| state == "PROGRESS" || state == "STARTED"), "{seen:?}");
    let _ = blocking(move || worker.terminate(SOON)).await.success();
    estate.assert_nothing_is_left("python").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_and_a_rust_worker_share_a_queue() {
    let estate = Estate::start("shared").await;
    let worker = estate.python_worker("shared").await;
    let answers = estate.ask(&["--queue", "shared", "lab.add", "--args", "[1, 2]", "--count", "400"]).await;
    assert!(answers.len() == 400 && answers.iter().all(|answer| answer["result"] == 3));
    let ours = estate.counters.snapshot().succeeded;
    // Which of them is quicker is not for a test to say; that the rest was Python's is.
    assert!(ours <= 400, "{ours}");
    let _ = blocking(move || worker.terminate(SOON)).await.success();
    estate.assert_nothing_is_left("shared").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chord_and_a_chain_run_on_python_and_rust_workers_alike() {
    let estate = Estate::start("rust").await;
    let worker = estate.python_worker("python").await;
    let members = json!([["rust", "lab.add", [1, 1]], ["python", "lab.add", [2, 2]], ["rust", "lab.add", [3, 3]]]);
    let members = members.to_string();
    let total = &estate.ask(&["--queue", "rust", "lab.total", "--chord", &members]).await[0];
    assert_eq!((&total["state"], &total["result"]), (&json!("SUCCESS"), &json!(12)), "{total}");
    let echo = &estate.ask(&["--queue", "python", "lab.echo", "--chord", &members]).await[0];
    assert_eq!(echo["result"]["args"], json!([[2, 4, 6]]), "{echo}");
    let failing = json!([["python", "lab.add", [1, 1]], ["rust", "lab.fail", ["boom"]]]).to_string();
    let failed = &estate.ask(&["--queue", "python", "lab.echo", "--chord", &failing]).await[0];
    // What `.get()` raises is the member's exception if it ended before, else the body's; what is stored for the body is told
    // by nothing but the chord.
    let body = estate.stored(failed["id"].as_str().unwrap()).await;
    let error = body.exception().unwrap();
    assert_eq!((error.exc_module.as_deref(), error.exc_type.as_str()), (Some("celery.exceptions"), "ChordError"));
    assert!(error.exc_message[0].as_str().unwrap().ends_with(" raised ValueError('boom')"), "{error}");
    let steps = json!([["python", "lab.add", [10]], ["rust", "lab.add", [100]]]).to_string();
    let last = &estate.ask(&["--queue", "rust", "lab.add", "--args", "[1, 2]", "--chain", &steps]).await[0];
    assert_eq!(last["result"], 113, "{last}");
    let _ = blocking(move || worker.terminate(SOON)).await.success();
    estate.assert_nothing_is_left("rust").await;
    estate.assert_nothing_is_left("python").await;
}

/// Control requests and events go by channels, answers by bound lists: all three as Celery's own tools use them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tools_of_celery_see_and_control_our_worker() {
    let estate = Estate::start("rust").await;
    let url = estate.server.url(0);
    let listener = {
        let url = url.clone();
        blocking(move || {
            let listener = Python::spawn("celery_tools.py", ["--broker", &url, "events"], &[]);
            listener.wait_for_line("listening", SOON);
            listener
        })
        .await
    };
    estate.ask(&["--queue", "rust", "lab.add", "--args", "[2, 3]"]).await;
    let listener = blocking(move || {
        for kind in ["worker-heartbeat", "task-received", "task-started", "task-succeeded"] {
            listener.wait_for_line(&format!("\"type\": \"{kind}\""), SOON);
        }
        listener
    })
    .await;
    drop(listener);
    let to_us = ["-j", "-t", "30", "-d", "rust@lab"];
    let line = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let commands = vec![
        line(&[&["inspect"], &to_us[..], &["ping"]].concat()),
        line(&[&["inspect"], &to_us[..], &["registered"]].concat()),
        line(&[&["control"], &to_us[..], &["rate_limit", "lab.add", "10/m"]].concat()),
        line(&["status", "-t", "5"]),
    ];
    let answers = blocking(move || {
        let commands = json!(commands).to_string();
        Python::run("celery_tools.py", ["--broker", &url, "commands", &commands], &[]).success().json()
    })
    .await;
    let output = |number: usize| answers[number]["output"].as_str().unwrap();
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["exit"] == 0), "{answers}");
    let pong: Value = serde_json::from_str(output(0)).unwrap();
    assert_eq!(pong, json!({"rust@lab": {"ok": "pong"}}));
    assert!(output(1).contains("lab.total"), "{answers}");
    assert!(output(2).contains("new rate limit set successfully"), "{answers}");
    assert!(output(3).contains("rust@lab: OK") || output(3).contains("1 node online"), "{answers}");
    // Answered, and nothing of it stays: the client's queue went with it.
    estate.assert_nothing_is_left("rust").await;
}
