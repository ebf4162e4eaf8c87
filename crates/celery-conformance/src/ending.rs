//! Rules for tasks that end early, or whose connection or worker does.

use std::{sync::Arc, time::Duration};

use celery_runtime::{
    TaskError,
    client::{CallError, SendOptions},
    worker::WorkerError,
};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use super::{A_WHILE, Fixture, SOON, assert_empty, eventually, next, no_kwargs, running_worker::start};

/// A task that was stopped by its soft limit and still runs can be terminated.
pub async fn a_task_that_ignores_its_soft_limit_can_be_terminated(fixture: &impl Fixture) {
    let stopped = Arc::new(Notify::new());
    let notify = stopped.clone();
    let running = start(fixture, |worker| {
        worker.task("stubborn", move |context, _| {
            let notify = notify.clone();
            async move {
                context.cancelled().cancelled().await;
                notify.notify_one();
                std::future::pending().await
            }
        })
    })
    .await;
    let soft = (None, serde_json::Number::from_f64(0.05));
    let options = SendOptions { task_id: Some("stubborn".into()), time_limits: soft, ..Default::default() };
    let mut sent = running.client.send("w", "stubborn", vec![], no_kwargs(), options).await.unwrap();
    tokio::time::timeout(SOON, stopped.notified()).await.unwrap();
    assert!(running.registry.terminate("stubborn"));
    assert!(matches!(sent.get(SOON).await, Err(CallError::Revoked { .. })));
    running.stop().await;
}

/// Terminating by a stamp stops only tasks with that stamp, also when others were revoked.
pub async fn a_stamp_terminates_only_stamped_tasks(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        worker.task("wait", |context, _| async move {
            context.cancelled().cancelled().await;
            Err(TaskError::value_error("stopped"))
        })
    })
    .await;
    let send = |id: &str| {
        let options = SendOptions { task_id: Some(id.to_owned()), ..Default::default() };
        running.client.send("w", "wait", vec![], no_kwargs(), options)
    };
    let mut plain = send("plain").await.unwrap();
    eventually("it runs", || running.counters.snapshot().in_flight == 1).await;
    running.registry.revoke(["plain".to_owned()]);
    assert_eq!(running.registry.terminate_stamped("customer", [json!(7)]), 0);
    assert_eq!(running.registry.active().len(), 1, "it still runs");
    assert!(running.registry.terminate("plain"));
    assert!(matches!(plain.get(SOON).await, Err(CallError::Revoked { .. })));
    running.stop().await;
}

/// A connection, or a channel closed because a task took too long, is lost while the task runs; the task must neither be lost
/// nor be done over and over.
pub async fn a_cut_in_the_middle_of_a_task_loses_nothing(fixture: &impl Fixture) {
    let (started, mut starts) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let running = start(fixture, |worker| {
        worker.exclusive_task("work", move |context, _| {
            let (wait, started) = (wait.clone(), started.clone());
            async move {
                started.send(context.redelivered).unwrap();
                wait.notified().await;
                Ok(json!("done"))
            }
        })
    })
    .await;
    let options = SendOptions { task_id: Some("once".into()), ..SendOptions::default() };
    let _lost = running.client.send("w", "work", vec![], no_kwargs(), options.clone()).await.unwrap();
    assert_eq!(starts.recv().await, Some(false));
    fixture.cut().await;
    // A caller that asks again under the same id gets the result, whichever run it is of.
    let mut again = running.client.send("w", "work", vec![], no_kwargs(), options).await.unwrap();
    if !fixture.connections_hold_deliveries() {
        // The first run continues and is acknowledged; only a task that was sent again runs again.
        eventually("both were taken", || running.counters.snapshot().received == 2).await;
        go.notify_one();
        assert_eq!(again.get(SOON).await.unwrap(), "done");
        assert_eq!(tokio::time::timeout(SOON, starts.recv()).await.unwrap(), Some(false));
        go.notify_one();
        eventually("both ended", || running.counters.snapshot().succeeded == 2).await;
        let broker = running.broker.clone();
        running.stop().await;
        return assert_empty(&broker, "w").await;
    }
    eventually("the first task came again", || running.counters.snapshot().received >= 3).await;
    assert!(running.counters.snapshot().redelivered >= 1);
    // The first run ends; its acknowledgement is stale, so the redelivery is answered with it. Then the second task runs.
    go.notify_one();
    assert_eq!(tokio::time::timeout(SOON, starts.recv()).await.unwrap(), Some(false));
    go.notify_one();
    assert_eq!(again.get(SOON).await.unwrap(), "done");
    eventually("both ended", || running.counters.snapshot().succeeded == 2).await;
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn a_warm_shutdown_finishes_running_tasks_and_requeues_the_rest(fixture: &impl Fixture) {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let running = start(fixture, |worker| {
        worker.exclusive_task("work", move |_, _| {
            let wait = wait.clone();
            async move {
                wait.notified().await;
                Ok(json!("done"))
            }
        })
    })
    .await;
    let mut first = running.client.send("w", "work", vec![], no_kwargs(), SendOptions::default()).await.unwrap();
    let _second = running.client.send("w", "work", vec![], no_kwargs(), SendOptions::default()).await.unwrap();
    let later = SendOptions { countdown: Some(Duration::from_secs(600)), ..SendOptions::default() };
    let _third = running.client.send("w", "work", vec![], no_kwargs(), later).await.unwrap();
    eventually("all taken", || running.counters.snapshot().received == 3).await;
    eventually("one runs", || running.counters.snapshot().in_flight == 1).await;
    running.shutdown.cancel();
    go.notify_one();
    assert_eq!(first.get(SOON).await.unwrap(), "done");
    tokio::time::timeout(SOON, running.worker).await.unwrap().unwrap().unwrap();
    let mut consumer = running.broker.consume(&"w".into(), 10).await.unwrap();
    let back = (next(&mut consumer).await, next(&mut consumer).await);
    assert!(back.0.redelivered && back.1.redelivered);
    assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
}

pub async fn a_task_that_outlives_the_grace_period_is_cancelled_and_redelivered(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        worker
            .grace(Duration::from_millis(50))
            .task("obedient", |context, _| async move {
                context.cancelled().cancelled().await;
                Err(TaskError::runtime_error("stopped"))
            })
            .task("deaf", |_, _| std::future::pending())
    })
    .await;
    for task in ["obedient", "deaf"] {
        let options = SendOptions { task_id: Some(task.into()), ..SendOptions::default() };
        running.client.send("w", task, vec![], no_kwargs(), options).await.unwrap();
    }
    eventually("both run", || running.counters.snapshot().in_flight == 2).await;
    running.shutdown.cancel();
    let ended = tokio::time::timeout(SOON, running.worker).await.unwrap().unwrap();
    assert!(matches!(ended, Err(WorkerError::GraceExceeded { tasks: 1 })), "{ended:?}");
    assert_eq!(running.counters.snapshot().in_flight, 0);
    let mut consumer = running.broker.consume(&"w".into(), 10).await.unwrap();
    let back = (next(&mut consumer).await, next(&mut consumer).await);
    assert!(back.0.redelivered && back.1.redelivered);
}
