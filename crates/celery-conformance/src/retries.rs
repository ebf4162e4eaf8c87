//! Rules for tasks that are retried.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use celery_protocol::{Limits, ResultMeta, Signature, State, TaskRequest};
use celery_runtime::{
    TaskError,
    broker::Publish,
    client::{CallError, SendOptions},
    worker::{RetryPolicy, TaskOptions, WorkerBuilder},
};
use serde_json::{Value, json};

use super::{Fixture, SOON, assert_empty, eventually, next, no_kwargs, running_worker::start};

/// A task that fails `times` times and then returns how often it was tried before.
fn flaky(worker: WorkerBuilder, times: u32, tries: Arc<AtomicUsize>) -> WorkerBuilder {
    let policy = RetryPolicy::auto().backoff(Duration::from_millis(1)).cap(Duration::from_millis(20));
    worker.task_with("flaky", TaskOptions::new().retry(policy), move |context, _| {
        tries.fetch_add(1, Ordering::SeqCst);
        async move {
            if context.retries < times { Err(TaskError::value_error("not yet")) } else { Ok(json!(context.retries)) }
        }
    })
}

pub async fn a_task_is_tried_again_until_it_succeeds(fixture: &impl Fixture) {
    let tries = Arc::new(AtomicUsize::new(0));
    let running = start(fixture, |worker| flaky(worker, 2, tries.clone())).await;
    let mut replies = running.broker.consume_replies("replies").await.unwrap();
    running.broker.declare_reply_queue("replies").await.unwrap();
    let task = TaskRequest::builder("flaky", "f").reply_to("replies").sent_by("root", "parent").build();
    running.send_raw(task.to_message().unwrap()).await;
    let mut metas = Vec::new();
    for _ in 0..3 {
        metas.push(ResultMeta::decode(&next(&mut replies).await.message, &Limits::default()).unwrap());
    }
    let states: Vec<_> = metas.iter().map(|meta| meta.state.clone()).collect();
    assert_eq!(states, [State::Retry, State::Retry, State::Success]);
    assert_eq!(metas[0].exception().unwrap().exc_type, "ValueError");
    assert_eq!(metas[0].children, [json!([["f", null], null])]);
    assert_eq!((metas[0].parent_id.as_deref(), metas[1].parent_id.as_deref()), (Some("parent"), Some("f")));
    assert_eq!(metas[2].result, 2);
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert_eq!(running.counters.snapshot().retried, 2);
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn after_the_last_try_the_caller_gets_the_exception_itself(fixture: &impl Fixture) {
    let tries = Arc::new(AtomicUsize::new(0));
    let running = start(fixture, |worker| {
        flaky(worker, u32::MAX, tries.clone())
            .task("asks", |_, _| async { Err(TaskError::runtime_error("busy").retry_in(Duration::from_millis(5))) })
    })
    .await;
    for (task, class) in [("flaky", "ValueError"), ("asks", "RuntimeError")] {
        match running.call(task, json!({})).await.unwrap_err() {
            CallError::TaskFailed { exc_type, .. } => assert_eq!(exc_type, class),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tries.load(Ordering::SeqCst), 4, "three times after the first");
    assert_eq!((running.counters.snapshot().retried, running.counters.snapshot().failed), (6, 2));
    running.stop().await;
}

pub async fn follow_up_tasks_are_sent_after_the_last_try(fixture: &impl Fixture) {
    let tries = Arc::new(AtomicUsize::new(0));
    let running = start(fixture, |worker| flaky(worker, 1, tries.clone())).await;
    let chain = Signature::chain(vec![Signature::new("flaky", vec![]), Signature::new("add", vec![json!(10)])]);
    assert_eq!(running.client.apply(chain).await.unwrap().get(SOON).await.unwrap(), 11);
    running.stop().await;
}

/// A broker that drops an expired message sends no result.
pub async fn a_retry_that_expires_is_revoked(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        worker.task("later", |_, _| async {
            Err::<Value, _>(TaskError::value_error("x").retry_in(Duration::from_secs(600)))
        })
    })
    .await;
    let options = SendOptions { expires_in: Some(Duration::from_millis(1500)), ..SendOptions::default() };
    let mut sent = running.client.send("w", "later", vec![], no_kwargs(), options).await.unwrap();
    match sent.get(SOON).await.unwrap_err() {
        CallError::Revoked { reason, .. } => assert_eq!(reason, "expired"),
        other => panic!("{other:?}"),
    }
    // And so is one that lay in the queue for too long.
    let options = SendOptions { expires_in: Some(Duration::ZERO), ..SendOptions::default() };
    let mut sent = running.client.send("w", "add", vec![], no_kwargs(), options).await.unwrap();
    assert!(matches!(sent.get(SOON).await, Err(CallError::Revoked { .. })));
    running.stop().await;
}

/// As `celery.exceptions.Ignore` from a Python task, which `Task.replace` raises: somebody else answers.
pub async fn an_ignored_task_is_acknowledged_without_a_result(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        worker.task_with("ignored", TaskOptions::new().retry(RetryPolicy::auto()), |context, _| async move {
            context.update_state("HANDED_OVER", json!("to another")).await;
            Err(TaskError::ignore("another answers"))
        })
    })
    .await;
    let mut replies = running.broker.consume_replies("replies").await.unwrap();
    running.broker.declare_reply_queue("replies").await.unwrap();
    let follows = || Signature::new("add", vec![json!(1), json!(2)]).immutable().with_option("reply_to", "replies");
    let ignored = TaskRequest::builder("ignored", "i").reply_to("replies").link(follows()).link_error(follows());
    running.send_raw(ignored.build().to_message().unwrap()).await;
    let meta = ResultMeta::decode(&next(&mut replies).await.message, &Limits::default()).unwrap();
    assert_eq!((meta.task_id.as_str(), meta.result), ("i", json!("to another")));
    eventually("acknowledged", || running.counters.snapshot().in_flight == 0).await;
    // Any result or task that it might have sent comes before this.
    assert_eq!(running.call("add", json!({"x": 2, "y": 3})).await.unwrap(), 5);
    let broker = running.broker.clone();
    let done = running.counters.snapshot();
    assert_eq!((done.succeeded, done.failed, done.retried), (1, 0, 0));
    running.stop().await;
    assert_empty(&broker, "w").await;
    let marker = ResultMeta::success("marker", Value::Null, jiff::Timestamp::UNIX_EPOCH);
    broker.publish(Publish::reply("replies", marker.to_message("marker"))).await.unwrap();
    let last = ResultMeta::decode(&next(&mut replies).await.message, &Limits::default()).unwrap();
    assert_eq!(last.task_id, "marker", "nothing else was sent");
}

/// As `celery.exceptions.Reject` from a Python task.
pub async fn a_rejected_task_returns_only_with_requeue(fixture: &impl Fixture) {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let running = start(fixture, |worker| {
        worker.task("never", |_, _| async { Err(TaskError::reject("not for us", false)) }).task(
            "not-yet",
            move |context, _| {
                let before = counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    if before == 0 { Err(TaskError::reject("not now", true)) } else { Ok(json!(context.redelivered)) }
                }
            },
        )
    })
    .await;
    running.send_raw(TaskRequest::builder("never", "n").build().to_message().unwrap()).await;
    eventually("rejected", || running.counters.snapshot().rejected == 1).await;
    assert_eq!(running.call("not-yet", json!({})).await.unwrap(), json!(true), "it came again");
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    let done = running.counters.snapshot();
    assert_eq!((done.succeeded, done.failed, done.requeued), (1, 0, 1));
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}
