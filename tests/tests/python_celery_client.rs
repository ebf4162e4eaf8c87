//! An unmodified Python Celery client asks our workers over RabbitMQ.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;

use serde_json::{Value, json};
use system_tests::celery::{send_as_operator, send_knowing, send_task};
use system_tests::{Fleet, Keys, MONITOR, SNAPSHOT, TARGETS, TIMESTAMP, WORKERS, clients};
use testkit::servers::RabbitMq;

fn fleet() -> Fleet {
    Fleet::start(RabbitMq::shared().vhost(), Keys::Ed25519, &[])
}

/// The exception a caller's `except` clause sees.
fn raised(answer: &Value) -> (&str, &str) {
    assert_eq!(answer["state"], "FAILURE", "{answer}");
    let exception = &answer["exception"];
    (exception["module"].as_str().unwrap(), exception["class"].as_str().unwrap())
}

#[test]
fn results_come_back_to_a_python_client() {
    let fleet = fleet();

    for queue in WORKERS {
        let pong = send_task(&fleet, queue, "ping", &json!({}));
        assert_eq!((&pong["state"], &pong["result"]), (&json!("SUCCESS"), &json!("pong")));
    }
    let status = &send_task(&fleet, TIMESTAMP, "status", &json!({}))["result"];
    assert_eq!((&status["worker"], &status["role"]), (&json!(TIMESTAMP), &json!("timestamp")), "{status}");
    assert_eq!((&status["role_version"], &status["state"]), (&json!(1), &json!("ready")), "{status}");

    fs::create_dir(fleet.inbound().join("tools")).unwrap();
    fs::write(fleet.inbound().join("hello.txt"), "hello").unwrap();
    fs::write(fleet.inbound().join("tools/saw"), "a saw").unwrap();
    let added = send_task(&fleet, TARGETS, "add-targets", &json!({}));
    assert_eq!((&added["state"], &added["result"]["targets_added"]), (&json!("SUCCESS"), &json!(2)), "{added}");
    let snapshot = send_task(&fleet, SNAPSHOT, "update-snapshot", &json!({}));
    assert_eq!(snapshot["result"], json!({"version": 2, "changed": true, "record": 2}), "{snapshot}");
    let timestamp = send_task(&fleet, TIMESTAMP, "update-timestamp", &json!({}));
    assert_eq!(timestamp["result"], json!({"version": 2, "changed": true, "snapshot": 2}), "{timestamp}");

    let files = [("hello.txt".to_owned(), b"hello".to_vec()), ("tools/saw".to_owned(), b"a saw".to_vec())].into();
    assert_eq!(clients::python_tuf(&fleet)["targets"], clients::expected(&files));
}

#[test]
fn a_bad_call_raises_the_typed_exception() {
    let fleet = fleet();

    let unknown_argument = send_task(&fleet, TARGETS, "add-targets", &json!({"nonsense": 1}));
    assert_eq!(raised(&unknown_argument), ("builtins", "TypeError"));
    assert!(unknown_argument["exception"]["message"].as_str().unwrap().contains("'nonsense'"), "{unknown_argument}");

    let unknown_task = send_task(&fleet, TARGETS, "make-coffee", &json!({}));
    assert_eq!(raised(&unknown_task), ("celery.exceptions", "NotRegistered"));
    assert_eq!(unknown_task["exception"]["args"], json!(["make-coffee"]));

    // Celery makes a class of that name for a caller who has none, and puts it into its own module.
    let batch = json!({"batch": "batch_0123456789abcdef"});
    let missing = send_task(&fleet, TARGETS, "add-targets", &batch);
    assert_eq!(raised(&missing), ("celery.exceptions", "BatchMissing"));
    assert_eq!(missing["exception"]["args"].as_array().map(Vec::len), Some(1), "{missing}");
    assert!(missing["exception"]["args"][0].as_str().unwrap().contains("batch_0123456789abcdef"), "{missing}");

    let missing = send_knowing(&["BatchMissing"], &fleet, TARGETS, "add-targets", &batch);
    assert_eq!(raised(&missing), ("tuf_fleet.exceptions", "BatchMissing"));

    let outside = json!({"targets": ["../etc/passwd"]});
    let refused = send_knowing(&["Refused"], &fleet, TARGETS, "add-targets", &outside);
    assert_eq!(raised(&refused), ("tuf_fleet.exceptions", "Refused"));

    let pong = send_task(&fleet, TARGETS, "ping", &json!({}));
    assert_eq!(pong["result"], "pong", "the worker goes on");
}

#[test]
fn what_only_an_operator_may_ask_is_refused_to_everybody_else() {
    let fleet = fleet();

    let remove = json!({"targets": ["hello.txt"], "request_id": "r-1"});
    let refused = send_task(&fleet, TARGETS, "remove-targets", &remove);
    assert_eq!(raised(&refused), ("celery.exceptions", "NotPermitted"));
    let done = send_as_operator(&fleet, TARGETS, "remove-targets", &remove);
    assert_eq!(done["result"]["not_found"], 1, "{done}");

    let refused = send_task(&fleet, MONITOR, "pause-processing", &json!({"reason": "maintenance"}));
    assert_eq!(raised(&refused), ("celery.exceptions", "NotPermitted"));
    let paused = send_as_operator(&fleet, MONITOR, "pause-processing", &json!({"reason": "maintenance"}));
    assert_eq!((&paused["result"]["paused"], &paused["result"]["reason"]), (&json!(true), &json!("maintenance")));
}
