//! Every captured result, read and written back.

use crate::captures::{Publish, assert_same, capture, captures};
use celery_protocol::{ExceptionInfo, Limits, ResultMeta, State, TaskRequest};
use serde_json::{Number, Value, json};

fn decode(publish: &Publish) -> ResultMeta {
    ResultMeta::decode(&publish.message, &Limits::default())
        .unwrap_or_else(|error| panic!("{}: {error}", publish.label))
}

fn files() -> Vec<(String, Vec<Publish>)> {
    captures("amqp-tasks").into_iter().chain(captures("amqp-v1")).collect()
}

#[test]
fn a_decoded_result_is_written_back_as_it_came() {
    let mut seen = 0;
    for publish in files().into_iter().flat_map(|(_, publishes)| publishes).filter(|publish| !publish.is_task()) {
        assert_eq!(publish.seen_at, "worker");
        let meta = decode(&publish);
        let correlation_id = publish.message.properties.correlation_id.clone().unwrap();
        assert_same(&meta.to_message(&correlation_id), &publish.message, &publish.label);
        seen += 1;
    }
    assert_eq!(seen, 50);
}

/// From nothing but the outcome and the task it belongs to.
#[test]
fn a_result_made_from_its_outcome_is_what_celery_sends() {
    for (_, publishes) in files() {
        let tasks: Vec<TaskRequest> = publishes
            .iter()
            .filter(|publish| publish.is_task())
            .filter_map(|publish| TaskRequest::decode(&publish.message, &Limits::default()).ok())
            .collect();
        for publish in publishes.iter().filter(|publish| !publish.is_task()) {
            let captured = decode(publish);
            // Tries of one task share its id but not its parent.
            let candidates = tasks.iter().filter(|task| task.id() == captured.task_id);
            let ours: Vec<_> = candidates.map(|task| from_outcome(&captured, task)).collect();
            let same = ours.iter().find(|message| message.body == publish.message.body);
            assert_same(same.or(ours.first()).unwrap(), &publish.message, &publish.label);
        }
    }
}

fn from_outcome(captured: &ResultMeta, task: &TaskRequest) -> celery_protocol::Message {
    let id = task.id();
    let done = captured.date_done.as_ref().map(|time| time.timestamp());
    let traceback = captured.traceback.clone();
    let mut meta = match &captured.state {
        State::Success => ResultMeta::success(id, captured.result.clone(), done.unwrap()),
        State::Failure => ResultMeta::failure(id, &captured.exception().unwrap(), traceback, done.unwrap()),
        State::Revoked => ResultMeta::revoked(id, &captured.exception().unwrap(), done.unwrap()),
        State::Retry => ResultMeta::retry(id, &captured.exception().unwrap(), traceback),
        other => ResultMeta::progress(id, other.as_str(), captured.result.clone()),
    };
    if captured.state != State::Retry {
        for child in &captured.children {
            meta = meta.with_child(child[0][0].as_str().unwrap());
        }
    }
    meta.with_lineage(task.headers.group.as_deref(), task.headers.parent_id.as_deref())
        .to_message(task.correlation_id())
}

#[test]
fn exceptions_made_here_are_those_celery_sends() {
    let last = |file: &str| {
        let publishes = capture("amqp-tasks", file);
        decode(publishes.iter().rfind(|publish| !publish.is_task()).unwrap()).exception().unwrap()
    };
    assert_eq!(last("amqp-unknown_task"), ExceptionInfo::not_registered("lab.nope"));
    assert_eq!(last("amqp-expired"), ExceptionInfo::task_revoked("expired"));
    assert_eq!(last("amqp-reject"), ExceptionInfo::reject("no", false));
    assert_eq!(last("amqp-hardlimit"), ExceptionInfo::time_limit_exceeded(Number::from(1)));
    assert_eq!(last("amqp-fail"), ExceptionInfo::builtin("ValueError", "boom"));
    assert_eq!(last("amqp-failcustom"), ExceptionInfo::new("lab", "LabError", vec![json!(42), json!({"why": "x"})]));
    let arguments = "add() takes 2 positional arguments but 4 were given";
    assert_eq!(last("amqp-bad_args"), ExceptionInfo::builtin("TypeError", arguments));
}

#[test]
fn results_are_read_in_the_forms_older_workers_send() {
    let read = |value: Value| ResultMeta::from_slice(value.to_string().as_bytes(), &Limits::default());
    // rpc:// up to 5.6.3.
    let old =
        read(json!({"task_id": "a", "status": "SUCCESS", "result": 5, "traceback": null, "children": []})).unwrap();
    assert_eq!((old.state, old.result, old.date_done), (State::Success, json!(5), None));
    // What RSTUF writes by hand.
    let handmade = read(json!({"status": "PRE_RUN", "task_id": "a", "result": null})).unwrap();
    assert_eq!(handmade.state, State::Custom("PRE_RUN".to_owned()));
    // A naive date, children as null, an exception with one argument that is no list.
    let loose = read(json!({"status": "FAILURE", "task_id": "a", "children": null, "date_done": "2026-11-21T05:40:53",
        "result": {"exc_type": "ValueError", "exc_message": "boom"}}))
    .unwrap();
    assert_eq!(loose.date_done.as_ref().unwrap().timestamp().to_string(), "2026-11-21T05:40:53Z");
    let exception = loose.exception().unwrap();
    assert_eq!((exception.exc_message, exception.exc_module), (vec![json!("boom")], None));
    // result_extended.
    let extended = json!({"status": "SUCCESS", "result": 1, "traceback": null, "children": [], "date_done": null,
        "name": "lab.add", "queue": "celery", "task_id": "a"});
    let extended_text = celery_protocol::json::to_string(&extended);
    assert_eq!(read(extended).unwrap().to_json_text(), extended_text);
    for not_a_result in [json!([]), json!({}), json!({"status": "SUCCESS"}), json!({"status": 1, "task_id": "a"})] {
        assert!(read(not_a_result).is_err());
    }
}

#[test]
fn a_started_result_names_process_and_node() {
    let text = ResultMeta::started("a", 7, "w1@lab").to_json_text();
    assert_eq!(
        text,
        r#"{"status": "STARTED", "result": {"pid": 7, "hostname": "w1@lab"}, "traceback": null, "children": [], "date_done": null, "task_id": "a"}"#
    );
}

#[test]
fn exceptions_show_as_in_python() {
    assert_eq!(ExceptionInfo::not_registered("lab.nope").repr(), "NotRegistered('lab.nope')");
    assert_eq!(ExceptionInfo::builtin("ValueError", "it's").repr(), r#"ValueError("it's")"#);
    assert_eq!(ExceptionInfo::builtin("ValueError", "boom").to_string(), "ValueError: boom");
    let custom = ExceptionInfo::new("lab", "LabError", vec![json!(42), json!({"why": "x"})]);
    assert_eq!(custom.repr(), "LabError(42, {'why': 'x'})");
    assert_eq!(custom.to_string(), "LabError: (42, {'why': 'x'})");
    assert_eq!(ExceptionInfo::soft_time_limit_exceeded().repr(), "SoftTimeLimitExceeded()");
}
