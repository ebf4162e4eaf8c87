//! The in-process broker: the conformance suite, and the faults that tests inject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use celery_conformance as suite;
use celery_protocol::{Routes, Signature, TaskRequest};
use celery_runtime::{
    Arguments, TaskError,
    backend::{SharedBackend, memory::MemoryBackend},
    broker::{
        AckError, Broker, ConnectOptions, Publish, PublishError, connect,
        memory::{Duplicates, FaultAction, MemoryBroker, Op, OpKind, Phase},
    },
    client::{CallError, Client, SendOptions},
    worker::{Worker, registry::Shutdown},
};
use serde_json::json;
use suite::{A_WHILE, Fixture, SOON, id_of, next, no_kwargs, to};
use tokio_util::sync::CancellationToken;

struct Memory(MemoryBroker);

#[async_trait]
impl Fixture for Memory {
    async fn connect(&self) -> Arc<dyn Broker> {
        Arc::new(self.0.connect())
    }

    async fn cut(&self) {
        self.0.cut_connections();
    }
}

async fn memory() -> Memory {
    Memory(MemoryBroker::new())
}

suite::conformance!(memory);

async fn queue() -> (MemoryBroker, Arc<dyn Broker>) {
    let server = MemoryBroker::new();
    let broker: Arc<dyn Broker> = Arc::new(server.connect());
    broker.declare_task_queue(&"q".into()).await.unwrap();
    (server, broker)
}

#[tokio::test]
async fn each_memory_url_is_a_broker_of_its_own() {
    let one = connect("memory://", ConnectOptions::default()).await.unwrap();
    let other = connect("memory://", ConnectOptions::default()).await.unwrap();
    one.declare_task_queue(&"q".into()).await.unwrap();
    one.publish(to("q", "1")).await.unwrap();
    assert!(matches!(other.publish(to("q", "2")).await, Err(PublishError::Unroutable { .. })));
}

#[tokio::test]
async fn a_crash_ends_every_connection_for_good_and_keeps_the_messages() {
    let (server, broker) = queue().await;
    broker.publish(to("q", "1")).await.unwrap();
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    let delivery = next(&mut consumer).await;
    server.crash();
    assert!(matches!(delivery.ack().await, Err(AckError::Stale { .. })));
    assert!(consumer.next().await.is_none());
    assert_eq!(broker.publish(to("q", "2")).await, Err(PublishError::Closed));
    assert!(!broker.connection_state().borrow().connected);
    let restarted: Arc<dyn Broker> = Arc::new(server.connect());
    let mut consumer = restarted.consume(&"q".into(), 1).await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!((id_of(&again), again.redelivered), ("1".into(), true));
    server.lose_everything();
    assert_eq!(server.queue_len("q"), None);
}

#[tokio::test]
async fn the_hook_sees_every_publish_and_acknowledgement_from_both_sides() {
    let (server, broker) = queue().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    server.set_fault_hook(Some(Arc::new(move |op: Op| {
        log.lock().unwrap().push((op.kind, op.phase, op.routing_key, op.task));
        FaultAction::Continue
    })));
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
    broker.publish(to("q", "2")).await.unwrap();
    next(&mut consumer).await.reject(false).await.unwrap();
    let kinds = [OpKind::Publish, OpKind::Ack, OpKind::Publish, OpKind::Reject];
    let expected: Vec<_> = kinds.iter().flat_map(|kind| [(*kind, Phase::Before), (*kind, Phase::After)]).collect();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().map(|(kind, phase, ..)| (*kind, *phase)).collect::<Vec<_>>(), expected);
    assert!(seen.iter().all(|(_, _, key, task)| key == "q" && task.as_deref() == Some("t")));
}

