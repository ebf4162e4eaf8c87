//! Rules for tasks that wait: for their turn, for their `eta`, while they are held.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use celery_runtime::client::{CallError, SendOptions};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::{Fixture, SOON, assert_empty, eventually, no_kwargs, running_worker::start};

pub async fn fast_tasks_do_not_wait_behind_exclusive_ones(fixture: &impl Fixture) {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let running = start(fixture, |worker| {
        worker.exclusive_task("heavy", move |_, _| {
            let wait = wait.clone();
            async move {
                wait.notified().await;
                Ok(Value::Null)
            }
        })
    })
    .await;
    let mut heavy = Vec::new();
    for _ in 0..5 {
        heavy.push(running.client.send("w", "heavy", vec![], no_kwargs(), SendOptions::default()).await.unwrap());
    }
    assert_eq!(running.call("add", json!({"x": 1, "y": 1})).await.unwrap(), 2);
    assert_eq!(running.counters.snapshot().in_flight, 1);
    for pending in &mut heavy {
        go.notify_one();
        pending.get(SOON).await.unwrap();
    }
    running.stop().await;
}

pub async fn exclusive_tasks_run_one_at_a_time_in_order(fixture: &impl Fixture) {
    let (sender, mut order) = mpsc::unbounded_channel();
    let busy = Arc::new(AtomicUsize::new(0));
    let running = start(fixture, |worker| {
        worker.exclusive_task("one", move |context, _| {
            let (sender, busy) = (sender.clone(), busy.clone());
            async move {
                assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                tokio::task::yield_now().await;
                busy.fetch_sub(1, Ordering::SeqCst);
                sender.send(context.task_id).unwrap();
                Ok(Value::Null)
            }
        })
    })
    .await;
    for number in 0..40 {
        let options = SendOptions { task_id: Some(number.to_string()), ignore_result: true, ..SendOptions::default() };
        running.client.send("w", "one", vec![], no_kwargs(), options).await.unwrap();
    }
    for number in 0..40 {
        let id = tokio::time::timeout(SOON, order.recv()).await.unwrap().unwrap();
        assert_eq!(id, number.to_string());
    }
    running.stop().await;
}

pub async fn a_task_waits_for_its_eta_without_blocking_others(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        worker.exclusive_task("when", |_, _| async { Ok(json!(celery_runtime::clock::now().to_string())) })
    })
    .await;
    let not_before = celery_runtime::clock::now() + Duration::from_millis(700);
    let options = SendOptions { countdown: Some(Duration::from_millis(700)), ..SendOptions::default() };
    let mut later = running.client.send("w", "when", vec![], no_kwargs(), options).await.unwrap();
    let mut now = running.client.send("w", "when", vec![], no_kwargs(), SendOptions::default()).await.unwrap();
    let at = |value: Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(at(now.get(SOON).await.unwrap()) < at(later.get(SOON).await.unwrap()));
    assert!(celery_runtime::clock::now() >= not_before);
    running.stop().await;
}

/// A Python worker holds a distant `eta` unacknowledged: it is redelivered again and again, or blocks the queue.
pub async fn a_task_with_a_distant_eta_does_not_block_a_full_queue(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker.prefetch(1).hold(Duration::from_millis(20))).await;
    let later =
        SendOptions { countdown: Some(Duration::from_secs(600)), task_id: Some("later".into()), ..Default::default() };
    let mut sent = running.client.send("w", "add", vec![], no_kwargs(), later).await.unwrap();
    eventually("it was published again", || running.counters.snapshot().received > 3).await;
    assert_eq!(running.counters.snapshot().redelivered, 0, "each time it was acknowledged");
    assert_eq!(running.call("add", json!({"x": 1, "y": 1})).await.unwrap(), 2);
    // Published again, it is still the same task.
    running.registry.revoke(["later".to_owned()]);
    assert!(matches!(sent.get(SOON).await, Err(CallError::Revoked { .. })));
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

/// The copy that lost its connection while it was held must not be published beside the one that is redelivered.
pub async fn a_held_task_is_not_doubled_by_a_lost_connection(fixture: &impl Fixture) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let running = start(fixture, |worker| {
        worker.hold(Duration::from_secs(6)).task("count", move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(Value::Null) }
        })
    })
    .await;
    let options = SendOptions { countdown: Some(Duration::from_secs(12)), ..SendOptions::default() };
    let mut later = running.client.send("w", "count", vec![], no_kwargs(), options).await.unwrap();
    eventually("it is held", || running.counters.snapshot().received == 1).await;
    fixture.cut().await;
    if fixture.connections_hold_deliveries() {
        eventually("it is held again", || running.counters.snapshot().redelivered == 1).await;
    }
    later.get(SOON).await.unwrap();
    let broker = running.broker.clone();
    // What else were there would be due as well.
    eventually("nothing runs", || running.counters.snapshot().in_flight == 0).await;
    running.stop().await;
    assert_empty(&broker, "w").await;
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}
