//! Task messages that are fine but not what Celery 5.7 sends.

use std::time::Duration;

use celery_protocol::canvas::Sender;
use celery_protocol::message::delivery_mode;
use celery_protocol::task::{EncodeError, Protocol};
use celery_protocol::{DecodeError, FieldTable, FieldValue, Limits, Message, TaskRequest, WireTime};
use jiff::Timestamp;
use serde_json::{Value, json};

pub fn message(headers: Value, body: &str) -> Message {
    let mut message = Message::json(body.as_bytes().to_vec(), delivery_mode::PERSISTENT);
    message.headers = FieldTable::from(headers.as_object().unwrap());
    message
}

fn decode(headers: Value, body: &str) -> Result<TaskRequest, DecodeError> {
    TaskRequest::decode(&message(headers, body), &Limits::default()).map_err(|rejection| rejection.error)
}

#[test]
fn a_task_needs_no_header_but_its_name_and_id() {
    let request = decode(json!({"task": "t", "id": "bump_online_roles"}), "[[1], {\"k\": 2}]").unwrap();
    assert_eq!((request.name(), request.id(), request.root_id()), ("t", "bump_online_roles", "bump_online_roles"));
    assert_eq!((request.correlation_id(), request.reply_to()), ("bump_online_roles", None));
    assert_eq!((request.headers.retries, request.ignores_result()), (0, false));
    assert_eq!((json!(request.args), json!(request.kwargs)), (json!([1]), json!({"k": 2})));
}

/// Celery 5.0 to 5.3 came to these headers one by one.
#[test]
fn a_task_of_an_older_celery_runs_and_is_continued_without_the_headers_it_does_not_know() {
    let newer = ["ignore_result", "replaced_task_nesting", "stamped_headers", "stamps"];
    let body = json!([[1, 2], {}, {
        "callbacks": null, "errbacks": null, "chord": null,
        "chain": [{"task": "t", "args": [3], "kwargs": {}, "options": {"task_id": "next"}, "subtask_type": null, "immutable": false}],
    }]);
    let all = json!({
        "lang": "py", "task": "t", "id": "i", "shadow": null, "eta": null, "expires": null, "group": null,
        "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "i", "parent_id": null,
        "argsrepr": "(1, 2)", "kwargsrepr": "{}", "origin": "gen1@h",
        "ignore_result": false, "replaced_task_nesting": 2, "stamped_headers": ["release"], "stamps": {"release": "r1"},
    });
    for missing in 0..16_u32 {
        let mut headers = all.clone();
        let is_missing = |index: usize| missing & (1 << index) != 0;
        for (index, name) in newer.iter().enumerate().filter(|(index, _)| is_missing(*index)) {
            assert!(headers.as_object_mut().unwrap().remove(*name).is_some(), "{index}");
        }
        let task = decode(headers, &body.to_string()).unwrap();
        assert_eq!(task.headers.ignore_result, (!is_missing(0)).then_some(false));
        assert!(!task.ignores_result(), "a result nobody spoke about is wanted");
        assert_eq!(task.headers.replaced_task_nesting, if is_missing(1) { 0 } else { 2 });
        let (plan, _) = Sender::task(&task, Timestamp::UNIX_EPOCH).on_success(&task, &json!(3)).unwrap();
        let next = &plan.tasks[0].task;
        assert_eq!((next.id(), next.args.len(), next.root_id()), ("next", 2, "i"));
        assert_eq!(next.headers.stamps.get("release").is_some(), !is_missing(3), "{missing}");
        // What is sent on has all of them, as from a client of today.
        let again = task.retried(None).to_message().unwrap();
        assert!(newer.iter().all(|name| again.headers.get(name).is_some()), "{missing}");
    }
}

#[test]
fn headers_are_read_whatever_types_they_come_with() {
    let headers = json!({"task": "t", "id": 7, "retries": 2.0, "group_index": "3", "timelimit": [10.5, "x"],
        "ignore_result": 1, "root_id": "", "stamps": null, "stamped_headers": "no list", "shadow": false, "eta": ""});
    let request = decode(headers, "[null, null, null]").unwrap();
    assert_eq!((request.id(), request.root_id(), request.headers.retries), ("7", "7", 2));
    assert_eq!((request.headers.group_index, request.ignores_result()), (Some(3), true));
    assert_eq!(request.headers.timelimit.hard_duration(), Some(Duration::from_millis(10_500)));
    assert_eq!(request.headers.timelimit.soft_duration(), None);
    assert_eq!((request.headers.eta, request.headers.shadow), (None, None));
    let negative =
        decode(json!({"task": "t", "id": "i", "retries": -1, "timelimit": [-5, 0]}), "[[], {}, {}]").unwrap();
    assert_eq!(negative.headers.retries, 0);
    assert_eq!(negative.headers.timelimit.hard_duration().or(negative.headers.timelimit.soft_duration()), None);
}

