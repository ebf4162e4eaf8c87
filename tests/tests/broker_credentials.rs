//! The broker users of `deploy/rabbitmq/definitions.json`: with them the fleet does its work, and whoever has one of a
//! worker's cannot remove targets, pause, or take what is another's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use celery_runtime::broker::ConnectOptions;
use celery_runtime::client::{CallError, Client, SendOptions};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeBindOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties, ErrorKind};
use serde_json::{Map, Value, json};
use system_tests::{Files, Fleet, Keys, MONITOR, SNAPSHOT, TARGETS, TIMESTAMP, WORKERS, clients};
use testkit::servers::{Python, RabbitMq, VHost};

const ADMIN: &str = "rugged.admin";
/// What only an operator may have done. Re-binning may also be unknown to the worker that is asked.
const RESERVED: [(&str, &str, &[&str]); 4] = [
    ("targets-worker", "remove-targets", &["NotPermitted"]),
    ("targets-worker", "update-hashed-bins-count", &["NotPermitted", "NotRegistered"]),
    ("monitor-worker", "pause-processing", &["NotPermitted"]),
    ("monitor-worker", "resume-processing", &["NotPermitted"]),
];
/// Where the results of forged tasks are sent.
const ANSWERS: &str = "answers";
const SOON: Duration = Duration::from_secs(60);

fn files() -> Files {
    [("hello.txt".to_owned(), b"hello".to_vec()), ("tools/saw".to_owned(), b"a saw".to_vec())].into()
}

/// A virtual host as the definitions make it, and the URL of each of its users.
fn deployed() -> (VHost, BTreeMap<String, String>) {
    let path = testkit::servers::workspace().join("deploy/rabbitmq/definitions.json");
    let definitions: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let vhost = RabbitMq::shared().vhost();
    let each = |what: &str| definitions[what].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for exchange in each("exchanges") {
        let path = format!("/api/exchanges/{}/{}", vhost.name, text(&exchange["name"]));
        vhost.management("PUT", &path, Some(&exchange));
    }
    for queue in each("queues") {
        vhost.management("PUT", &format!("/api/queues/{}/{}", vhost.name, text(&queue["name"])), Some(&queue));
    }
    for binding in each("bindings") {
        let path =
            format!("/api/bindings/{}/e/{}/q/{}", vhost.name, text(&binding["source"]), text(&binding["destination"]));
        vhost.management("POST", &path, Some(&binding));
    }
    let users = each("permissions").into_iter().map(|user| {
        let url = vhost.user(&text(&user["configure"]), &text(&user["write"]), &text(&user["read"]));
        (text(&user["user"]), url)
    });
    let users = users.collect();
    (vhost, users)
}

/// A fleet in which each worker has its own broker user, with one release.
fn fleet() -> (Fleet, BTreeMap<String, String>) {
    let (vhost, users) = deployed();
    let settings = [("publish_min_interval", json!(0)), ("scheduler_scan_period", json!(1))];
    let mut fleet = Fleet::lay_out(vhost, Keys::Ed25519, &settings);
    // In the order of a release: a role that starts before the one below it has signed says that it waits.
    for worker in [TARGETS, SNAPSHOT, TIMESTAMP, MONITOR] {
        fleet.set_broker_url(worker, users[worker].clone());
        fleet.start_worker(worker);
        fleet.wait_ready();
    }
    fleet.post_drop("first", &files());
    fleet.published("first");
    (fleet, users)
}

#[test]
fn with_the_least_permissions_the_fleet_works_and_has_nothing_to_complain_about() {
    let (fleet, _) = fleet();
    assert_eq!(clients::our_client(&fleet), files());
    for worker in WORKERS {
        let log = fleet.log_of(worker);
        let complaints: Vec<&str> = log
            .lines()
            .filter(|line| ["error", "warn"].iter().any(|level| line.contains(&format!("\"level\":\"{level}\""))))
            .collect();
        assert!(log.contains("\"level\":\"info\""), "{worker} logs otherwise than this test reads");
        assert!(complaints.is_empty(), "{worker}: {complaints:#?}");
    }
}

