//! Celery's own tools, unmodified, look at a worker of ours and at a Python worker on one broker: they see the same, but for
//! what the table in the README allows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use celery_runtime::{
    TaskError,
    broker::{Broker, ConnectOptions, connect},
    client::{Client, SendOptions},
    worker::{RemoteControl, Worker, WorkerError, WorkerEvents},
};
use serde_json::{Map, Value, json};
use testkit::servers::{Process, Python, RabbitMq, VHost};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(90);
const README: &str = include_str!("../README.md");

/// A virtual host with one worker of each kind, named alike and with the same tasks.
struct Lab {
    vhost: VHost,
    ours: Ours,
    python: Process,
    python_node: String,
    client: Client,
}

const OURS: &str = "rust@lab";

struct Ours {
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), WorkerError>>,
}

fn start_ours(broker: Arc<dyn Broker>, events: WorkerEvents) -> Ours {
    let mut builder = Worker::builder(broker)
        .name(OURS)
        .queue("ours")
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
        });
    // Those of the Python worker that nobody calls here.
    for name in ["lab.echo", "lab.fail_custom", "lab.progress", "lab.retry", "lab.typed"] {
        builder = builder.task(name, |_, _| async { Ok(Value::Null) });
    }
    let shutdown = CancellationToken::new();
    let ended = tokio::spawn(builder.build().unwrap().run(shutdown.clone()));
    Ours { shutdown, ended }
}

