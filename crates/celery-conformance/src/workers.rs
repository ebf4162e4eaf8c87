//! Rules for calls, results and refusals of workers and clients, on any broker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use celery_protocol::{Signature, State, TaskRequest};
use celery_runtime::{
    TaskError,
    client::{ApplyError, CallError, Client, SendOptions},
};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::{A_WHILE, Fixture, SOON, assert_empty, eventually, no_kwargs, running_worker::start};

fn kwargs(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

pub async fn a_call_returns_the_result(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    assert_eq!(running.call("add", json!({"x": 2, "y": 3})).await.unwrap(), 5);
    let mut sent =
        running.client.send("w", "add", vec![json!(1), json!(2)], no_kwargs(), SendOptions::default()).await.unwrap();
    assert_eq!(sent.get(SOON).await.unwrap(), 3);
    assert_eq!(sent.get(SOON).await.unwrap(), 3, "a result can be asked for again");
    eventually("both acknowledged", || running.counters.snapshot().succeeded == 2).await;
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn a_failure_arrives_typed(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        worker.task("fail", |_, _| async {
            Err(TaskError {
                messages: vec![json!("boom"), json!(7)],
                traceback: Some("somewhere".into()),
                ..TaskError::custom("my.errors", "Boom", "")
            })
        })
    })
    .await;
    let error = running.call("fail", json!({})).await.unwrap_err();
    let expected = CallError::TaskFailed {
        task: "fail".into(),
        exc_type: "Boom".into(),
        exc_module: Some("my.errors".into()),
        messages: vec![json!("boom"), json!(7)],
        traceback: Some("somewhere".into()),
    };
    assert_eq!(error, expected);
    assert_eq!(error.to_string(), "fail failed: Boom: boom, 7");
    running.stop().await;
}

