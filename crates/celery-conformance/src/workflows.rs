//! Rules for what follows a task: callbacks, chains, groups, errbacks.

use std::sync::Arc;

use celery_protocol::{Limits, Routes, Signature, State, TaskRequest};
use celery_runtime::{
    Arguments, TaskError,
    broker::{Broker, TaskQueue},
    client::{CallError, SendOptions},
    worker::{Worker, WorkerBuilder},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Fixture, SOON, assert_empty, eventually, next, no_kwargs,
    running_worker::{RunningWorker, start},
};

fn add(x: i64, y: i64) -> Signature {
    Signature::new("add", vec![json!(x), json!(y)])
}

fn plus(y: i64) -> Signature {
    Signature::new("add", vec![json!(y)])
}

fn failing(worker: WorkerBuilder) -> WorkerBuilder {
    worker.task("fail", |_, _| async { Err(TaskError::value_error("boom")) })
}

/// A task that returns its arguments and headers.
fn report_headers(worker: WorkerBuilder) -> WorkerBuilder {
    worker.task("report", |context, arguments: Arguments| async move {
        let request = context.request().unwrap();
        let stamps = Value::Object(request.headers.stamps.to_json());
        Ok(json!({
            "args": arguments.args, "root": request.root_id(), "parent": request.headers.parent_id, "stamps": stamps,
            "priority": request.properties.priority,
        }))
    })
}

async fn apply(running: &RunningWorker, signature: Signature) -> Result<Value, CallError> {
    running.client.apply(signature).await.unwrap().get(SOON).await
}