#[tokio::test]
async fn a_fault_before_the_effect_prevents_it_and_one_after_only_hides_it() {
    for (phase, arrives) in [(Phase::Before, false), (Phase::After, true)] {
        let (server, broker) = queue().await;
        server.set_fault_hook(Some(Arc::new(move |op: Op| {
            if op.phase == phase { FaultAction::Error } else { FaultAction::Continue }
        })));
        let error = broker.publish(to("q", "1")).await.unwrap_err();
        assert_eq!(matches!(error, PublishError::Timeout), arrives, "{error}");
        assert_eq!(server.queue_len("q"), Some(usize::from(arrives)));
        server.set_fault_hook(None);
        broker.publish(to("q", "2")).await.unwrap();
        let mut consumer = broker.consume(&"q".into(), 10).await.unwrap();
        let delivery = next(&mut consumer).await;
        server.set_fault_hook(Some(Arc::new(move |op: Op| {
            if op.phase == phase { FaultAction::Error } else { FaultAction::Continue }
        })));
        assert!(matches!(delivery.ack().await, Err(AckError::Unavailable { .. })));
        // Before: still unacknowledged. After: gone.
        assert_eq!(server.unacked_len("q"), usize::from(!arrives));
    }
}

#[tokio::test]
async fn a_stop_holds_everything_until_the_crash() {
    let (server, broker) = queue().await;
    let mut consumer = broker.consume(&"q".into(), 10).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    let one = next(&mut consumer).await;
    server.set_fault_hook(Some(Arc::new(|op: Op| match (op.kind, op.phase) {
        (OpKind::Publish, Phase::After) => FaultAction::Stop,
        _ => FaultAction::Continue,
    })));
    let waiting = server.clone();
    let stopped = tokio::spawn(async move { waiting.stopped().await });
    assert!(broker.publish(to("q", "2")).await.is_err());
    tokio::time::timeout(SOON, stopped).await.unwrap().unwrap();
    assert!(server.is_stopped());
    assert!(matches!(one.ack().await, Err(AckError::Unavailable { .. })));
    assert!(matches!(broker.publish(to("q", "3")).await, Err(PublishError::Unavailable { .. })));
    assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
    server.crash();
    assert!(!server.is_stopped());
    assert!(consumer.next().await.is_none());
    // The last acknowledgement and the last publish have both had their effect.
    assert_eq!(server.queue_len("q"), Some(2));
}

#[tokio::test]
async fn a_task_can_be_delivered_twice() {
    for duplicates in [Duplicates::Together, Duplicates::AfterAck] {
        let (server, broker) = queue().await;
        server.set_duplicates(duplicates);
        broker.publish(to("q", "1")).await.unwrap();
        broker.publish(to("q", "2")).await.unwrap();
        let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
        let mut order = Vec::new();
        for _ in 0..4 {
            let delivery = next(&mut consumer).await;
            order.push((id_of(&delivery), delivery.redelivered));
            delivery.ack().await.unwrap();
        }
        let expected = match duplicates {
            Duplicates::Together => [("1", false), ("1", true), ("2", false), ("2", true)],
            _ => [("1", false), ("2", false), ("1", true), ("2", true)],
        };
        assert_eq!(order, expected.map(|(id, again)| (id.to_owned(), again)));
        assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err(), "copies are not copied");
    }
}

