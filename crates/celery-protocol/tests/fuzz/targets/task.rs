//! Task messages of every protocol, and what their workflows send.

use celery_protocol::canvas::{Plan, Sender};
use celery_protocol::{FieldTable, FieldValue, Limits, TaskRequest};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{LIMITS, assert_bounded, assert_same, assert_short, input};

/// Most tasks that the end of one task may send, of a message within [`LIMITS`].
const MOST_TASKS: usize = 1000;

/// A message is a task that can be sent on, or a refusal that can be answered.
pub fn run(data: &[u8]) {
    let message = input::message(data);
    match TaskRequest::decode(&message, &LIMITS) {
        Ok(request) => accepted(&request),
        Err(rejection) => {
            assert_short(&rejection.error);
            let answer = rejection.failure(Timestamp::UNIX_EPOCH);
            assert_eq!(answer.is_some(), rejection.identity.id.is_some());
            let exception = rejection.error.exception();
            assert!(exception.to_json().is_object());
        }
    }
}

fn accepted(request: &TaskRequest) {
    assert_bounded(&Value::Array(request.args.clone()));
    assert_bounded(&Value::Object(request.kwargs.clone()));
    let _ = (request.is_expired(Timestamp::UNIX_EPOCH), request.is_restored(), request.ignores_result());
    let _ = (request.headers.timelimit.hard_duration(), request.headers.timelimit.soft_duration());
    let written = request.to_message().expect("what was accepted can be sent on");
    let read = TaskRequest::decode(&written, &Limits::default()).expect("what was accepted once is accepted again");
    assert_eq!(read.args, request.args);
    assert_eq!(read.kwargs, request.kwargs);
    assert_eq!(read.embed, request.embed);
    assert_eq!(read.properties, request.properties);
    assert_same(&read.to_message().expect("as before"), &written);
    request.retried(Some(Timestamp::UNIX_EPOCH)).to_message().expect("a task that is tried again can be sent");
    workflow(request);
}

fn workflow(request: &TaskRequest) {
    let result = json!([1, {"a": null}]);
    let sender = Sender::task(request, Timestamp::UNIX_EPOCH);
    match sender.on_success(request, &result) {
        Ok((plan, children)) => {
            let (again, _) = sender.on_success(request, &result).expect("the same twice");
            assert_same(&again, &plan);
            assert!(children.len() <= LIMITS.values);
            sendable(&plan);
        }
        Err(error) => assert_short(&error),
    }
    match sender.on_failure(request) {
        Ok(plan) => sendable(&plan),
        Err(error) => assert_short(&error),
    }
}

/// What is sent is bounded by what came, and is read by whoever gets it.
fn sendable(plan: &Plan) {
    assert!(plan.tasks.len() <= MOST_TASKS, "{} tasks", plan.tasks.len());
    for outgoing in &plan.tasks {
        match outgoing.task.to_message() {
            Ok(message) => {
                let read = TaskRequest::decode(&message, &Limits::default()).expect("it is a task");
                assert_eq!(read.id(), outgoing.task.id());
                assert!(depth(&message.headers) <= 40);
            }
            Err(error) => assert_short(&error),
        }
    }
}

fn depth(table: &FieldTable) -> usize {
    fn of(value: &FieldValue) -> usize {
        match value {
            FieldValue::Array(values) => 1 + values.iter().map(of).max().unwrap_or_default(),
            FieldValue::Table(table) => depth(table),
            _ => 0,
        }
    }
    1 + table.iter().map(|(_, value)| of(value)).max().unwrap_or_default()
}
