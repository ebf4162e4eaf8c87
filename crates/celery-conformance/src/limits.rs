//! Rules for time limits, revoking, rates, and steering from outside.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use celery_protocol::{Limits, ResultMeta, Signature, State, TaskRequest};
use celery_runtime::{
    TaskError,
    client::{CallError, SendOptions},
    worker::{
        TaskOptions, WorkerBuilder,
        registry::{Shutdown, StopCause, TaskEvent, TaskEvents, TaskStage, TimeLimits},
    },
};
use serde_json::{Value, json};

use super::{A_WHILE, Fixture, SOON, assert_empty, eventually, next, no_kwargs, running_worker::start};

fn raised(outcome: Result<Value, CallError>) -> (String, Vec<Value>) {
    match outcome {
        Err(CallError::TaskFailed { exc_type, messages, .. }) => (exc_type, messages),
        other => panic!("{other:?}"),
    }
}

/// `deaf` never ends; `obedient` ends when it is cancelled.
fn endless(worker: WorkerBuilder) -> WorkerBuilder {
    worker.task("deaf", |_, _| std::future::pending()).task("obedient", |context, _| async move {
        context.cancelled().cancelled().await;
        Err(TaskError::runtime_error(format!("{:?}", context.stop_cause())))
    })
}

pub async fn a_hard_time_limit_is_a_failure(fixture: &impl Fixture) {
    let limits = TimeLimits { hard: Some(Duration::from_millis(50)), soft: None };
    let options = TaskOptions::new().time_limits(limits);
    let running =
        start(fixture, |worker| endless(worker).task_with("limited", options, |_, _| std::future::pending())).await;
    let options = SendOptions { time_limits: (serde_json::Number::from_f64(0.1), None), ..SendOptions::default() };
    let mut sent = running.client.send("w", "deaf", vec![], no_kwargs(), options).await.unwrap();
    assert_eq!(raised(sent.get(SOON).await), ("TimeLimitExceeded".into(), vec![json!(0.1)]));
    assert_eq!(raised(running.call("limited", json!({})).await), ("TimeLimitExceeded".into(), vec![json!(0.05)]));
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn a_soft_time_limit_asks_the_task_to_stop(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        endless(worker).task("tidy", |context, _| async move {
            context.cancelled().cancelled().await;
            assert_eq!(context.stop_cause(), Some(StopCause::SoftTimeLimit));
            Ok(json!("what there was"))
        })
    })
    .await;
    let soft = || SendOptions { time_limits: (None, serde_json::Number::from_f64(0.05)), ..SendOptions::default() };
    let mut sent = running.client.send("w", "obedient", vec![], no_kwargs(), soft()).await.unwrap();
    assert_eq!(raised(sent.get(SOON).await), ("SoftTimeLimitExceeded".into(), vec![]));
    let mut sent = running.client.send("w", "tidy", vec![], no_kwargs(), soft()).await.unwrap();
    assert_eq!(sent.get(SOON).await.unwrap(), "what there was");
    running.stop().await;
}

