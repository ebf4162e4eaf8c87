//! Messages a worker should not get.

use std::fs;

use celery_runtime::client::SendOptions;
use serde_json::{Map, Value, json};
use system_tests::{Fleet, MONITOR, SNAPSHOT, TARGETS, TIMESTAMP, WORKERS, clients, eventually_ok};
use testkit::servers::VHost;

use crate::{Caller, Raised, batch, files, fleet, without_monitor};

/// Puts a message into a queue as it is.
fn publish(vhost: &VHost, queue: &str, properties: &Value, payload: &str, encoding: &str) {
    let body =
        json!({"properties": properties, "routing_key": queue, "payload": payload, "payload_encoding": encoding});
    vhost.management("POST", &format!("/api/exchanges/{}/amq.default/publish", vhost.name), Some(&body));
}

/// The fleet answers and works.
#[track_caller]
fn works(fleet: &Fleet, caller: &Caller, drop: &str) {
    for worker in WORKERS {
        assert_eq!(caller.call(worker, "ping", json!({})), Ok(json!("pong")), "{worker}");
    }
    fleet.post_drop(drop, &files([(drop, drop)]));
    fleet.published(drop);
}

#[test]
fn a_malformed_or_hostile_task_message_stops_no_worker() {
    let fleet = fleet();
    let caller = Caller::of(&fleet);
    let headers = |task: &str| json!({"task": task, "id": "1", "lang": "py"});
    let json_task =
        |task: &str| json!({"content_type": "application/json", "content_encoding": "utf-8", "headers": headers(task)});
    let mut deep = json!([]);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    // A pickle that would run a command where pickles are read, in base64: cos\nsystem\n(S'exit 1'\ntR.
    let pickle = "Y29zCnN5c3RlbQooUydleGl0IDEnCnRSLg==";
    for worker in WORKERS {
        let task = if worker == MONITOR { "find-new-targets" } else { "refresh-expiry" };
        for (properties, payload, encoding) in [
            (json!({}), "no task at all", "string"),
            (json!({}), "", "string"),
            (json_task(task), "{not json", "string"),
            (json_task(task), "[1, 2, 3]", "string"),
            (json_task(task), "[[], {\"no_such_argument\": true}, {}]", "string"),
            (json_task(task), "[[{\"a\": [1]}, 2, 3, 4], {}, {}]", "string"),
            (json_task(task), &format!("[[], {{\"force\": {deep}}}, {{}}]"), "string"),
            (json_task("no-such-task"), "[[], {}, {}]", "string"),
            (json_task("__import__('os').system"), "[[], {}, {}]", "string"),
            (json_task(&"x".repeat(100_000)), "[[], {}, {}]", "string"),
            (json!({"content_type": "application/x-python-serialize", "headers": headers(task)}), pickle, "base64"),
            (
                json!({"content_type": "application/json", "headers": {"task": 7, "id": [], "retries": "many"}}),
                "[[], {}, {}]",
                "string",
            ),
            (
                json!({"headers": {"task": task, "id": "1", "compression": "application/x-gzip"}}),
                "bm90IGd6aXA=",
                "base64",
            ),
        ] {
            publish(fleet.vhost(), worker, &properties, payload, encoding);
        }
    }
    works(&fleet, &caller, "after");
    for worker in WORKERS {
        // Every one of them was taken from the queue, and none came back.
        eventually_ok(&format!("the queue of {worker} is empty"), || {
            let queue = fleet.vhost().queue(worker).expect("a queue");
            if queue["messages"] == 0 { Ok(()) } else { Err(queue.to_string()) }
        });
        assert!(!fleet.log_of(worker).contains("panicked"), "{}", fleet.log_of(worker));
    }
    assert_eq!(clients::our_client(&fleet), files([("after", "after")]));
}