pub async fn a_chain_passes_its_results_on_to_the_caller(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    let chain = Signature::chain(vec![add(1, 2), plus(10), plus(100).with_option("priority", 3)]);
    assert_eq!(apply(&running, chain).await.unwrap(), 113);
    let immutable = Signature::chain(vec![add(1, 2), add(5, 5).immutable(), plus(1)]);
    assert_eq!(apply(&running, immutable).await.unwrap(), 11);
    // Chains in chains are steps of them; a countdown holds up its step alone.
    let inner = Signature::chain(vec![plus(1), plus(2).with_option("countdown", 0.05)]);
    assert_eq!(apply(&running, Signature::chain(vec![add(0, 0), inner, plus(3)])).await.unwrap(), 6);
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn callbacks_and_errbacks_are_sent_and_are_children(fixture: &impl Fixture) {
    let running = start(fixture, failing).await;
    let aside: Arc<dyn Broker> = fixture.connect().await;
    let mut seen = aside.consume(&"aside".into(), 10).await.unwrap();
    aside.declare_task_queue(&"aside".into()).await.unwrap();
    let to_aside = |name: &str| Signature::new(name, vec![json!("own")]).with_option("queue", "aside");
    let task = TaskRequest::builder("add", "p")
        .args(vec![json!(1), json!(2)])
        .link(to_aside("one").with_option("task_id", "cb"))
        .link_error(to_aside("never"))
        .build();
    let meta = running.answer_to("p", task.to_message().unwrap()).await;
    assert_eq!((meta.result, meta.children), (json!(3), vec![json!([["cb", null], null])]));
    let delivery = next(&mut seen).await;
    let callback = TaskRequest::decode(&delivery.message, &Limits::default()).unwrap();
    assert_eq!((callback.name(), callback.id()), ("one", "cb"));
    assert_eq!(callback.args, [json!(3), json!("own")]);
    assert_eq!((callback.root_id(), callback.headers.parent_id.as_deref()), ("p", Some("p")));
    delivery.ack().await.unwrap();

    let options = SendOptions {
        task_id: Some("f".into()),
        link: vec![to_aside("never")],
        link_error: vec![to_aside("cry"), to_aside("howl")],
        ..SendOptions::default()
    };
    let mut failed = running.client.send("w", "fail", vec![], no_kwargs(), options).await.unwrap();
    assert!(matches!(failed.get(SOON).await, Err(CallError::TaskFailed { .. })));
    for name in ["cry", "howl"] {
        let delivery = next(&mut seen).await;
        let errback = TaskRequest::decode(&delivery.message, &Limits::default()).unwrap();
        assert_eq!((errback.name(), errback.args.clone()), (name, vec![json!("f"), json!("own")]));
        assert_eq!(errback.headers.parent_id.as_deref(), Some("f"));
        delivery.ack().await.unwrap();
    }
    drop(seen);
    assert_empty(&aside, "aside").await;
    running.stop().await;
}

pub async fn a_group_runs_concurrently_and_its_results_are_in_order(fixture: &impl Fixture) {
    let running = start(fixture, failing).await;
    let late = add(1, 1).with_option("countdown", 0.1);
    let mut sent = running.client.apply(Signature::group(vec![late, add(2, 2), add(3, 3)])).await.unwrap();
    assert!(sent.group_id().is_some());
    assert_eq!(sent.get(SOON).await.unwrap(), json!([2, 4, 6]));
    let bad = Signature::group(vec![add(2, 2), Signature::new("fail", vec![])]);
    assert!(matches!(apply(&running, bad).await, Err(CallError::TaskFailed { .. })));
    running.stop().await;
}

pub async fn a_chain_that_ends_in_a_group_is_unrolled(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    let group = Signature::group(vec![plus(10), Signature::chain(vec![plus(20), plus(1)])]);
    let mut sent = running.client.apply(Signature::chain(vec![add(1, 1), group])).await.unwrap();
    assert_eq!(sent.get(SOON).await.unwrap(), json!([12, 23]));
    running.stop().await;
}

pub async fn a_failure_in_a_chain_becomes_the_result_of_its_end(fixture: &impl Fixture) {
    let running = start(fixture, failing).await;
    let chain = Signature::chain(vec![add(1, 2), Signature::new("fail", vec![]), plus(10), plus(100)]);
    match apply(&running, chain).await.unwrap_err() {
        CallError::TaskFailed { exc_type, messages, .. } => {
            assert_eq!((exc_type.as_str(), messages), ("ValueError", vec![json!("boom")]));
        }
        other => panic!("{other:?}"),
    }
    // So does a revoked step: nothing behind it will ever run.
    running.registry.revoke(["r".to_owned()]);
    let chain = Signature::chain(vec![add(1, 2), plus(1).with_option("task_id", "r"), plus(2)]);
    assert!(matches!(apply(&running, chain).await, Err(CallError::Revoked { .. })));
    running.stop().await;
}

/// A Python worker publishes the next step without a confirm, to a queue that does not exist.
pub async fn a_chain_whose_next_queue_is_missing_fails_and_is_not_lost(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    let chain = Signature::chain(vec![add(1, 2), plus(1).with_option("queue", "nowhere")]);
    match apply(&running, chain).await.unwrap_err() {
        CallError::TaskFailed { messages, .. } => {
            assert!(messages[0].as_str().unwrap().contains("nowhere"), "{messages:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(running.client.apply(add(1, 1).with_option("queue", "nowhere")).await.is_err());
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn a_step_without_a_queue_follows_the_routes(fixture: &impl Fixture) {
    let routes = Routes::to("w").route("there.*", "there");
    let running = start(fixture, |worker| worker.routes(routes)).await;
    let broker = fixture.connect().await;
    let there = Worker::builder(broker.clone())
        .queue("there")
        .task("there.double", |_, arguments: Arguments| async move {
            let (x,): (i64,) = arguments.bind_tuple(&["x"])?;
            Ok(json!(2 * x))
        })
        .routes(Routes::to("w"))
        .build()
        .unwrap();
    broker.declare_task_queue(&TaskQueue::new("there")).await.unwrap();
    let shutdown = CancellationToken::new();
    let other = tokio::spawn(there.run(shutdown.clone()));
    let chain = Signature::chain(vec![add(1, 2), Signature::new("there.double", vec![]), plus(1)]);
    assert_eq!(apply(&running, chain).await.unwrap(), 7);
    shutdown.cancel();
    other.await.unwrap().unwrap();
    running.stop().await;
}

pub async fn stamps_and_lineage_are_inherited(fixture: &impl Fixture) {
    let running = start(fixture, report_headers).await;
    let stamped = add(1, 2)
        .with_option("task_id", "first")
        .with_option("stamped_headers", json!(["release"]))
        .with_option("release", "r1");
    let chain = Signature::chain(vec![stamped, Signature::new("report", vec![]).with_option("priority", 5)]);
    let reported = apply(&running, chain).await.unwrap();
    let wanted = json!({"args": [3], "root": "first", "parent": "first", "stamps": {"release": "r1"}, "priority": 5});
    assert_eq!(reported, wanted);
    running.stop().await;
}

pub async fn a_compressed_task_is_read(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    for name in ["gzip", "bzip2"] {
        let options = SendOptions { compression: Some(name.into()), ..SendOptions::default() };
        let args = vec![json!(1), json!(2)];
        let mut sent = running.client.send("w", "add", args, no_kwargs(), options).await.unwrap();
        assert_eq!(sent.get(SOON).await.unwrap(), 3);
        let step = plus(1).with_option("compression", name);
        assert_eq!(apply(&running, Signature::chain(vec![add(1, 2), step])).await.unwrap(), 4);
    }
    let options = SendOptions { compression: Some("rot13".into()), ..SendOptions::default() };
    assert!(running.client.send("w", "add", vec![], no_kwargs(), options).await.is_err());
    // As somebody else would send it, and a bomb: refused with a result.
    let message = TaskRequest::builder("add", "z").args(vec![json!(1), json!(1)]).build().to_message().unwrap();
    assert_eq!(running.answer_to("z", message.compressed("zlib").unwrap()).await.result, 2);
    let mut bomb = TaskRequest::builder("add", "bomb").build().to_message().unwrap();
    bomb.body = vec![b' '; Limits::default().body_bytes + 1];
    let meta = running.answer_to("bomb", bomb.compressed("gzip").unwrap()).await;
    assert_eq!((meta.state.clone(), meta.exception().unwrap().exc_type.as_str()), (State::Failure, "DecodeError"));
    eventually("refused", || running.counters.snapshot().rejected == 1).await;
    running.stop().await;
}