pub async fn an_unknown_task_fails_as_not_registered(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    match running.call("nope", json!({})).await.unwrap_err() {
        CallError::TaskFailed { exc_type, exc_module, messages, .. } => {
            assert_eq!(
                (exc_type.as_str(), exc_module.as_deref(), messages),
                ("NotRegistered", Some("celery.exceptions"), vec![json!("nope")])
            );
        }
        other => panic!("{other:?}"),
    }
    eventually("rejected", || running.counters.snapshot().rejected == 1).await;
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn wrong_arguments_are_a_type_error(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    for (arguments, words) in [
        (json!({"x": 1, "z": 2}), "add() got an unexpected keyword argument 'z'"),
        (
            json!({"x": 1, "y": "two"}),
            "add() got an argument of the wrong type: invalid type: string \"two\", expected i64",
        ),
    ] {
        match running.call("add", arguments).await.unwrap_err() {
            CallError::TaskFailed { exc_type, exc_module, messages, .. } => {
                assert_eq!(
                    (exc_type.as_str(), exc_module.as_deref(), messages),
                    ("TypeError", Some("builtins"), vec![json!(words)])
                );
            }
            other => panic!("{other:?}"),
        }
    }
    running.stop().await;
}

/// A Python worker drops content that it refuses, and leaves the caller waiting.
pub async fn pickle_and_garbage_are_refused_with_a_result(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    let mut pickle = super::task("add", "p", vec![]);
    pickle.properties.content_type = Some("application/x-python-serialize".into());
    pickle.body = b"\x80\x04.".to_vec();
    let meta = running.answer_to("p", pickle).await;
    assert_eq!((meta.task_id.as_str(), meta.state.clone()), ("p", State::Failure));
    let exception = meta.exception().unwrap();
    assert_eq!(
        (exception.exc_type.as_str(), exception.exc_module.as_deref()),
        ("ContentDisallowed", Some("kombu.exceptions"))
    );

    let mut garbage = super::task("add", "g", vec![]);
    garbage.body = b"[[NaN".to_vec();
    let meta = running.answer_to("g", garbage).await;
    assert_eq!(meta.exception().unwrap().exc_type, "DecodeError");

    // Without a caller: the message is dropped, and the worker continues.
    running.send_raw(celery_protocol::Message { body: vec![0; 100], ..Default::default() }).await;
    assert_eq!(running.call("add", json!({"x": 1, "y": 1})).await.unwrap(), 2);
    eventually("three rejected", || running.counters.snapshot().rejected == 3).await;
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn a_panic_is_a_failure_and_the_worker_lives(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        worker
            .task("panic", |_, _| async { panic!("a secret") })
            .exclusive_task("exclusive-panic", |_, _| async { panic!("a secret") })
            .exclusive_task("after", |_, _| async { Ok(json!("fine")) })
    })
    .await;
    for task in ["panic", "exclusive-panic"] {
        match running.call(task, json!({})).await.unwrap_err() {
            CallError::TaskFailed { exc_type, messages, .. } => {
                assert_eq!(exc_type, "RuntimeError");
                assert!(!format!("{messages:?}").contains("secret"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(running.call("after", json!({})).await.unwrap(), "fine");
    assert_eq!(running.counters.snapshot().in_flight, 0);
    running.stop().await;
}

pub async fn an_expired_task_is_not_run(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker.task("never", |_, _| async { Ok(json!("ran")) })).await;
    // As a broker without expiration would deliver it: only the header says so.
    let past = celery_runtime::clock::now() - Duration::from_secs(5);
    let mut message = TaskRequest::builder("never", "e").expires(past, past).build().to_message().unwrap();
    message.properties.expiration = None;
    let meta = running.answer_to("e", message).await;
    assert_eq!(meta.state, State::Revoked);
    let exception = meta.exception().unwrap();
    assert_eq!(
        (exception.exc_type.as_str(), exception.exc_module.as_deref(), exception.exc_message),
        ("TaskRevokedError", Some("celery.exceptions"), vec![json!("expired")])
    );
    assert_eq!(running.counters.snapshot().expired, 1);
    running.stop().await;
}

/// As Celery's client does: results that are messages cannot be counted.
pub async fn a_chord_is_refused_before_it_runs_where_results_are_messages(fixture: &impl Fixture) {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let running = start(fixture, |worker| {
        worker.task("count", move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok(Value::Null) }
        })
    })
    .await;
    let member = |id: &str| TaskRequest::builder("count", id).group("g", 0);
    let mut part = member("c").build();
    part.embed.chord = Some(Signature::new("body", vec![]));
    let header = Signature::group(vec![Signature::new("add", vec![])]);
    let chord = Signature::chord(header, Signature::new("add", vec![]));
    let before = member("d").chain(vec![chord.clone()]).build();
    let nonsense = member("e").link(Signature::new("add", vec![]).with_option("countdown", "soon")).build();
    for task in [part, before, nonsense] {
        let meta = running.answer_to(task.id(), task.to_message().unwrap()).await;
        assert_eq!(meta.exception().unwrap().exc_type, "NotImplementedError");
    }
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert!(matches!(running.client.apply(chord).await, Err(ApplyError::ChordsUnsupported)));
    running.stop().await;
}

pub async fn progress_is_reported_before_the_result(fixture: &impl Fixture) {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let running = start(fixture, |worker| {
        worker.task("slow", move |context, _| {
            let wait = wait.clone();
            async move {
                context.update_state("RUNNING", json!({"done": 1})).await;
                wait.notified().await;
                Ok(json!("end"))
            }
        })
    })
    .await;
    let mut pending = running.client.send("w", "slow", vec![], no_kwargs(), SendOptions::default()).await.unwrap();
    let mut seen = Vec::new();
    let result = pending
        .get_with(SOON, |state, meta| {
            seen.push((state.clone(), meta.clone()));
            go.notify_one();
        })
        .await;
    assert_eq!(result.unwrap(), "end");
    assert_eq!(seen, [(State::Custom("RUNNING".into()), json!({"done": 1}))]);
    running.stop().await;
}

/// A result for a reply queue that no longer exists.
pub async fn a_dead_reply_queue_stops_nothing(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    let message = TaskRequest::builder("add", "d")
        .args(vec![json!(1), json!(2)])
        .reply_to("long-gone")
        .build()
        .to_message()
        .unwrap();
    running.send_raw(message).await;
    eventually("the task ran", || running.counters.snapshot().succeeded == 1).await;
    assert_eq!(running.call("add", json!({"x": 1, "y": 1})).await.unwrap(), 2);
    assert_eq!(running.counters.snapshot().requeued, 0);
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn an_ignored_result_is_not_sent(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    let options = SendOptions { ignore_result: true, ..SendOptions::default() };
    let mut ignored = running.client.send("w", "add", vec![json!(1), json!(2)], no_kwargs(), options).await.unwrap();
    eventually("the task ran", || running.counters.snapshot().succeeded == 1).await;
    assert_eq!(ignored.get(A_WHILE).await, Err(CallError::Timeout { task: "add".into() }));
    running.stop().await;
}

pub async fn a_call_without_an_answer_times_out(fixture: &impl Fixture) {
    let broker = fixture.connect().await;
    broker.declare_task_queue(&"idle".into()).await.unwrap();
    let client = Client::new(broker.clone()).await.unwrap();
    let error = client.call("idle", "t", no_kwargs(), Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error, CallError::Timeout { task: "t".into() });
    // It expired with its caller.
    if fixture.drops_the_expired() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_empty(&broker, "idle").await;
    }
    let error = client.call("nowhere", "t", kwargs(json!({})), SOON).await.unwrap_err();
    assert!(matches!(error, CallError::Publish(celery_runtime::broker::PublishError::Unroutable { .. })));
}