#[test]
fn names_in_a_task_that_are_absolute_or_lead_elsewhere_by_dot_dot_are_refused() {
    let fleet = fleet();
    let caller = Caller::of(&fleet);
    let secret = fleet.path("secret");
    fs::write(&secret, "not released").unwrap();
    let before = fs::read_dir(fleet.records()).unwrap().count();
    for arguments in [
        json!({"targets": [secret]}),
        json!({"targets": ["../secret"]}),
        json!({"targets": ["a/../../secret"]}),
        json!({"targets": ["control\u{7}"]}),
        json!({"targets": ["e\u{301}"]}),
        json!({"targets": ["x".repeat(256)]}),
        json!({"batch": "batch_../../secret"}),
        json!({"batch": "/etc"}),
        json!({"batch": ".."}),
    ] {
        let Err(Raised(class, message)) = caller.call(TARGETS, "add-targets", arguments.clone()) else {
            panic!("{arguments} was not refused");
        };
        assert_eq!(class, "Refused", "{arguments}: {message}");
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
    assert_eq!(fs::read_dir(fleet.records()).unwrap().count(), before, "nothing was signed");
    works(&fleet, &caller, "after");
}

#[test]
fn a_task_for_another_role_is_refused_by_its_name() {
    let fleet = fleet();
    let caller = Caller::of(&fleet);
    for (worker, tasks) in [
        (MONITOR, ["add-targets", "update-snapshot", "update-timestamp"]),
        (TARGETS, ["find-new-targets", "update-snapshot", "update-timestamp"]),
        (SNAPSHOT, ["add-targets", "remove-targets", "update-timestamp"]),
        (TIMESTAMP, ["add-targets", "remove-targets", "update-snapshot"]),
    ] {
        for task in tasks {
            for answer in [caller.call(worker, task, json!({})), caller.operate(worker, task, json!({}))] {
                let Err(Raised(class, message)) = answer else { panic!("{worker} did {task}") };
                assert_eq!(class, "NotRegistered", "{message}");
                assert!(message.contains(task), "{message}");
            }
        }
    }
    works(&fleet, &caller, "after");
}

#[test]
fn a_task_for_another_repository_is_refused_by_its_name() {
    let mut fleet = without_monitor(&[("repository_id", json!("ours"))]);
    fleet.start_worker(MONITOR);
    fleet.wait_ready();
    let caller = Caller::of(&fleet);
    for worker in WORKERS {
        let to = |repository: &str| {
            let headers = Map::from_iter([("rugged_repository".to_owned(), json!(repository))]);
            caller.send(worker, "refresh-expiry", json!({}), SendOptions { headers, ..SendOptions::default() })
        };
        let Err(Raised(class, message)) = to("theirs") else { panic!("{worker} took it") };
        assert_eq!(class, "NotPermitted");
        assert!(message.contains("for a repository other than ours"), "{message}");
        to("ours").unwrap();
    }
    works(&fleet, &caller, "after");
}

#[test]
fn a_redelivered_old_add_targets_brings_nothing_back() {
    let mut fleet = without_monitor(&[]);
    let caller = Caller::of(&fleet);
    // The monitor dies with the batch still there, so that its task can be sent again as it was.
    fleet.kill(TARGETS);
    fleet.post_drop("one", &files([("file", "old"), ("other", "x")]));
    fleet.start_worker(MONITOR);
    let batch = batch(&fleet);
    let kept = fleet.path("kept");
    assert!(crate::run("cp", &[&"-a", &fleet.inbound().join(&batch), &kept]));
    fleet.start_worker(TARGETS);
    fleet.published("one");
    fleet.post_drop("two", &files([("file", "new")]));
    fleet.published("two");
    caller.operate(TARGETS, "remove-targets", json!({"targets": ["other"], "request_id": "r1"})).unwrap();
    let records = fs::read_dir(fleet.records()).unwrap().count();
    // Its directory is gone; or is still there, as when the monitor had no time to remove it.
    eventually_ok(
        "the batch is gone",
        || {
            if fleet.inbound().join(&batch).exists() { Err(batch.clone()) } else { Ok(()) }
        },
    );
    let again = || caller.call(TARGETS, "add-targets", json!({"batch": batch}));
    assert!(matches!(again(), Err(Raised(class, _)) if class == "BatchMissing"));
    fleet.kill(MONITOR);
    fs::rename(&kept, fleet.inbound().join(&batch)).unwrap();
    let answer = again().unwrap();
    assert_eq!((&answer["already_done"], &answer["targets_added"]), (&json!(true), &json!(0)), "{answer}");
    assert_eq!(fs::read_dir(fleet.records()).unwrap().count(), records, "nothing was signed");
    fleet.start_worker(MONITOR);
    works(&fleet, &caller, "after");
    assert_eq!(clients::our_client(&fleet), files([("file", "new"), ("after", "after")]));
}

#[test]
fn a_redelivered_old_remove_targets_removes_nothing_that_came_back() {
    let fleet = fleet();
    let caller = Caller::of(&fleet);
    fleet.post_drop("one", &files([("file", "old")]));
    fleet.published("one");
    let remove =
        || caller.operate(TARGETS, "remove-targets", json!({"targets": ["file"], "request_id": "r1"})).unwrap();
    assert_eq!(remove()["removed"], 1);
    fleet.post_drop("two", &files([("file", "new")]));
    fleet.published("two");
    let again = remove();
    assert_eq!((&again["removed"], &again["already_done"]), (&json!(1), &json!(true)), "{again}");
    works(&fleet, &caller, "after");
    assert_eq!(clients::our_client(&fleet), files([("file", "new"), ("after", "after")]));
}
