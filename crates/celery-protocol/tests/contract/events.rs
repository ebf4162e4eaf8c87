//! Events, held against one captured sample of each type.

use celery_protocol::control::LIMITS;
use celery_protocol::events::{self, Event, EventKind, TaskShown, WorkerState};
use celery_protocol::message::delivery_mode;
use serde_json::Value;

use crate::captures::{field, read_json};

/// The captured sample of a type, and the event we would send for it.
fn sample(name: &str, kind: impl FnOnce(&Value) -> EventKind) -> (Value, Event) {
    let captured = read_json(&format!("events/event-{name}.json"));
    let event = &captured["event"];
    let ours = Event {
        kind: kind(event),
        uuid: event["uuid"].as_str().map(str::to_owned),
        hostname: event["hostname"].as_str().unwrap().to_owned(),
        pid: event["pid"].as_u64().unwrap().try_into().unwrap(),
        clock: event["clock"].as_u64().unwrap(),
        utcoffset: event["utcoffset"].as_f64().unwrap(),
        timestamp: event["timestamp"].as_f64().unwrap(),
    };
    (captured, ours)
}

fn text(event: &Value, key: &str) -> Option<String> {
    event[key].as_str().map(str::to_owned)
}

fn worker(event: &Value) -> WorkerState {
    let load: Vec<f64> = event["loadavg"].as_array().unwrap().iter().map(|load| load.as_f64().unwrap()).collect();
    WorkerState {
        active: event["active"].as_u64().unwrap(),
        processed: event["processed"].as_u64().unwrap(),
        loadavg: load.try_into().unwrap(),
        sw_ident: text(event, "sw_ident").unwrap(),
        sw_ver: text(event, "sw_ver").unwrap(),
        sw_sys: text(event, "sw_sys").unwrap(),
    }
}

fn shown(event: &Value) -> TaskShown {
    TaskShown {
        name: text(event, "name").unwrap(),
        args: text(event, "args").unwrap(),
        kwargs: text(event, "kwargs").unwrap(),
        root_id: text(event, "root_id"),
        parent_id: text(event, "parent_id"),
        retries: event["retries"].as_u64().unwrap().try_into().unwrap(),
        eta: text(event, "eta"),
        expires: text(event, "expires"),
    }
}

fn samples() -> Vec<(Value, Event)> {
    let exception = |event: &Value| (text(event, "exception").unwrap(), text(event, "traceback"));
    vec![
        sample("worker-online", |event| EventKind::WorkerOnline(worker(event))),
        sample("worker-heartbeat", |event| EventKind::WorkerHeartbeat(worker(event))),
        sample("worker-offline", |event| EventKind::WorkerOffline(worker(event))),
        sample("task-received", |event| EventKind::TaskReceived(shown(event))),
        sample("task-started", |_| EventKind::TaskStarted),
        sample("task-succeeded", |event| EventKind::TaskSucceeded {
            result: text(event, "result").unwrap(),
            runtime: event["runtime"].as_f64().unwrap(),
        }),
        sample("task-failed", |event| {
            let (exception, traceback) = exception(event);
            EventKind::TaskFailed { exception, traceback }
        }),
        sample("task-retried", |event| {
            let (exception, traceback) = exception(event);
            EventKind::TaskRetried { exception, traceback }
        }),
        sample("task-revoked", |event| EventKind::TaskRevoked {
            terminated: event["terminated"].as_bool().unwrap(),
            signum: event["signum"].as_i64(),
            expired: event["expired"].as_bool().unwrap(),
        }),
        sample("task-rejected", |event| EventKind::TaskRejected { requeue: event["requeue"].as_bool().unwrap() }),
        sample("task-cancelled", |_| EventKind::TaskCancelled),
    ]
}

#[test]
fn events_are_written_as_python_writes_them() {
    for (captured, ours) in samples() {
        let label = captured["event"]["type"].as_str().unwrap();
        assert_eq!(ours.to_json().to_string(), captured["event"].to_string(), "{label}");
        assert_eq!(ours.kind.routing_key(), captured["routing_key"].as_str().unwrap(), "{label}");
        assert_eq!(ours.kind.as_str(), label);
        let message = match captured["is_list"].as_bool().unwrap() {
            true => events::task_message(&ours.hostname, std::slice::from_ref(&ours)),
            false => events::worker_message(&ours),
        };
        let header = &captured["headers"]["hostname"];
        assert_eq!(message.headers.get("hostname"), Some(&field(&header[1], header[0].as_str().unwrap())), "{label}");
        assert_eq!(message.properties.delivery_mode, Some(delivery_mode::TRANSIENT));
        assert_eq!(message.properties.priority, Some(0));
        assert_eq!(events::sender(&message), Some(ours.hostname.as_str()));
        let read = events::decode(&message, &LIMITS).unwrap();
        assert_eq!(Value::from(read), Value::from(vec![captured["event"].clone()]), "{label}");
    }
}

#[test]
fn events_of_types_we_do_not_send_are_read() {
    for name in ["worker-elect", "worker-elect-ack"] {
        let captured = read_json(&format!("events/event-{name}.json"));
        let body = captured["event"].to_string().into_bytes();
        let read = events::decode(&celery_protocol::Message::json(body, 1), &LIMITS).unwrap();
        assert_eq!(read[0]["type"], name);
    }
    for body in ["7", "[7]", "{}", r#"{"type": 7}"#] {
        assert!(events::decode(&celery_protocol::Message::json(body.into(), 1), &LIMITS).is_err(), "{body}");
    }
}