pub async fn a_revoked_task_is_not_run(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker).await;
    running.registry.revoke(["no".to_owned()]);
    running.registry.revoke_stamped("release", [json!("bad")]);
    let named = SendOptions { task_id: Some("no".into()), ..SendOptions::default() };
    let stamped =
        SendOptions { stamps: json!({"release": "bad"}).as_object().unwrap().clone(), ..SendOptions::default() };
    for options in [named, stamped] {
        let mut sent = running.client.send("w", "add", vec![], no_kwargs(), options).await.unwrap();
        match sent.get(SOON).await.unwrap_err() {
            CallError::Revoked { reason, .. } => assert_eq!(reason, "revoked"),
            other => panic!("{other:?}"),
        }
    }
    // One that waits for its time is not run either, and says so without waiting for it.
    let later =
        SendOptions { countdown: Some(Duration::from_secs(600)), task_id: Some("later".into()), ..Default::default() };
    let mut sent = running.client.send("w", "add", vec![], no_kwargs(), later).await.unwrap();
    eventually("scheduled", || running.registry.scheduled().len() == 1).await;
    assert_eq!(running.registry.find("later").unwrap().stage, TaskStage::Scheduled);
    running.registry.revoke(["later".to_owned()]);
    assert!(matches!(sent.get(SOON).await, Err(CallError::Revoked { .. })));
    assert_eq!(running.counters.snapshot().revoked, 3);
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn a_terminated_task_is_cancelled_and_ends(fixture: &impl Fixture) {
    let running = start(fixture, endless).await;
    for task in ["obedient", "deaf"] {
        let options = SendOptions { task_id: Some(task.into()), ..SendOptions::default() };
        let mut sent = running.client.send("w", task, vec![], no_kwargs(), options).await.unwrap();
        eventually("it runs", || running.registry.active().len() == 1).await;
        assert!(running.registry.active()[0].started.is_some());
        assert!(running.registry.terminate(task));
        match sent.get(SOON).await.unwrap_err() {
            CallError::Revoked { reason, .. } => assert_eq!(reason, "terminated"),
            other => panic!("{other:?}"),
        }
        eventually("it is gone", || running.registry.find(task).is_none()).await;
    }
    assert!(!running.registry.terminate("unknown"));
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn a_rate_limit_spreads_tasks_and_blocks_no_others(fixture: &impl Fixture) {
    let options = TaskOptions::new().rate_limit("1/h".parse().unwrap());
    let running = start(fixture, |worker| worker.task_with("rare", options, |_, _| async { Ok(json!("ran")) })).await;
    assert_eq!(running.call("rare", json!({})).await.unwrap(), "ran");
    let mut waits = running.client.send("w", "rare", vec![], no_kwargs(), SendOptions::default()).await.unwrap();
    eventually("taken", || running.registry.reserved().len() == 1).await;
    assert_eq!(running.call("add", json!({"x": 1, "y": 1})).await.unwrap(), 2);
    assert!(matches!(waits.get(A_WHILE).await, Err(CallError::Timeout { .. })));
    assert!(running.registry.set_rate_limit("rare", None));
    assert_eq!(waits.get(SOON).await.unwrap(), "ran");
    running.stop().await;
}

pub async fn started_is_reported_and_results_may_be_extended(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker.track_started(true).result_extended(true)).await;
    let mut replies = running.broker.consume_replies("replies").await.unwrap();
    running.broker.declare_reply_queue("replies").await.unwrap();
    let task = TaskRequest::builder("add", "s").args(vec![json!(1), json!(2)]).stamp("m", "1").reply_to("replies");
    running.send_raw(task.build().to_message().unwrap()).await;
    let mut next_meta = async || ResultMeta::decode(&next(&mut replies).await.message, &Limits::default()).unwrap();
    let started = next_meta().await;
    assert_eq!(started.state, State::Started);
    assert_eq!(started.result, json!({"pid": std::process::id(), "hostname": "w@test"}));
    let ended = next_meta().await;
    assert_eq!((ended.state.clone(), ended.result.clone()), (State::Success, json!(3)));
    let extended = Value::Object(ended.extra);
    let wanted = json!({"name": "add", "args": [1, 2], "kwargs": {}, "worker": "w@test", "retries": 0, "queue": "w",
        "stamped_headers": ["m"], "m": "1"});
    assert_eq!(extended, wanted);
    running.stop().await;
}

pub async fn an_unwanted_result_is_not_stored_and_its_chain_continues(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        worker.task_with("quiet", TaskOptions::new().ignore_result(), |_, _| async { Ok(json!(1)) })
    })
    .await;
    let quiet = Signature::new("add", vec![json!(1), json!(2)]).with_option("ignore_result", true);
    let chain = Signature::chain(vec![quiet, Signature::new("add", vec![json!(10)])]);
    assert_eq!(running.client.apply(chain).await.unwrap().get(SOON).await.unwrap(), 13);
    // The task's own setting holds where the caller says nothing.
    let mut replies = running.broker.consume_replies("replies").await.unwrap();
    running.broker.declare_reply_queue("replies").await.unwrap();
    for (id, wish) in [("silent", None), ("wanted", Some(false))] {
        let task = TaskRequest::builder("quiet", id).ignore_result(wish).reply_to("replies").build();
        running.send_raw(task.to_message().unwrap()).await;
    }
    let stored = ResultMeta::decode(&next(&mut replies).await.message, &Limits::default()).unwrap();
    assert_eq!(stored.task_id, "wanted");
    running.stop().await;
}

