//! The declarations of a captured client.

use crate::captures::{field, read_json};
use celery_protocol::FieldTable;
use celery_protocol::topology::{QueueDeclare, RESULT_EXPIRES, Route, TaskQueue, reply_queue};
use serde_json::{Value, json};

/// What a client of 5.7.0 sent before and with its first task, by method.
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
    let known = [reply_queue(&client, RESULT_EXPIRES), TaskQueue::new("celery").queue];
    assert!(declared.iter().all(|queue| known.contains(queue)));
    assert!(declared.contains(&known[1]));
}

#[test]
fn the_exchange_of_a_task_queue_is_declared_and_bound_as_a_python_client_does_it() {
    let ours = TaskQueue::new("celery");
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