/// The result cannot be stored after the work is done. Celery loses it.
#[tokio::test]
async fn a_task_whose_result_cannot_be_published_is_answered_later_and_not_run_again() {
    let server = MemoryBroker::new();
    let broker: Arc<dyn Broker> = Arc::new(server.connect());
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let worker = Worker::builder(broker.clone())
        .queue("w")
        .task("t", move |_, _| {
            let run = count.fetch_add(1, Ordering::SeqCst);
            async move { Ok(json!(run)) }
        })
        .build()
        .unwrap();
    let (counters, shutdown) = (worker.counters(), CancellationToken::new());
    let running = tokio::spawn(worker.run(shutdown.clone()));
    broker.declare_task_queue(&"w".into()).await.unwrap();
    let client = Client::new(Arc::new(server.connect())).await.unwrap();
    // More often than the worker retries with the task in hand.
    let failing = Mutex::new(6);
    server.set_fault_hook(Some(Arc::new(move |op: Op| {
        let mut left = failing.lock().unwrap();
        if op.kind == OpKind::Publish && op.phase == Phase::Before && op.task.is_none() && *left > 0 {
            *left -= 1;
            return FaultAction::Error;
        }
        FaultAction::Continue
    })));
    assert_eq!(client.call("w", "t", no_kwargs(), SOON).await.unwrap(), 0);
    suite::eventually("nothing is left", || server.unacked_len("w") == 0 && server.queue_len("w") == Some(0)).await;
    assert_eq!((runs.load(Ordering::SeqCst), counters.snapshot().requeued), (1, 1));
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// A redelivery sends the continuation again. In Celery the chain then runs twice.
#[tokio::test]
async fn a_worker_that_dies_between_publishing_and_acknowledging_makes_no_second_branch() {
    let server = MemoryBroker::new();
    let worker = |server: &MemoryBroker| {
        Worker::builder(Arc::new(server.connect()))
            .queue("w")
            .task("t", |_, _| async { Ok(json!("done")) })
            .build()
            .unwrap()
    };
    let outside: Arc<dyn Broker> = Arc::new(server.connect());
    for queue in ["w", "next"] {
        outside.declare_task_queue(&queue.into()).await.unwrap();
    }
    let task = TaskRequest::builder("t", "parent")
        .link(Signature::new("callback", vec![]).with_option("queue", "next"))
        .chain(vec![Signature::new("step", vec![]).with_option("queue", "next").with_option("task_id", "step")])
        .build();
    outside.publish(Publish::task("w", task.to_message().unwrap())).await.unwrap();
    server.set_fault_hook(Some(Arc::new(|op: Op| match (op.kind, op.phase) {
        (OpKind::Ack, Phase::Before) => FaultAction::Stop,
        _ => FaultAction::Continue,
    })));
    let first = tokio::spawn(worker(&server).run(CancellationToken::new()));
    tokio::time::timeout(SOON, server.stopped()).await.unwrap();
    server.crash();
    server.set_fault_hook(None);
    assert!(first.await.unwrap().is_err(), "it died");
    let second = tokio::spawn(worker(&server).run(CancellationToken::new()));
    suite::eventually("acknowledged", || server.unacked_len("w") == 0 && server.queue_len("w") == Some(0)).await;
    let observer: Arc<dyn Broker> = Arc::new(server.connect());
    let mut consumer = observer.consume(&"next".into(), 10).await.unwrap();
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(next(&mut consumer).await.message);
    }
    assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
    // Twice, because the worker did not know that they were sent; but with the same ids, so that a reader by id sees one.
    let (first_run, second_run) = sent.split_at(2);
    assert_eq!(first_run, second_run);
    second.abort();
}

/// A task that was acknowledged early is lost in Celery when its worker crashes or shuts down cold.
#[tokio::test]
async fn a_task_is_never_acknowledged_before_it_has_ended() {
    let server = MemoryBroker::new();
    let outside: Arc<dyn Broker> = Arc::new(server.connect());
    outside.declare_task_queue(&"w".into()).await.unwrap();
    outside.publish(to("w", "1")).await.unwrap();
    let endless = |server: &MemoryBroker| {
        Worker::builder(Arc::new(server.connect())).queue("w").task("t", |_, _| std::future::pending()).build().unwrap()
    };
    let worker = endless(&server);
    let counters = worker.counters();
    let dying = tokio::spawn(worker.run(CancellationToken::new()));
    suite::eventually("it runs", || counters.snapshot().in_flight == 1).await;
    server.crash();
    assert!(dying.await.unwrap().is_err());
    assert_eq!(server.queue_len("w"), Some(1), "a crash loses nothing");

    let worker = endless(&server);
    let (counters, registry) = (worker.counters(), worker.registry());
    let stopping = tokio::spawn(worker.run(CancellationToken::new()));
    suite::eventually("it runs", || counters.snapshot().in_flight == 1).await;
    registry.shut_down(Shutdown::Cold);
    tokio::time::timeout(SOON, stopping).await.unwrap().unwrap().unwrap();
    assert_eq!((server.queue_len("w"), server.unacked_len("w")), (Some(1), 0), "nor does a cold shutdown");
}

