//! Events, as listeners get them and as `celery events --dump` shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use celery_protocol::{Message, Properties};
use celery_runtime::{
    broker::{Guarantee, Publish},
    client::SendOptions,
    worker::WorkerEvents,
};
use serde_json::{Map, Value, json};
use testkit::servers::{Process, Python};

use crate::{
    compare::{Differences, assert_no_row_is_stale, assert_the_same, differences, is_allowed},
    lab::{Lab, OURS, Ours, SOON, Server, blocking},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_our_worker_are_those_of_a_python_worker() {
    events_are_the_same(Server::rabbitmq().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_the_same_over_redis() {
    events_are_the_same(Server::redis().await).await;
}

/// Python tells of an unknown task and of one that failed in no certain order: they are told apart.
const UNKNOWN: &str = "task-failed: unknown";
const TYPES: [&str; 11] = [
    "worker-online",
    "worker-heartbeat",
    "worker-offline",
    "task-received",
    "task-started",
    "task-succeeded",
    "task-failed",
    UNKNOWN,
    "task-retried",
    "task-rejected",
    "task-revoked",
];

async fn events_are_the_same(server: Server) {
    let broker = server.broker_url();
    // Before the workers, so that their beginning is heard.
    let (listener, dump) = blocking(move || {
        let listener = Python::spawn("celery_tools.py", ["--broker", &broker, "events"], &[]);
        let dump = Python::spawn("celery_tools.py", ["--broker", &broker, "run", "events", "--dump"], &[]);
        listener.wait_for_line("listening", SOON);
        dump.wait_for_line("starting capture", SOON);
        (listener, dump)
    })
    .await;
    // Neither says when it really listens, so that a first worker is what they have to hear.
    let first = Ours::start(&server, WorkerEvents::Tasks).await;
    let (listener, dump) = blocking(move || {
        listener.wait_for_line(OURS, SOON);
        dump.wait_for_line(OURS, SOON);
        (listener, dump)
    })
    .await;
    first.stop().await;
    let lab = Lab::start(server, "threads", true).await;
    make_tasks(&lab).await;
    // All but the last have told before they end.
    let python_node = lab.python_node.clone();
    let before: Vec<_> = TYPES.into_iter().filter(|kind| *kind != "worker-offline").collect();
    let (_, listener) = {
        let (node, kinds) = (python_node.clone(), before);
        blocking(move || (heard(&listener, &kinds, &node), listener)).await
    };
    lab.ours.stop().await;
    let python = lab.python;
    let (seen, dumped) = {
        let node = python_node.clone();
        blocking(move || {
            let _ = python.terminate(SOON);
            (heard(&listener, &TYPES, &node), shown(&dump, &node))
        })
        .await
    };
    let mut found = Differences::new();
    for kind in TYPES {
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
        differences(at, &of(&python_node), &of(OURS), &python_node, &mut found);
    }
    assert_the_same(&found);
    assert_no_row_is_stale(&found, &["task-failed", "task-retried", "task-rejected", "worker-*"]);
    assert_dumped_alike(&dumped, &python_node);
}

/// Tasks of every fate.
async fn make_tasks(lab: &Lab) {
    for queue in ["pythons", "ours"] {
        let call = |task: &'static str, name: &'static str, value: Value| {
            lab.client.call(queue, task, Map::from_iter([(name.to_owned(), value)]), SOON)
        };
        call("lab.sleep", "seconds", json!(0)).await.unwrap();
        call("lab.fail", "message", json!("it's so")).await.unwrap_err();
        call("lab.nope", "x", json!(1)).await.unwrap_err();
        assert_eq!(call("lab.retry", "times", json!(1)).await.unwrap(), 1);
        // Held until it is too late for it.
        let late = SendOptions {
            countdown: Some(Duration::from_secs(2)),
            expires_in: Some(Duration::from_secs(1)),
            ..SendOptions::default()
        };
        let mut expired = lab.client.send(queue, "lab.add", vec![json!(1), json!(2)], Map::new(), late).await.unwrap();
        expired.get(SOON).await.unwrap_err();
    }
    // Python rejects what its task says to reject, we what cannot be read.
    lab.client.send("pythons", "lab.reject", vec![], Map::new(), SendOptions::default()).await.unwrap();
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        correlation_id: Some("unreadable".to_owned()),
        ..Properties::default()
    };
    let headers = ["id", "task", "lang"].into_iter().zip(["unreadable", "lab.add", "py"]);
    let headers: Map<String, Value> = headers.map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let message = Message { properties, headers: (&headers).into(), body: b"not json".to_vec() };
    let guarantee = Guarantee::Confirmed { mandatory: true };
    let unreadable = Publish { exchange: String::new(), routing_key: "ours".to_owned(), message, guarantee };
    lab.client.broker().publish(unreadable).await.unwrap();
}

type Heard = BTreeMap<(String, String), Value>;

/// The first event of each kind and node; waits until all of `kinds` were heard of both.
fn heard(listener: &Process, kinds: &[&str], python_node: &str) -> Heard {
    let until = Instant::now() + SOON;
    loop {
        let mut seen = Heard::new();
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
        let missing: Vec<_> = kinds
            .iter()
            .flat_map(|kind| [python_node, OURS].map(|node| ((*kind).to_owned(), node.to_owned())))
            .filter(|key| !seen.contains_key(key))
            .collect();
        if missing.is_empty() {
            return seen;
        }
        assert!(Instant::now() < until, "not seen: {missing:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The events of a dump: the names of the fields of each, by event name and node.
type Dumped = BTreeMap<(String, String), BTreeSet<String>>;

/// Reads lines like `NODE [TIME] task succeeded: TASK a=1, b=2`, until the ends of both workers are among them.
fn shown(dump: &Process, python_node: &str) -> Dumped {
    let until = Instant::now() + SOON;
    loop {
        let (mut dumped, mut last) = (Dumped::new(), None);
        for line in dump.stdout().lines() {
            let begins =
                [python_node, OURS].iter().find_map(|node| Some((*node, line.strip_prefix(node)?.strip_prefix(" [")?)));
            let fields = if let Some((node, rest)) = begins {
                let Some((_, told)) = rest.split_once("] ") else { continue };
                let (what, fields) = told.split_once(':').unwrap_or((told, ""));
                last = Some((what.to_owned(), node.to_owned()));
                fields
            } else {
                // Behind a traceback, which has lines of its own, it goes on with a comma.
                let Some(fields) = line.strip_prefix(", ") else { continue };
                fields
            };
            let Some(event) = last.clone() else { continue };
            let names = fields.split([' ', ',']).filter_map(|word| word.split_once('=').map(|(name, _)| name));
            // A name, not a piece of somebody's text, nor of the task as it was received.
            let names = names.filter(|name| {
                !["", "args", "kwargs"].contains(name) && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            });
            let known = dumped.entry(event).or_default();
            known.extend(names.map(str::to_owned));
        }
        let ended = |node: &str| dumped.contains_key(&("shutdown".to_owned(), node.to_owned()));
        if ended(python_node) && ended(OURS) {
            return dumped;
        }
        assert!(Instant::now() < until, "not all is dumped: {dumped:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Nothing is shown of one kind of worker alone, and the same fields, but for those that the table has.
fn assert_dumped_alike(dumped: &Dumped, python_node: &str) {
    let of = |wanted: &str| -> BTreeMap<&String, &BTreeSet<String>> {
        dumped.iter().filter(|((_, node), _)| node == wanted).map(|((what, _), fields)| (what, fields)).collect()
    };
    let (python, ours) = (of(python_node), of(OURS));
    let tasks = ["task received", "task started", "task succeeded", "task failed", "task retried", "task revoked"];
    for what in tasks {
        assert!(ours.contains_key(&what.to_owned()), "{what}: {ours:#?}");
    }
    assert_eq!(python.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    for (what, fields) in &python {
        let kind = what.replace(' ', "-");
        let differing = fields.symmetric_difference(ours[what]);
        let unexplained: Vec<_> = differing.filter(|name| !is_allowed(&format!("{kind}.{name}"))).collect();
        assert!(unexplained.is_empty(), "{what}: {unexplained:?} of {fields:?} and {:?}", ours[what]);
    }
}
