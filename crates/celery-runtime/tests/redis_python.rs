//! Unmodified Celery over Redis, on both ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{sync::Arc, time::Duration};

use celery_runtime::{
    Arguments,
    backend::connect as connect_backend,
    broker::{ConnectOptions, connect},
    worker::{RemoteControl, Worker, WorkerCounters, WorkerEvents},
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use testkit::servers::{PrivateRedis, Process, Python};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A Redis, and a worker of ours on queue `rust`.
struct Estate {
    server: PrivateRedis,
    counters: Arc<WorkerCounters>,
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
            .backend(backend)
            .remote_control(RemoteControl::Full)
            .events(WorkerEvents::Tasks)
            .task("lab.add", |_, arguments: Arguments| async move {
                let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
                Ok(json!(x + y))
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
        Self { server, counters, shutdown }
    }

    /// The result of a Python client that calls a task.
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
async fn a_python_and_a_rust_worker_share_a_queue() {
    let estate = Estate::start("shared").await;
    let worker = estate.python_worker("shared").await;
    let answers = estate.ask(&["--queue", "shared", "lab.add", "--args", "[1, 2]", "--count", "400"]).await;
    assert!(answers.len() == 400 && answers.iter().all(|answer| answer["result"] == 3));
    let ours = estate.counters.snapshot().succeeded;
    // Which of the two is quicker does not matter, but Python ran the rest.
    assert!(ours <= 400, "{ours}");
    let _ = blocking(move || worker.terminate(SOON)).await.success();
    estate.assert_nothing_is_left("shared").await;
}

/// Control requests and events travel by channels, answers by bound lists: all three as in Celery's own tools.
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
    // Answered, and the client's queue was deleted with it.
    estate.assert_nothing_is_left("rust").await;
}