/// The Python of the front page, word for word but for the address.
#[test]
fn the_front_pages_python_works_with_the_producers_user() {
    let (fleet, users) = fleet();
    let readme = fs::read_to_string(testkit::servers::workspace().join("README.md")).unwrap();
    let code = readme.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(code.contains("amqp://…") && code.contains("send_task"), "{code}");
    let script = fleet.path("front_page.py");
    fs::write(&script, code.replace("amqp://…", &users["producer"])).unwrap();
    fs::write(fleet.inbound().join("loose.txt"), "loose").unwrap();
    let program = Python::run(script.to_str().unwrap(), std::iter::empty::<&str>(), &[]);
    assert!(program.status.success(), "{}{}", program.stdout, program.stderr);
    assert!(!fleet.inbound().join("loose.txt").exists(), "it was signed and taken away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_operator_can_remove_targets_and_pause() {
    let (fleet, users) = tokio::task::spawn_blocking(fleet).await.unwrap();
    let operator = celery_runtime::broker::connect(&users["operator"], ConnectOptions::default()).await.unwrap();
    let operator = Client::new(operator).await.unwrap();
    let declared = attempt(&fleet.vhost().amqp_url, async |channel| {
        channel.queue_declare(ANSWERS.into(), QueueDeclareOptions::default(), FieldTable::default()).await.map(drop)
    });
    declared.await.unwrap();

    for worker in WORKERS {
        for reserved in RESERVED {
            assert_refused_to(&fleet, &users, worker, reserved).await;
        }
    }
    let fleet = tokio::task::spawn_blocking(move || {
        assert_eq!(clients::our_client(&fleet), files(), "nothing was removed");
        fleet.post_drop("second", &[("more".to_owned(), vec![1])].into());
        fleet.published("second"); // so nothing was paused
        fleet
    })
    .await
    .unwrap();

    // The operator can: by the same message through the other exchange.
    let ask = async |queue: &str, task: &str, arguments: Value| {
        let Value::Object(arguments) = arguments else { panic!("keyword arguments") };
        let options = SendOptions { exchange: Some(ADMIN.into()), ..SendOptions::default() };
        operator.send(queue, task, vec![], arguments, options).await.unwrap().get(SOON).await
    };
    let removed =
        ask("targets-worker", "remove-targets", json!({"targets": ["hello.txt"], "request_id": "asked"})).await;
    assert_eq!(removed.unwrap()["removed"], 1);
    assert_eq!(ask(MONITOR, "pause-processing", json!({"reason": "asked"})).await.unwrap()["paused"], true);
    // What the operator paused, no worker resumes.
    for worker in WORKERS {
        assert_refused_to(&fleet, &users, worker, RESERVED[3]).await;
    }
    let status = operator.call(MONITOR, "status", Map::new(), SOON).await.unwrap();
    assert_eq!(status["processing"]["reason"], "asked", "{status}");
    // By the usual way the operator is told how it is done.
    let Err(CallError::TaskFailed { exc_type, .. }) =
        operator.call(MONITOR, "resume-processing", Map::new(), SOON).await
    else {
        panic!("the operators' exchange was not asked for");
    };
    assert_eq!(exc_type, "NotPermitted");
    assert_eq!(ask(MONITOR, "resume-processing", json!({})).await.unwrap()["paused"], false);
    tokio::task::spawn_blocking(move || {
        fleet.post_drop("third", &[("last".to_owned(), vec![2])].into());
        fleet.published("third");
        let left: Vec<String> = clients::our_client(&fleet).into_keys().collect();
        assert_eq!(left, ["last", "more", "tools/saw"]);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_operator_can_steer_workers_by_remote_control() {
    let fleet = |mode: &'static str| {
        let (vhost, users) = deployed();
        let mut fleet = Fleet::lay_out(vhost, Keys::Ed25519, &[("remote_control", json!(mode))]);
        for worker in WORKERS {
            fleet.set_broker_url(worker, users[worker].clone());
            fleet.start_worker(worker);
        }
        fleet.wait_ready();
        (fleet, users)
    };
    let (fleet, users) = tokio::task::spawn_blocking(move || fleet("full")).await.unwrap();
    let operator = celery_runtime::broker::connect(&users["operator"], ConnectOptions::default()).await.unwrap();
    let operator = Client::new(operator).await.unwrap();
    let listening = async {
        loop {
            let replies = operator.control().inspect("ping").await.unwrap();
            if replies.len() == WORKERS.len() {
                return replies.into_iter().map(|reply| reply.node).collect::<Vec<_>>();
            }
        }
    };
    let nodes = tokio::time::timeout(SOON, listening).await.expect("all workers answer the operator");

    let shutdown = json!({"method": "shutdown", "arguments": {}, "destination": null});
    for worker in WORKERS {
        let url = &users[worker];
        // To all workers, as Celery sends it: the broker refuses it.
        let sent = send(url, "celery.pidbox", "", &shutdown).await;
        assert!(sent.unwrap_err().contains("ACCESS_REFUSED"), "{worker}");
        for node in &nodes {
            // Straight to a worker's queue it arrives, and is ignored.
            send(url, "", &format!("{node}.celery.pidbox"), &shutdown).await.unwrap();
        }
        for other in nodes.iter().filter(|node| !node.starts_with(worker)) {
            let mailbox = format!("{other}.celery.pidbox");
            let bind = attempt(url, async |channel| {
                let options = QueueBindOptions::default();
                let queue = mailbox.as_str();
                channel.queue_bind(queue.into(), worker.into(), "".into(), options, FieldTable::default()).await
            });
            assert_refused(bind.await, worker, "binds the mailbox of", other);
        }
        let forward = attempt(url, async |channel| {
            let options = ExchangeBindOptions::default();
            let (to, from) = ("celery.pidbox".into(), worker.into());
            channel.exchange_bind(to, from, "".into(), options, FieldTable::default()).await
        });
        assert_refused(forward.await, worker, "forwards to", "celery.pidbox");
    }
    let control = operator.control().to(nodes.clone()).timeout(SOON);
    let answers = control.inspect("ping").await.unwrap();
    assert_eq!(answers.len(), WORKERS.len(), "nobody was shut down: {answers:?}");
    // The operator can.
    let revoked = control.revoke(&["some-id".to_owned()], false).await.unwrap();
    assert!(revoked.iter().all(|answer| answer.value["ok"] == "tasks {'some-id'} flagged as revoked"), "{revoked:?}");
    drop(fleet);
}

/// Sends a control request past Celery, and waits for the broker's confirm.
async fn send(url: &str, exchange: &str, routing_key: &str, body: &Value) -> Result<(), String> {
    attempt(url, async |channel| {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into());
        let body = body.to_string().into_bytes();
        let options = BasicPublishOptions::default();
        channel.basic_publish(exchange.into(), routing_key.into(), options, &body, properties).await?.await.map(drop)
    })
    .await
}

/// Whoever has the broker user of `worker` sends a task that is reserved to operators, by every way there is.
async fn assert_refused_to(
    fleet: &Fleet,
    users: &BTreeMap<String, String>,
    worker: &str,
    (queue, task, classes): (&str, &str, &[&str]),
) {
    let who = format!("{worker} sends {task}");
    let arguments = match task {
        "remove-targets" => json!({"targets": ["hello.txt"], "request_id": "forged"}),
        "update-hashed-bins-count" => json!({"number_of_bins": 16, "request_id": "forged"}),
        "pause-processing" => json!({"reason": "forged"}),
        _ => json!({}),
    };
    // Through the operators' exchange, the broker refuses it.
    let refused = publish(&users[worker], ADMIN, queue, task, &arguments).await;
    assert!(refused.unwrap_err().contains("ACCESS_REFUSED"), "{who}");
    // Through the queue's own exchange too, unless it is the worker's own queue.
    let own = publish(&users[worker], queue, queue, task, &arguments).await;
    match own {
        Ok(()) => assert_eq!(worker, queue, "{who}"),
        Err(error) => assert!(worker != queue && error.contains("ACCESS_REFUSED"), "{who}: {error}"),
    }
    // Through the default exchange it arrives, and the worker refuses it.
    publish(&users[worker], "", queue, task, &arguments).await.unwrap();
    for answer in answers(fleet, if worker == queue { 2 } else { 1 }).await {
        let class = answer["result"]["exc_type"].as_str().unwrap_or_else(|| panic!("{who}: {answer}"));
        assert!(classes.contains(&class), "{who}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_cannot_take_reroute_or_destroy_what_is_anothers() {
    let (vhost, users) = tokio::task::spawn_blocking(deployed).await.unwrap();
    for worker in WORKERS {
        let url = &users[worker];
        for other in WORKERS.into_iter().filter(|other| *other != worker) {
            let get = attempt(url, async |channel| {
                channel.basic_get(other.into(), BasicGetOptions::default()).await.map(drop)
            });
            assert_refused(get.await, worker, "reads", other);
            let consume = attempt(url, async |channel| {
                let options = BasicConsumeOptions::default();
                channel.basic_consume(other.into(), "".into(), options, FieldTable::default()).await.map(drop)
            });
            assert_refused(consume.await, worker, "consumes", other);
            let purge = attempt(url, async |channel| {
                channel.queue_purge(other.into(), QueuePurgeOptions::default()).await.map(drop)
            });
            assert_refused(purge.await, worker, "purges", other);
            let delete = attempt(url, async |channel| {
                channel.queue_delete(other.into(), QueueDeleteOptions::default()).await.map(drop)
            });
            assert_refused(delete.await, worker, "deletes", other);
            let bind = attempt(url, async |channel| {
                let options = QueueBindOptions::default();
                channel.queue_bind(worker.into(), other.into(), other.into(), options, FieldTable::default()).await
            });
            assert_refused(bind.await, worker, "binds its queue to the exchange of", other);
            let unbind = attempt(url, async |channel| {
                channel.queue_unbind(other.into(), ADMIN.into(), other.into(), FieldTable::default()).await
            });
            assert_refused(unbind.await, worker, "unbinds the operators' exchange from", other);
        }
        let listen = attempt(url, async |channel| {
            let options = QueueBindOptions::default();
            channel.queue_bind(worker.into(), ADMIN.into(), "#".into(), options, FieldTable::default()).await
        });
        assert_refused(listen.await, worker, "listens to", ADMIN);
        let forward = attempt(url, async |channel| {
            let options = ExchangeBindOptions::default();
            channel.exchange_bind(worker.into(), ADMIN.into(), "".into(), options, FieldTable::default()).await
        });
        assert_refused(forward.await, worker, "forwards from", ADMIN);
        let exchange = attempt(url, async |channel| {
            let (kind, options) = (lapin::ExchangeKind::Fanout, ExchangeDeclareOptions::default());
            channel.exchange_declare("mine".into(), kind, options, FieldTable::default()).await
        });
        assert_refused(exchange.await, worker, "makes", "an exchange");
        let queue = attempt(url, async |channel| {
            channel.queue_declare("mine".into(), QueueDeclareOptions::default(), FieldTable::default()).await.map(drop)
        });
        assert_refused(queue.await, worker, "makes", "a queue");
    }
    drop(vhost);
}

#[track_caller]
fn assert_refused(outcome: Result<(), String>, worker: &str, what: &str, whose: &str) {
    let error = outcome.expect_err(&format!("{worker} {what} {whose}"));
    assert!(error.contains("ACCESS_REFUSED"), "{worker} {what} {whose}: {error}");
}

async fn attempt(url: &str, what: impl AsyncFnOnce(lapin::Channel) -> Result<(), lapin::Error>) -> Result<(), String> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let outcome = what(channel).await.map_err(|error| said(&error));
    let _ = connection.close(200, "done".into()).await;
    outcome
}

/// Sends a task as Celery does, and waits for the broker's confirm.
async fn publish(url: &str, exchange: &str, queue: &str, task: &str, arguments: &Value) -> Result<(), String> {
    let id = "3d4a7e06-3c53-4a3f-9d3f-1b1ad7f0c0de";
    attempt(url, async |channel| {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut headers = FieldTable::default();
        for (name, value) in [("lang", "py"), ("task", task), ("id", id), ("root_id", id)] {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_correlation_id(id.into())
            .with_reply_to(ANSWERS.into());
        let body = json!([[], arguments, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let body = body.to_string().into_bytes();
        channel.basic_publish(exchange.into(), queue.into(), options, &body, properties).await?.await.map(drop)
    })
    .await
}

/// The results that arrived in [`ANSWERS`], once there are so many.
async fn answers(fleet: &Fleet, count: usize) -> Vec<Value> {
    let connection = Connection::connect(&fleet.vhost().amqp_url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer = channel.basic_consume(ANSWERS.into(), "".into(), options, FieldTable::default()).await.unwrap();
    let taken = consumer.take(count).map(|answer| serde_json::from_slice(&answer.unwrap().data).unwrap()).collect();
    let answers = tokio::time::timeout(SOON, taken).await.expect("an answer to each task");
    connection.close(200, "done".into()).await.unwrap();
    answers
}

fn said(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => format!("{error:?} {error}"),
        _ => error.to_string(),
    }
}