#[test]
fn unknown_headers_survive_a_retry_and_the_mark_of_a_restored_message_does_not() {
    let headers = json!({"task": "t", "id": "i", "x-trace": "abc", "redelivered": true, "deep": {"a": [1]}});
    let request = decode(headers, "[[], {}, {}]").unwrap();
    assert!(request.is_restored());
    let again = request.retried(None);
    assert!(!again.is_restored());
    let sent = again.to_message().unwrap().headers;
    assert_eq!(sent.get("x-trace"), Some(&FieldValue::from("abc")));
    assert_eq!(sent.get("deep").unwrap().to_json(), json!({"a": [1]}));
    assert_eq!(sent.get("retries"), Some(&FieldValue::I32(1)));
    assert_eq!(sent.get("parent_id"), Some(&FieldValue::from("i")));
}

#[test]
fn a_user_header_cannot_take_the_place_of_a_known_one() {
    let request = TaskRequest::builder("t", "i").header("id", "other").header("mine", 1).build();
    let sent = request.to_message().unwrap().headers;
    assert_eq!(sent.get("id"), Some(&FieldValue::from("i")));
    assert_eq!(sent.iter().filter(|(name, _)| *name == "id").count(), 1);
    assert_eq!(sent.iter().last(), Some(("mine", &FieldValue::I32(1))));
}

#[test]
fn the_hybrid_form_takes_what_headers_do_not_say_from_the_body() {
    let body = r#"{"args": [1], "kwargs": {"k": 2}, "task": "other", "id": "other", "retries": 3, "taskset": "g",
        "callbacks": [{"task": "cb"}], "errbacks": null}"#;
    let request = decode(json!({"task": "t", "id": "i"}), body).unwrap();
    assert_eq!(request.protocol, Protocol::Hybrid);
    assert_eq!((request.name(), request.id(), request.headers.retries), ("t", "i", 3));
    assert_eq!(request.headers.group.as_deref(), Some("g"));
    assert_eq!(request.embed.callbacks.unwrap()[0].task, "cb");
}

#[test]
fn times_are_read_in_every_form_clients_write() {
    for text in [
        "2026-11-21T05:41:00.139926+00:00",
        "2026-11-21T05:41:00.139926Z",
        "2026-11-21T05:41:00.139926",
        "2026-11-21 05:41:00.139926",
        "2026-11-21T07:41:00.139926+02:00",
    ] {
        let time = WireTime::parse(text).unwrap();
        assert_eq!(time.as_str(), text);
        assert_eq!(time.timestamp().to_string(), "2026-11-21T05:41:00.139926Z");
    }
    for text in ["", "soon", "2026-13-01T00:00:00", "0", &"2".repeat(1000)] {
        assert_eq!(WireTime::parse(text), None);
    }
}

#[test]
fn times_are_written_as_python_writes_them() {
    let written = |text: &str| WireTime::from(text.parse::<jiff::Timestamp>().unwrap()).as_str().to_owned();
    assert_eq!(written("2026-11-21T05:41:00.139926Z"), "2026-11-21T05:41:00.139926+00:00");
    assert_eq!(written("2026-11-21T05:41:00.1Z"), "2026-11-21T05:41:00.100000+00:00");
    assert_eq!(written("2026-11-21T05:41:00Z"), "2026-11-21T05:41:00+00:00");
    assert_eq!(written("2026-11-21T05:41:00.000000999Z"), "2026-11-21T05:41:00+00:00");
    assert_eq!(written("1969-12-31T23:59:59.9999999Z"), "1969-12-31T23:59:59.999999+00:00");
}

#[test]
fn a_task_is_expired_from_its_expiry_on() {
    let request = decode(json!({"task": "t", "id": "i", "expires": "2026-11-21T05:41:00Z"}), "[[], {}, {}]").unwrap();
    let at = |text: &str| text.parse().unwrap();
    assert!(!request.is_expired(at("2026-11-21T05:40:59.999Z")));
    assert!(request.is_expired(at("2026-11-21T05:41:00Z")));
}

#[test]
fn an_expiry_in_the_past_is_sent_as_an_expiration_of_zero() {
    let now: jiff::Timestamp = "2026-11-21T05:41:00Z".parse().unwrap();
    let request = TaskRequest::builder("t", "i").expires(now - jiff::SignedDuration::from_secs(5), now).build();
    assert_eq!(request.properties.expiration.as_deref(), Some("0"));
}

#[test]
fn what_amqp_cannot_carry_is_not_sent() {
    let long = "x".repeat(256);
    let error = |request: TaskRequest| request.to_message().unwrap_err();
    assert_eq!(error(TaskRequest::builder("", "i").build()), EncodeError::Empty { what: "task name" });
    assert_eq!(error(TaskRequest::builder("t", "").build()), EncodeError::Empty { what: "task id" });
    assert!(matches!(error(TaskRequest::builder("t", &*long).build()), EncodeError::TooLong { size: 256, .. }));
    assert!(matches!(error(TaskRequest::builder("t", "i").reply_to(&*long).build()), EncodeError::TooLong { .. }));
    assert!(matches!(error(TaskRequest::builder("t", "i").header(&*long, 1).build()), EncodeError::TooLong { .. }));
}
