//! Rules for result backends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use celery_protocol::{ExceptionInfo, ResultMeta, Signature, State, TaskRequest, task::TaskIdentity};
use celery_runtime::{
    backend::{BackendError, Expectation, SharedBackend},
    clock,
};
use serde_json::{Value, json};

use super::{BackendFixture, SOON, eventually};

fn success(id: &str, value: Value) -> ResultMeta {
    ResultMeta::success(id, value, clock::now())
}

fn failure(id: &str) -> ResultMeta {
    ResultMeta::failure(id, &ExceptionInfo::builtin("ValueError", "x"), None, clock::now())
}

/// The task `id`, sent by the client that waits through `client`.
fn sent_by(client: &SharedBackend, id: &str) -> TaskIdentity {
    TaskIdentity {
        id: Some(id.to_owned()),
        correlation_id: Some(id.to_owned()),
        reply_to: Some(client.reply_to().to_owned()),
        ..TaskIdentity::default()
    }
}

async fn outcome(expectation: &mut Expectation) -> ResultMeta {
    let ready = expectation.newest().wait_for(|meta| meta.as_ref().is_some_and(|meta| meta.state.is_ready()));
    tokio::time::timeout(SOON, ready).await.expect("no result").unwrap().clone().unwrap()
}

/// Returns whether the backend counts chords. A backend that does not must say so.
async fn counts_chords(backend: &SharedBackend) -> bool {
    if backend.supports_chords() {
        return true;
    }
    assert!(matches!(backend.start_chord("g", 1).await, Err(BackendError::Unsupported(_))));
    let part = backend.chord_part(&member("g", "a", 0), &success("a", json!(1))).await;
    assert!(matches!(part, Err(BackendError::Unsupported(_))));
    false
}

fn member(group: &str, id: &str, index: i64) -> TaskRequest {
    let mut task = TaskRequest::builder("t", id).group(group, index).build();
    task.embed.chord = Some(Signature::new("body", vec![]).with_option("task_id", "body-id"));
    task
}

pub async fn a_result_reaches_its_caller_and_no_other(fixture: &impl BackendFixture) {
    let (client, worker) = (fixture.connect().await, fixture.connect().await);
    let mut first = client.expect("1").await.unwrap();
    let mut second = client.expect("2").await.unwrap();
    worker.store(&sent_by(&client, "2"), success("2", json!({"ü": [1, null]}))).await.unwrap();
    let got = outcome(&mut second).await;
    assert_eq!((got.task_id.as_str(), got.state, got.result), ("2", State::Success, json!({"ü": [1, null]})));
    worker.store(&sent_by(&client, "1"), failure("1")).await.unwrap();
    let got = outcome(&mut first).await;
    assert_eq!((got.task_id.as_str(), got.exception().unwrap().exc_type.as_str()), ("1", "ValueError"));
}

pub async fn intermediate_states_are_seen_before_the_final_one(fixture: &impl BackendFixture) {
    let (client, worker) = (fixture.connect().await, fixture.connect().await);
    let mut waiting = client.expect("1").await.unwrap();
    let task = sent_by(&client, "1");
    worker.progress(&task, ResultMeta::progress("1", "HALF", json!(50))).await;
    let seen = waiting.newest().wait_for(Option::is_some);
    let seen = tokio::time::timeout(SOON, seen).await.expect("no progress").unwrap().clone().unwrap();
    assert_eq!((seen.state, seen.result), (State::Custom("HALF".to_owned()), json!(50)));
    worker.store(&task, success("1", json!(100))).await.unwrap();
    assert_eq!(outcome(&mut waiting).await.result, 100);
}

pub async fn the_first_success_stands(fixture: &impl BackendFixture) {
    let (client, worker) = (fixture.connect().await, fixture.connect().await);
    let mut waiting = client.expect("1").await.unwrap();
    let task = sent_by(&client, "1");
    worker.store(&task, success("1", json!("first"))).await.unwrap();
    assert_eq!(outcome(&mut waiting).await.result, "first");
    worker.store(&task, failure("1")).await.unwrap();
    worker.progress(&task, ResultMeta::started("1", 1, "w@h")).await;
    // The result of another task shows that all of these have arrived.
    let mut other = client.expect("2").await.unwrap();
    worker.store(&sent_by(&client, "2"), success("2", json!(2))).await.unwrap();
    outcome(&mut other).await;
    assert_eq!(outcome(&mut waiting).await.result, "first");
    if fixture.keeps_results() {
        assert_eq!(outcome(&mut client.expect("1").await.unwrap()).await.result, "first");
    }
}

