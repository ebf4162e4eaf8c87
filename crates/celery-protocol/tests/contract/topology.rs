//! The declarations of a captured client.

use crate::captures::{field, read_json};
use celery_protocol::FieldTable;
use celery_protocol::topology::{
    Mailbox, QueueDeclare, RESULT_EXPIRES, Route, TaskQueueDeclaration, reply_queue, topic_matches,
};
use serde_json::{Value, json};

/// The requests of a client of 5.7.0 before and with its first task, by method.
fn sent(method: &str) -> Vec<Value> {
    let frames = read_json("amqp-boot/client-rpc-first-task-5.7.0.json");
    let frames = frames.as_array().unwrap();
    let sent = frames.iter().filter(|frame| frame["direction"] == "c>s" && frame["method"] == method);
    sent.map(|frame| frame["args"].clone()).collect()
}

fn arguments(captured: &Value) -> FieldTable {
    let tagged = captured.as_object().unwrap().iter();
    tagged.map(|(name, pair)| (name.clone(), field(&pair[1], pair[0].as_str().unwrap()))).collect()
}

fn queue_declare(captured: &Value) -> QueueDeclare {
    assert_eq!(captured["passive"], json!(false));
    QueueDeclare {
        name: captured["queue"].as_str().unwrap().to_owned(),
        durable: captured["durable"].as_bool().unwrap(),
        exclusive: captured["exclusive"].as_bool().unwrap(),
        auto_delete: captured["auto_delete"].as_bool().unwrap(),
        arguments: arguments(&captured["arguments"]),
    }
}

#[test]
fn task_and_reply_queues_are_declared_as_a_python_client_declares_them() {
    let declared: Vec<_> = sent("queue.declare").iter().map(queue_declare).collect();
    let client = declared[0].name.clone();
    assert_eq!(declared[0], reply_queue(&client, RESULT_EXPIRES));
    let known = [reply_queue(&client, RESULT_EXPIRES), TaskQueueDeclaration::new("celery").queue];
    assert!(declared.iter().all(|queue| known.contains(queue)));
    assert!(declared.contains(&known[1]));
}

#[test]
fn the_exchange_of_a_task_queue_is_declared_and_bound_as_a_python_client_does_it() {
    let ours = TaskQueueDeclaration::new("celery");
    let exchanges = sent("exchange.declare");
    assert!(!exchanges.is_empty());
    for captured in exchanges {
        assert_eq!(captured["exchange"], json!(ours.exchange.name));
        assert_eq!(captured["type"], json!(ours.exchange.kind.as_str()));
        assert_eq!(captured["durable"], json!(ours.exchange.durable));
        assert_eq!(captured["auto_delete"], json!(ours.exchange.auto_delete));
        assert_eq!(arguments(&captured["arguments"]), ours.exchange.arguments);
    }
    let bindings = sent("queue.bind");
    assert!(!bindings.is_empty());
    for captured in bindings {
        assert_eq!(captured["queue"], json!(ours.binding.queue));
        assert_eq!(captured["exchange"], json!(ours.binding.exchange));
        assert_eq!(captured["routing_key"], json!(ours.binding.routing_key));
        assert_eq!(arguments(&captured["arguments"]), ours.binding.arguments);
    }
}

#[test]
fn tasks_go_through_the_default_exchange() {
    let published = sent("basic.publish");
    let route = Route::to_queue("celery");
    assert_eq!(published[0]["exchange"], json!(route.exchange));
    assert_eq!(published[0]["routing_key"], json!(route.routing_key));
}

/// The declarations of a worker of 5.7.0 for broadcasts at its start, by method.
fn declared_by_a_worker(method: &str, key: &str, name: &str) -> Value {
    let frames = read_json("amqp-boot/worker-boot-5.7.0.json");
    let frames = frames.as_array().unwrap();
    let found = frames.iter().find(|frame| {
        frame["direction"] == "c>s" && frame["method"] == method && frame["args"][key].as_str() == Some(name)
    });
    found.unwrap_or_else(|| panic!("{method} of {name}"))["args"].clone()
}

fn assert_declared(ours: &Mailbox) {
    let exchange = declared_by_a_worker("exchange.declare", "exchange", &ours.exchange.name);
    assert_eq!(exchange["type"], json!(ours.exchange.kind.as_str()));
    assert_eq!(exchange["durable"], json!(ours.exchange.durable));
    assert_eq!(exchange["auto_delete"], json!(ours.exchange.auto_delete));
    assert_eq!(arguments(&exchange["arguments"]), ours.exchange.arguments);
    assert_eq!(queue_declare(&declared_by_a_worker("queue.declare", "queue", &ours.queue.name)), ours.queue);
    let binding = declared_by_a_worker("queue.bind", "queue", &ours.queue.name);
    assert_eq!(binding["exchange"], json!(ours.binding.exchange));
    assert_eq!(binding["routing_key"], json!(ours.binding.routing_key));
    assert_eq!(arguments(&binding["arguments"]), ours.binding.arguments);
}

#[test]
fn mailboxes_are_declared_as_a_python_worker_declares_them() {
    assert_declared(&Mailbox::control_requests("w1@lab"));
    assert_declared(&Mailbox::control_replies("8ef415f4-8f16-30c8-9002-1f170b2536a2"));
    assert_declared(&Mailbox::events("4fcf9378-7d67-48c8-a083-5edd6695fff5", "worker.#"));
}

#[test]
fn topic_patterns_take_the_routing_keys_rabbitmq_gives_them() {
    for (pattern, key, takes) in [
        ("#", "", true),
        ("#", "worker.heartbeat", true),
        ("worker.#", "worker", true),
        ("worker.#", "worker.online", true),
        ("worker.#", "worker.elect.ack", true),
        ("worker.#", "task.multi", false),
        ("task.*", "task.multi", true),
        ("task.*", "task", false),
        ("task.*", "task.multi.more", false),
        ("#.ack", "worker.elect.ack", true),
        ("#.ack", "worker.elect", false),
        ("*.#.ack", "ack", false),
        ("", "", true),
        ("task.multi", "task.multi", true),
    ] {
        assert_eq!(topic_matches(pattern, key), takes, "{pattern:?} and {key:?}");
    }
}