async fn lab(events: bool) -> Lab {
    let (vhost, python, python_node) = blocking(move || {
        let vhost = RabbitMq::shared().vhost();
        let mut arguments = vec!["--broker", &vhost.amqp_url, "--queue", "pythons", "--pool", "threads"];
        if events {
            arguments.push("--events");
        }
        let python = Python::spawn("celery_worker.py", arguments, &[]);
        python.wait_for_line("worker ready", SOON);
        let nodes = tools(&vhost.amqp_url, &[vec!["inspect", "-j", "-t", "5", "ping"]]);
        let nodes: Map<String, Value> = serde_json::from_str(nodes[0]["output"].as_str().unwrap()).unwrap();
        let node = nodes.keys().next().expect("the Python worker answers").clone();
        (vhost, python, node)
    })
    .await;
    let options = || ConnectOptions { operation_timeout: SOON, ..ConnectOptions::default() };
    let broker = connect(&vhost.amqp_url, options()).await.unwrap();
    let ours = start_ours(broker, if events { WorkerEvents::Tasks } else { WorkerEvents::Worker });
    let client = Client::new(connect(&vhost.amqp_url, options()).await.unwrap()).await.unwrap();
    let until = Instant::now() + SOON;
    while client.control().to([OURS]).inspect("ping").await.unwrap().is_empty() {
        assert!(Instant::now() < until, "our worker does not answer");
    }
    Lab { vhost, ours, python, python_node, client }
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// What `celery` answers to some command lines.
fn tools(broker: &str, commands: &[Vec<&str>]) -> Vec<Value> {
    let commands = json!(commands).to_string();
    let ran = Python::run("celery_tools.py", ["--broker", broker, "commands", &commands], &[]).success();
    ran.json().as_array().unwrap().clone()
}

impl Lab {
    /// What both workers answer to the same commands of `celery inspect` or `celery control`: Python's, then ours.
    async fn both(&self, kind: &'static str, commands: Vec<Vec<String>>) -> Vec<(String, Value, Value)> {
        let (broker, nodes) = (self.vhost.amqp_url.clone(), [self.python_node.clone(), OURS.to_owned()]);
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

    async fn end(mut self) {
        self.ours.shutdown.cancel();
        tokio::time::timeout(SOON, self.ours.ended).await.unwrap().unwrap().unwrap();
        blocking(move || self.python.kill()).await;
    }
}

/// Texts in which only the names of node and queue differ are the same.
fn neutral(text: &str, python_node: &str) -> String {
    text.replace(python_node, "NODE").replace(OURS, "NODE").replace("pythons", "QUEUE").replace("ours", "QUEUE")
}

/// Where two answers differ: members, types, texts. Numbers are only compared as such.
fn differences(at: &str, python: &Value, ours: &Value, node: &str, found: &mut BTreeMap<String, String>) {
    match (python, ours) {
        (Value::Object(python), Value::Object(ours)) => {
            for key in python.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
                let at = format!("{at}.{key}");
                match (python.get(key), ours.get(key)) {
                    (Some(python), Some(ours)) => differences(&at, python, ours, node, found),
                    (python, ours) => {
                        found.insert(at, format!("{python:?} and {ours:?}"));
                    }
                }
            }
        }
        (Value::Array(python), Value::Array(ours)) => {
            if python.is_empty() != ours.is_empty() {
                found.insert(at.to_owned(), format!("{python:?} and {ours:?}"));
            }
            for (python, ours) in python.iter().zip(ours) {
                differences(&format!("{at}[]"), python, ours, node, found);
            }
        }
        (Value::String(python), Value::String(ours)) if neutral(python, node) == neutral(ours, node) => {}
        // Numbers and times as text are only compared as such, too.
        (Value::String(python), Value::String(ours))
            if (python.parse::<f64>().is_ok() && ours.parse::<f64>().is_ok())
                || (python.parse::<jiff::Timestamp>().is_ok() && ours.parse::<jiff::Timestamp>().is_ok()) => {}
        (Value::Number(python), Value::Number(ours)) if python.is_f64() == ours.is_f64() => {}
        (python, ours) if python == ours => {}
        (python, ours) => {
            found.insert(at.to_owned(), format!("{python} and {ours}"));
        }
    }
}

/// The places in the README's table; `*` stands for anything.
fn allowed() -> Vec<String> {
    let table = README.split("## What monitors see otherwise").nth(1).expect("the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let allowed: Vec<String> = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect();
    assert!(allowed.len() > 5, "{allowed:?}");
    allowed
}

fn is_allowed(place: &str) -> bool {
    allowed().iter().any(|pattern| match pattern.split_once('*') {
        Some((before, after)) => place.starts_with(before) && place.ends_with(after),
        None => pattern == place,
    })
}

fn assert_the_same(found: BTreeMap<String, String>) {
    let unexplained: BTreeMap<_, _> = found.into_iter().filter(|(place, _)| !is_allowed(place)).collect();
    assert!(unexplained.is_empty(), "Python's and ours differ: {unexplained:#?}");
}

fn words(lines: &[&str]) -> Vec<Vec<String>> {
    lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_shows_of_our_worker_what_it_shows_of_a_python_worker() {
    let lab = lab(false).await;
    let options = |id: &str| SendOptions { task_id: Some(id.to_owned()), ..SendOptions::default() };
    for queue in ["pythons", "ours"] {
        let add = [("x".to_owned(), json!(1)), ("y".to_owned(), json!(2))];
        assert_eq!(lab.client.call(queue, "lab.add", Map::from_iter(add), SOON).await.unwrap(), 3);
        let send = |id: String, task: &'static str, args: Vec<Value>, countdown: Option<u64>| {
            let options = SendOptions { countdown: countdown.map(Duration::from_secs), ..options(&id) };
            lab.client.send(queue, task, args, Map::new(), options)
        };
        send(format!("later-{queue}"), "lab.add", vec![json!(1), json!(2)], Some(3600)).await.unwrap();
        send(format!("runs-{queue}"), "lab.sleep", vec![json!(600)], None).await.unwrap();
    }
    let until = Instant::now() + SOON;
    loop {
        let both = lab.client.control().to([OURS, &lab.python_node]).timeout(SOON);
        let active = both.inspect("active").await.unwrap();
        let scheduled = both.inspect("scheduled").await.unwrap();
        let all = active.iter().chain(&scheduled);
        if all.filter(|reply| reply.value.as_array().is_some_and(|tasks| tasks.len() == 1)).count() == 4 {
            break;
        }
        assert!(Instant::now() < until, "not all tasks were taken: {active:?} {scheduled:?}");
    }
    let commands = words(&[
        "active",
        "active_queues",
        "clock",
        "conf",
        "memsample",
        "ping",
        "query_task nope",
        "registered",
        "registered rate_limit",
        "report",
        "reserved",
        "revoked",
        "scheduled",
        "stats",
    ]);
    let mut found = BTreeMap::new();
    for (command, python, ours) in lab.both("inspect", commands).await {
        let method = command.split(' ').next().unwrap();
        let unnamed = |value: &Value| {
            // The ids carry the queue's name.
            serde_json::from_str::<Value>(&neutral(&value.to_string(), &lab.python_node)).unwrap()
        };
        differences(method, &unnamed(&python), &unnamed(&ours), &lab.python_node, &mut found);
    }
    assert_the_same(found);

    // Of one task, and the list of those that are there.
    let (broker, nodes) = (lab.vhost.amqp_url.clone(), [lab.python_node.clone(), OURS.to_owned()]);
    let [queried, status] = blocking(move || {
        let query = vec!["inspect", "-j", "-t", "5", "query_task", "later-pythons", "later-ours"];
        let answers = tools(&broker, &[query, vec!["status", "-t", "5"]]);
        [answers[0].clone(), answers[1].clone()]
    })
    .await;
    let queried: Value = serde_json::from_str(queried["output"].as_str().unwrap()).unwrap();
    let mut found = BTreeMap::new();
    let of_python = &queried[&nodes[0]]["later-pythons"];
    let of_ours = &queried[OURS]["later-ours"];
    assert_eq!((&of_python[0], &of_ours[0]), (&json!("scheduled"), &json!("scheduled")));
    let neutral_id = |value: &Value| serde_json::from_str::<Value>(&neutral(&value.to_string(), &nodes[0])).unwrap();
    differences("query_task", &neutral_id(of_python), &neutral_id(of_ours), &nodes[0], &mut found);
    assert_the_same(found);
    let status_text = status["output"].as_str().unwrap();
    for node in &nodes {
        assert!(status_text.contains(&format!("{node}: OK")), "{status_text}");
    }
    assert!(status_text.contains("2 nodes online"), "{status_text}");
    // What runs would be waited for.
    lab.client.control().revoke(&["runs-ours".to_owned()], true).await.unwrap();
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_does_to_our_worker_what_it_does_to_a_python_worker() {
    let lab = lab(false).await;
    let commands = words(&[
        "enable_events",
        "enable_events",
        "disable_events",
        "disable_events",
        "heartbeat",
        "rate_limit lab.add 10/m",
        "rate_limit lab.nope 10/m",
        "rate_limit lab.add ten/m",
        "rate_limit lab.add 10/x",
        "time_limit lab.add 60 120",
        "time_limit lab.nope 60 120",
        "autoscale 4 1",
        "add_consumer extra",
        "cancel_consumer extra",
        "revoke some-id",
        "terminate SIGTERM other-id",
        "pool_restart",
    ]);
    let mut found = BTreeMap::new();
    for (command, python, ours) in lab.both("control", commands).await {
        differences(&command, &python, &ours, &lab.python_node, &mut found);
    }
    // What was done is seen.
    for (command, python, ours) in lab.both("inspect", words(&["registered", "revoked", "active_queues"])).await {
        differences(&command, &python, &ours, &lab.python_node, &mut found);
    }
    assert_the_same(found);
    let broker = lab.vhost.amqp_url.clone();
    let asked = blocking(move || tools(&broker, &[vec!["control", "-t", "1", "-d", OURS, "shutdown"]])).await;
    // Neither answers, so that the tool says that nobody did.
    assert_eq!(asked[0]["exit"], 69, "{asked:?}");
    tokio::time::timeout(SOON, lab.ours.ended).await.expect("it goes on").unwrap().unwrap();
    let mut python = lab.python;
    blocking(move || python.kill()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_our_worker_are_those_of_a_python_worker() {
    let lab = lab(true).await;
    let broker = lab.vhost.amqp_url.clone();
    let (listener, dump) = blocking(move || {
        let listener = Python::spawn("celery_tools.py", ["--broker", &broker, "events"], &[]);
        listener.wait_for_line("listening", SOON);
        let dump = Python::spawn("celery_tools.py", ["--broker", &broker, "run", "events", "--dump"], &[]);
        // It tells that it hears.
        dump.wait_for_line("rust@lab", SOON);
        (listener, dump)
    })
    .await;
    for queue in ["pythons", "ours"] {
        let call = |task: &'static str, name: &'static str, value: Value| {
            lab.client.call(queue, task, Map::from_iter([(name.to_owned(), value)]), SOON)
        };
        call("lab.sleep", "seconds", json!(0)).await.unwrap();
        call("lab.fail", "message", json!("it's so")).await.unwrap_err();
        call("lab.nope", "x", json!(1)).await.unwrap_err();
        // Held until it is too late for it.
        let late = SendOptions {
            countdown: Some(Duration::from_secs(2)),
            expires_in: Some(Duration::from_secs(1)),
            ..SendOptions::default()
        };
        let mut expired = lab.client.send(queue, "lab.add", vec![json!(1), json!(2)], Map::new(), late).await.unwrap();
        expired.get(SOON).await.unwrap_err();
    }
    // Python tells of an unknown task and of one that failed in no certain order: they are told apart.
    const UNKNOWN: &str = "task-failed: unknown";
    let types =
        ["worker-heartbeat", "task-received", "task-started", "task-succeeded", "task-failed", UNKNOWN, "task-revoked"];
    let python_node = lab.python_node.clone();
    let seen = blocking(move || {
        let until = Instant::now() + SOON;
        loop {
            let mut seen: BTreeMap<(String, String), Value> = BTreeMap::new();
            // The last line may not be whole yet.
            for event in listener.stdout().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
                // Python's answer to a listener that wakes workers up is a heartbeat without what the regular ones tell.
                if text("type") == "worker-heartbeat" && event.get("active").is_none() {
                    continue;
                }
                let unknown = text("type") == "task-failed" && text("exception").starts_with("NotRegistered");
                let kind = if unknown { UNKNOWN.to_owned() } else { text("type") };
                seen.entry((kind, text("hostname"))).or_insert(event);
            }
            let nodes = [python_node.as_str(), OURS];
            let missing: Vec<_> = types
                .iter()
                .flat_map(|kind| nodes.iter().map(move |node| ((*kind).to_owned(), (*node).to_owned())))
                .filter(|key| !seen.contains_key(key))
                .collect();
            if missing.is_empty() {
                return seen;
            }
            assert!(Instant::now() < until, "not seen: {missing:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    })
    .await;
    let mut found = BTreeMap::new();
    for kind in types {
        let of = |node: &str| {
            let mut event = seen[&(kind.to_owned(), node.to_owned())].clone();
            // Ids are random; the receiver's own time is of no interest.
            event
                .as_object_mut()
                .unwrap()
                .retain(|key, _| !["uuid", "root_id", "local_received"].contains(&key.as_str()));
            event
        };
        let at = kind.split(':').next().unwrap();
        differences(at, &of(&lab.python_node), &of(OURS), &lab.python_node, &mut found);
    }
    assert_the_same(found);
    // The tool people type shows the same tasks.
    let dumped = blocking(move || dump.wait_for_line("task succeeded", SOON)).await;
    assert!(dumped.contains("task succeeded"), "{dumped}");
    lab.end().await;
}

/// One HTTP request to Flower; status and body.
fn http(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return (0, String::new());
    };
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    if stream.write_all(head.as_bytes()).and_then(|()| stream.read_to_end(&mut answer)).is_err() {
        return (0, String::new());
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// Asks until the answer is JSON that is good enough.
fn wait_for(address: SocketAddr, path: &str, what: &str, good: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + SOON;
    loop {
        let (status, body) = http(address, "GET", path);
        if status == 200
            && let Ok(value) = serde_json::from_str::<Value>(&body)
            && good(&value)
        {
            return value;
        }
        assert!(Instant::now() < until, "{what}: {status} {body}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flower_lists_our_worker_and_its_buttons_work() {
    let vhost = blocking(|| RabbitMq::shared().vhost()).await;
    let options = || ConnectOptions { operation_timeout: SOON, ..ConnectOptions::default() };
    let broker = connect(&vhost.amqp_url, options()).await.unwrap();
    // Without task events: Flower asks for them.
    let ours = start_ours(broker, WorkerEvents::Worker);
    let client = Client::new(connect(&vhost.amqp_url, options()).await.unwrap()).await.unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = vhost.amqp_url.clone();
    let mut flower = blocking(move || {
        let port = format!("--port={}", address.port());
        let arguments = ["--broker", &url, "run", "flower", "--address=127.0.0.1", &port];
        Python::spawn("celery_tools.py", arguments, &[("FLOWER_UNAUTHENTICATED_API", "true")])
    })
    .await;
    let worker = blocking(move || {
        wait_for(address, "/api/workers?refresh=1", "the worker", |workers| {
            // It asks one thing after the other.
            let told = &workers[OURS];
            told["registered"].is_array() && told["stats"].is_object() && told["active_queues"].is_array()
        })
    })
    .await[OURS]
        .clone();
    assert_eq!(worker["active_queues"][0]["name"], "ours");
    assert_eq!(worker["stats"]["pool"]["max-concurrency"], 4);
    assert!(worker["registered"].as_array().unwrap().contains(&json!("lab.add")));

    // Tasks with their runtimes, once task events are on.
    let seen = async {
        loop {
            let add = [("x".to_owned(), json!(1)), ("y".to_owned(), json!(2))];
            client.call("ours", "lab.add", Map::from_iter(add), SOON).await.unwrap();
            let (_, body) = blocking(move || http(address, "GET", "/api/tasks?state=SUCCESS")).await;
            let tasks: Map<String, Value> = serde_json::from_str(&body).unwrap_or_default();
            // Of the first one it may have heard only the end.
            let whole = |task: &&Value| task["runtime"].is_f64() && task["name"].is_string();
            if let Some(task) = tasks.values().find(whole) {
                return task.clone();
            }
        }
    };
    let task = tokio::time::timeout(SOON, seen).await.expect("Flower shows no task");
    assert_eq!((&task["name"], &task["result"], &task["worker"]), (&json!("lab.add"), &json!("3"), &json!(OURS)));
    assert_eq!(task["kwargs"], "{'x': 1, 'y': 2}");

    // The buttons.
    let press = async |path: String| {
        let (status, body) = blocking(move || http(address, "POST", &path)).await;
        assert_eq!(status, 200, "{body}");
        body
    };
    let added = press(format!("/api/worker/queue/add-consumer/{OURS}?queue=extra")).await;
    assert!(added.contains("add consumer extra"), "{added}");
    let limited = press(format!("/api/task/rate-limit/lab.add?workername={OURS}&ratelimit=100/s")).await;
    assert!(limited.contains("new rate limit set successfully"), "{limited}");
    let later = SendOptions {
        task_id: Some("not-to-run".to_owned()),
        countdown: Some(Duration::from_secs(2)),
        ..SendOptions::default()
    };
    let mut revoked = client.send("ours", "lab.add", vec![json!(1), json!(1)], Map::new(), later).await.unwrap();
    press("/api/task/revoke/not-to-run".to_owned()).await;
    let outcome = revoked.get(SOON).await;
    assert!(matches!(outcome, Err(celery_runtime::client::CallError::Revoked { .. })), "{outcome:?}");
    // The queue that was added is consumed.
    let add = [("x".to_owned(), json!(2)), ("y".to_owned(), json!(2))];
    assert_eq!(client.call("extra", "lab.add", Map::from_iter(add), SOON).await.unwrap(), 4);
    press(format!("/api/worker/shutdown/{OURS}")).await;
    tokio::time::timeout(SOON, ours.ended).await.expect("it goes on").unwrap().unwrap();
    blocking(move || flower.kill()).await;
}