pub async fn an_existing_result_is_found(fixture: &impl BackendFixture) {
    if !fixture.keeps_results() {
        return;
    }
    let (client, worker) = (fixture.connect().await, fixture.connect().await);
    worker.store(&sent_by(&client, "1"), success("1", json!(1))).await.unwrap();
    for _ in 0..2 {
        assert_eq!(outcome(&mut client.expect("1").await.unwrap()).await.result, 1);
    }
}

pub async fn an_unwanted_result_is_no_error(fixture: &impl BackendFixture) {
    let (client, worker) = (fixture.connect().await, fixture.connect().await);
    drop(client.expect("1").await.unwrap());
    worker.store(&sent_by(&client, "1"), success("1", json!(1))).await.unwrap();
    worker.store(&TaskIdentity::default(), success("2", json!(2))).await.unwrap();
    let ignoring = TaskIdentity { ignore_result: Some(true), ..sent_by(&client, "3") };
    let mut waiting = client.expect("3").await.unwrap();
    worker.store(&ignoring, success("3", json!("unwanted"))).await.unwrap();
    worker.store(&sent_by(&client, "3"), success("3", json!("wanted"))).await.unwrap();
    assert_eq!(outcome(&mut waiting).await.result, "wanted");
}

pub async fn a_chord_is_ready_once_in_order_despite_duplicates(fixture: &impl BackendFixture) {
    let workers = [fixture.connect().await, fixture.connect().await];
    if !counts_chords(&workers[0]).await {
        return;
    }
    workers[0].start_chord("g", 3).await.unwrap();
    let part = async |worker: usize, id: &str, index: i64, value: Value| {
        workers[worker].chord_part(&member("g", id, index), &success(id, value)).await.unwrap()
    };
    assert_eq!(part(0, "c", 2, json!("late")).await, None);
    assert_eq!(part(1, "c", 2, json!("again")).await, None);
    assert_eq!(part(1, "a", 0, json!("early")).await, None);
    let ready = part(0, "b", 1, Value::Null).await.expect("all parts are there");
    assert_eq!(ready.outcome, Ok(vec![json!("early"), Value::Null, json!("late")]));
    assert_eq!((ready.group.as_str(), ready.body.task.as_str()), ("g", "body"));
    assert_eq!(ready.body.options.get("task_id"), Some(&json!("body-id")));
    workers[0].chord_done("g").await.unwrap();
    assert_eq!(part(1, "b", 1, json!("later")).await, None);
}

pub async fn one_of_many_concurrent_finishers_publishes_a_chord(fixture: &impl BackendFixture) {
    let first = fixture.connect().await;
    if !counts_chords(&first).await {
        return;
    }
    first.start_chord("g", 8).await.unwrap();
    let (published, mut parts) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    for number in 0..24 {
        let (published, worker) = (published.clone(), fixture.connect().await);
        parts.push(tokio::spawn(async move {
            let index = number % 8;
            let (task, meta) = (member("g", &index.to_string(), index), success(&index.to_string(), json!(index)));
            if let Some(ready) = worker.chord_part(&task, &meta).await.unwrap() {
                assert_eq!(ready.outcome, Ok((0..8).map(|index| json!(index)).collect()));
                published.fetch_add(1, SeqCst);
                worker.chord_done("g").await.unwrap();
            }
        }));
    }
    eventually("every member was counted", || parts.iter().all(tokio::task::JoinHandle::is_finished)).await;
    for part in parts {
        part.await.unwrap();
    }
    assert_eq!(published.load(SeqCst), 1);
}

pub async fn a_member_that_failed_makes_the_chord_an_error(fixture: &impl BackendFixture) {
    let worker = fixture.connect().await;
    if !counts_chords(&worker).await {
        return;
    }
    worker.start_chord("g", 2).await.unwrap();
    assert_eq!(worker.chord_part(&member("g", "a", 0), &success("a", json!(1))).await.unwrap(), None);
    let ready = worker.chord_part(&member("g", "b", 1), &failure("b")).await.unwrap().expect("all parts are there");
    let error = ready.outcome.unwrap_err();
    assert_eq!((error.exc_module.as_deref(), error.exc_type.as_str()), (Some("celery.exceptions"), "ChordError"));
    assert_eq!(error.exc_message, [json!("Dependency b raised ValueError('x')")]);
}