pub async fn queues_and_prefetch_change_while_it_runs(fixture: &impl Fixture) {
    let running = start(fixture, endless).await;
    running.broker.declare_task_queue(&"extra".into()).await.unwrap();
    let send = |queue: &'static str| {
        running.client.send(queue, "add", vec![json!(1), json!(1)], no_kwargs(), SendOptions::default())
    };
    let mut sent = send("extra").await.unwrap();
    assert!(matches!(sent.get(A_WHILE).await, Err(CallError::Timeout { .. })));
    assert!(running.registry.add_queue("extra".into()));
    assert_eq!(sent.get(SOON).await.unwrap(), 2);

    // What was taken before stays until it is done, and can be acknowledged.
    let options = SendOptions { task_id: Some("long".into()), ..SendOptions::default() };
    let mut long = running.client.send("w", "deaf", vec![], no_kwargs(), options).await.unwrap();
    eventually("it runs", || running.registry.active().len() == 1).await;
    running.registry.set_prefetch(2);
    for queue in ["w", "extra"] {
        assert_eq!(send(queue).await.unwrap().get(SOON).await.unwrap(), 2);
    }
    assert!(running.registry.terminate("long"));
    assert!(matches!(long.get(SOON).await, Err(CallError::Revoked { .. })));

    assert!(running.registry.cancel_queue("extra"));
    // Eventually this consumer alone gets the messages sent there.
    let mut consumer = running.broker.consume(&"extra".into(), 1).await.unwrap();
    let ours = async {
        loop {
            let _sent = send("extra").await.unwrap();
            if let Ok(Some(delivery)) = tokio::time::timeout(A_WHILE, consumer.next()).await {
                break delivery;
            }
        }
    };
    tokio::time::timeout(SOON, ours).await.expect("it is consumed all the same").ack().await.unwrap();
    drop(consumer);
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

pub async fn a_cold_shutdown_requeues_running_tasks(fixture: &impl Fixture) {
    let running = start(fixture, endless).await;
    for task in ["obedient", "deaf"] {
        let options = SendOptions { task_id: Some(task.into()), ..SendOptions::default() };
        running.client.send("w", task, vec![], no_kwargs(), options).await.unwrap();
    }
    eventually("both run", || running.registry.active().len() == 2).await;
    running.registry.shut_down(Shutdown::Cold);
    tokio::time::timeout(SOON, running.worker).await.unwrap().unwrap().unwrap();
    let mut consumer = running.broker.consume(&"w".into(), 10).await.unwrap();
    let back = (next(&mut consumer).await, next(&mut consumer).await);
    assert!(back.0.redelivered && back.1.redelivered);
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<(String, &'static str)>>);

impl TaskEvents for Seen {
    fn wanted(&self) -> bool {
        true
    }

    fn event(&self, event: TaskEvent) {
        self.0.lock().unwrap().push((event.id, event.kind.as_str()));
    }
}

pub async fn events_report_each_step_of_a_task(fixture: &impl Fixture) {
    let running = start(fixture, |worker| {
        worker.task("fail", |_, _| async { Err(TaskError::value_error("x")) }).task("again", |context, _| async move {
            match context.retries {
                0 => Err(TaskError::value_error("x").retry_in(Duration::from_millis(1))),
                _ => Ok(Value::Null),
            }
        })
    })
    .await;
    let seen = Arc::new(Seen::default());
    running.registry.set_events(Some(seen.clone()));
    running.registry.revoke(["r".to_owned()]);
    let expected: [(&str, &str, &[&str]); 5] = [
        ("add", "a", &["task-received", "task-started", "task-succeeded"]),
        ("fail", "f", &["task-received", "task-started", "task-failed"]),
        (
            "again",
            "t",
            &["task-received", "task-started", "task-retried", "task-received", "task-started", "task-succeeded"],
        ),
        ("add", "r", &["task-received", "task-revoked"]),
        ("nope", "n", &["task-received", "task-failed"]),
    ];
    for (task, id, kinds) in expected {
        let options = SendOptions { task_id: Some(id.into()), ..SendOptions::default() };
        let _sent = running.client.send("w", task, vec![json!(1), json!(2)], no_kwargs(), options).await.unwrap();
        let of_it = || {
            let seen = seen.0.lock().unwrap();
            seen.iter().filter(|(of, _)| of == id).map(|(_, kind)| *kind).collect::<Vec<_>>()
        };
        eventually(task, || of_it() == kinds).await;
    }
    assert_eq!(running.registry.totals()["add"], 2);
    running.stop().await;
}
