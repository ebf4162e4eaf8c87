//! The in-process broker: the conformance suite, and what tests can do to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod suite;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use celery_runtime::{
    broker::{
        AckError, Broker, ConnectOptions, PublishError, connect,
        memory::{Duplicates, FaultAction, MemoryBroker, Op, OpKind, Phase},
    },
    client::Client,
    worker::Worker,
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

conformance!(memory);

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
    // What was acknowledged last and what was published last are both there.
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

#[tokio::test]
async fn a_task_whose_result_cannot_be_published_is_run_again() {
    let server = MemoryBroker::new();
    let broker: Arc<dyn Broker> = Arc::new(server.connect());
    let worker = Worker::builder(broker.clone())
        .queue("w")
        .task("t", |context, _| async move { Ok(json!(context.redelivered)) })
        .build()
        .unwrap();
    let (counters, shutdown) = (worker.counters(), CancellationToken::new());
    let running = tokio::spawn(worker.run(shutdown.clone()));
    broker.declare_task_queue(&"w".into()).await.unwrap();
    let client = Client::new(Arc::new(server.connect())).await.unwrap();
    let failing = Mutex::new(1);
    server.set_fault_hook(Some(Arc::new(move |op: Op| {
        let mut left = failing.lock().unwrap();
        if op.kind == OpKind::Publish && op.phase == Phase::Before && op.task.is_none() && *left > 0 {
            *left -= 1;
            return FaultAction::Error;
        }
        FaultAction::Continue
    })));
    let result = client.call("w", "t", no_kwargs(), SOON).await.unwrap();
    assert_eq!(result, true);
    assert_eq!(counters.snapshot().returned, 1);
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