/// Chords, counted by the backend in memory: the members may run anywhere and twice.
#[tokio::test]
async fn a_chord_runs_its_body_with_the_results_in_order_or_tells_who_failed() {
    let server = MemoryBroker::new();
    server.deliver_twice(true);
    let backend: SharedBackend = Arc::new(MemoryBackend::new());
    let worker = Worker::builder(Arc::new(server.connect()))
        .backend(backend.clone())
        .queue("w")
        .task("add", |_, arguments: Arguments| async move {
            let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
            Ok(json!(x + y))
        })
        .task("sum", |_, arguments: Arguments| async move {
            let (all,): (Vec<i64>,) = arguments.bind_tuple(&["all"])?;
            Ok(json!(all.iter().sum::<i64>()))
        })
        .task("fail", |_, _| async { Err(TaskError::value_error("x")) })
        .build()
        .unwrap();
    let shutdown = CancellationToken::new();
    let broker: Arc<dyn Broker> = Arc::new(server.connect());
    broker.declare_task_queue(&"w".into()).await.unwrap();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    let client = Client::with_backend(broker, backend).with_routes(Routes::to("w"));
    let add = |x: i64, y: i64| Signature::new("add", vec![json!(x), json!(y)]);
    let plus = |y: i64| Signature::new("add", vec![json!(y)]);
    let header = Signature::group(vec![add(1, 2), Signature::chain(vec![add(3, 4), plus(100)])]);
    let chord = Signature::chord(header, Signature::new("sum", vec![]));
    assert_eq!(client.apply(chord).await.unwrap().get(SOON).await.unwrap(), 110);

    // A group in the middle of a chain is a chord, and the next step follows its body.
    let chain = Signature::chain(vec![
        add(1, 1),
        Signature::group(vec![plus(10), plus(20)]),
        Signature::new("sum", vec![]),
        plus(1000),
    ]);
    assert_eq!(client.apply(chain).await.unwrap().get(SOON).await.unwrap(), 1034);

    let failing = Signature::group(vec![add(1, 2), Signature::new("fail", vec![])]);
    let chord = Signature::chain(vec![Signature::chord(failing, Signature::new("sum", vec![])), plus(1)]);
    match client.apply(chord).await.unwrap().get(SOON).await.unwrap_err() {
        CallError::TaskFailed { exc_type, exc_module, messages, .. } => {
            assert_eq!((exc_type.as_str(), exc_module.as_deref()), ("ChordError", Some("celery.exceptions")));
            assert!(messages[0].as_str().unwrap().ends_with("raised ValueError('x')"), "{messages:?}");
        }
        other => panic!("{other:?}"),
    }

    // The members of a group at the end of a chain in the header are the chord's, also when the chain fails before.
    let ends_in_a_group = |first| Signature::chain(vec![first, Signature::group(vec![plus(10), plus(20)])]);
    let header = Signature::group(vec![ends_in_a_group(add(1, 1)), add(100, 0)]);
    let chord = Signature::chord(header, Signature::new("sum", vec![]));
    assert_eq!(client.apply(chord).await.unwrap().get(SOON).await.unwrap(), 134);
    let header = Signature::group(vec![ends_in_a_group(Signature::new("fail", vec![])), add(100, 0)]);
    let chord = Signature::chord(header, Signature::new("sum", vec![]));
    let error = client.apply(chord).await.unwrap().get(SOON).await.unwrap_err();
    assert!(matches!(&error, CallError::TaskFailed { exc_type, .. } if exc_type == "ChordError"), "{error:?}");
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_worker_whose_broker_crashed_ends_with_an_error() {
    let server = MemoryBroker::new();
    let worker = Worker::builder(Arc::new(server.connect())).queue("w").build().unwrap();
    let running = tokio::spawn(worker.run(CancellationToken::new()));
    suite::eventually("it consumes", || server.queue_len("w").is_some()).await;
    server.crash();
    assert!(tokio::time::timeout(SOON, running).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn a_worker_that_refuses_tasks_for_later_answers_them_and_lets_no_other_wait() {
    let server = MemoryBroker::new();
    let broker: Arc<dyn Broker> = Arc::new(server.connect());
    broker.declare_task_queue(&"w".into()).await.unwrap();
    let backend: SharedBackend = Arc::new(MemoryBackend::new());
    let client = Client::with_backend(broker.clone(), backend.clone()).with_routes(Routes::to("w"));
    let hour = SendOptions { countdown: Some(Duration::from_secs(3_600)), ..SendOptions::default() };
    let mut refused = Vec::new();
    for _ in 0..20 {
        refused.push(client.send("w", "t", vec![], no_kwargs(), hour.clone()).await.unwrap());
    }
    let worker = Worker::builder(Arc::new(server.connect()))
        .backend(backend)
        .queue("w")
        .prefetch(4)
        .refuse_eta(Duration::from_secs(60))
        .task("t", |_, _| async { Ok(json!("done")) })
        .task("again", |_, _| async { Err(TaskError::value_error("x").retry_in(Duration::from_secs(3_600))) })
        .build()
        .unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    assert_eq!(client.call("w", "t", no_kwargs(), SOON).await.unwrap(), "done");
    for mut result in refused {
        match result.get(SOON).await.unwrap_err() {
            CallError::TaskFailed { exc_type, messages, .. } => {
                assert_eq!(exc_type, "NotImplementedError");
                assert!(messages[0].as_str().unwrap().contains("no tasks for later"), "{messages:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    // A clock may differ a little: such a task runs immediately.
    let soon = SendOptions { countdown: Some(Duration::from_secs(30)), ..SendOptions::default() };
    assert_eq!(client.call_with("w", "t", no_kwargs(), soon, SOON).await.unwrap(), "done");
    // A retry would be refused: it is the end.
    assert!(matches!(client.call("w", "again", no_kwargs(), SOON).await, Err(CallError::TaskFailed { .. })));
    suite::eventually("nothing is left", || server.unacked_len("w") == 0 && server.queue_len("w") == Some(0)).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_task_that_too_many_tasks_follow_fails_and_none_of_them_is_sent() {
    let server = MemoryBroker::new();
    let broker: Arc<dyn Broker> = Arc::new(server.connect());
    for queue in ["w", "next"] {
        broker.declare_task_queue(&queue.into()).await.unwrap();
    }
    let backend: SharedBackend = Arc::new(MemoryBackend::new());
    let worker = Worker::builder(Arc::new(server.connect()))
        .backend(backend.clone())
        .queue("w")
        .max_follow_ups(3)
        .task("t", |_, _| async { Ok(json!("done")) })
        .build()
        .unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    let client = Client::with_backend(broker.clone(), backend).with_routes(Routes::to("w"));
    let step = || Signature::new("t", vec![]).immutable().with_option("queue", "next");
    let many = |count: usize| (0..count).map(|_| step()).collect::<Vec<_>>();
    let nested = Signature::group(many(4)).with_option("queue", "next");
    let errors = || SendOptions { link_error: many(4), ..SendOptions::default() };
    for (task, options) in [
        ("t", SendOptions { link: many(4), ..SendOptions::default() }),
        ("t", SendOptions { link: vec![nested], ..SendOptions::default() }),
        ("t", errors()),
        // Refused for another reason too: its errbacks are as many.
        ("unknown", errors()),
    ] {
        match client.call_with("w", task, no_kwargs(), options, SOON).await.unwrap_err() {
            CallError::TaskFailed { messages, .. } => {
                assert!(messages[0].as_str().unwrap().contains("more than 3 tasks follow"), "{messages:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    let chain = TaskRequest::builder("t", "chain").chain(many(10_000)).build();
    broker.publish(Publish::task("w", chain.to_message().unwrap())).await.unwrap();
    let few = SendOptions { link: many(3), ..SendOptions::default() };
    assert_eq!(client.call_with("w", "t", no_kwargs(), few, SOON).await.unwrap(), "done");
    suite::eventually("nothing is left", || server.unacked_len("w") == 0 && server.queue_len("w") == Some(0)).await;
    assert_eq!(server.queue_len("next"), Some(3));
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
