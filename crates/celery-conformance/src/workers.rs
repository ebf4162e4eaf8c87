//! Rules for workers and clients, on any broker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use celery_protocol::{ResultMeta, Routes, Signature, State, TaskRequest};
use celery_runtime::{
    Arguments, TaskError,
    broker::{Broker, Publish},
    client::{ApplyError, CallError, Client, SendOptions},
    worker::{Worker, WorkerBuilder, WorkerCounters, WorkerError, WorkerRegistry},
};
use serde_json::{Map, Value, json};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{A_WHILE, Fixture, SOON, assert_empty, eventually, next, no_kwargs};

pub struct RunningWorker {
    pub client: Client,
    pub broker: Arc<dyn Broker>,
    pub counters: Arc<WorkerCounters>,
    pub registry: Arc<WorkerRegistry>,
    pub shutdown: CancellationToken,
    pub worker: JoinHandle<Result<(), WorkerError>>,
}

impl RunningWorker {
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.worker).await.expect("the worker did not end").unwrap().unwrap();
    }

    pub async fn call(&self, task: &str, kwargs: Value) -> Result<Value, CallError> {
        let Value::Object(kwargs) = kwargs else { panic!("not an object") };
        self.client.call("w", task, kwargs, SOON).await
    }

    pub async fn send_raw(&self, message: celery_protocol::Message) {
        self.broker.publish(Publish::task("w", message)).await.unwrap();
    }

    /// What a caller waiting at its own queue gets for a message sent as it is.
    pub async fn answer_to(&self, id: &str, mut message: celery_protocol::Message) -> ResultMeta {
        let queue = format!("replies-{id}");
        let mut replies = self.broker.consume_replies(&queue).await.unwrap();
        self.broker.declare_reply_queue(&queue).await.unwrap();
        message.properties.reply_to = Some(queue);
        self.send_raw(message).await;
        let reply = next(&mut replies).await;
        ResultMeta::decode(&reply.message, &celery_protocol::Limits::default()).unwrap()
    }
}

pub async fn start(fixture: &impl Fixture, tasks: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> RunningWorker {
    let broker = fixture.connect().await;
    let builder =
        Worker::builder(broker.clone()).name("w@test").queue("w").task("add", |_, arguments: Arguments| async move {
            let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
            Ok(json!(x + y))
        });
    let worker = tasks(builder).build().unwrap();
    let (counters, registry, shutdown) = (worker.counters(), worker.registry(), CancellationToken::new());
    broker.declare_task_queue(&"w".into()).await.unwrap();
    let worker = tokio::spawn(worker.run(shutdown.clone()));
    let client = Client::new(fixture.connect().await).await.unwrap().with_routes(Routes::to("w"));
    RunningWorker { client, broker, counters, registry, shutdown, worker }
}

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

pub async fn an_unknown_task_is_told(fixture: &impl Fixture) {
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

/// Loss point 6 of Celery: content that is refused leaves the caller waiting.
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

    // Nobody to tell: dropped, and the worker goes on.
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
pub async fn a_chord_is_refused_unrun_where_results_are_messages(fixture: &impl Fixture) {
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

pub async fn progress_is_seen_on_the_way(fixture: &impl Fixture) {
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

/// Loss point 7 of Celery: an eta held unacknowledged is delivered again and again, or stops the queue.
pub async fn a_task_for_much_later_leaves_a_full_queue_to_the_others(fixture: &impl Fixture) {
    let running = start(fixture, |worker| worker.prefetch(1).hold(Duration::from_millis(20))).await;
    let later =
        SendOptions { countdown: Some(Duration::from_secs(600)), task_id: Some("later".into()), ..Default::default() };
    let mut sent = running.client.send("w", "add", vec![], no_kwargs(), later).await.unwrap();
    eventually("it went round", || running.counters.snapshot().received > 3).await;
    assert_eq!(running.counters.snapshot().redelivered, 0, "each time it was acknowledged");
    assert_eq!(running.call("add", json!({"x": 1, "y": 1})).await.unwrap(), 2);
    // As good as new: it is the same task.
    running.registry.revoke(["later".to_owned()]);
    assert!(matches!(sent.get(SOON).await, Err(CallError::Revoked { .. })));
    let broker = running.broker.clone();
    running.stop().await;
    assert_empty(&broker, "w").await;
}

/// Told to stop by its soft limit, and still there: whoever terminates it then is obeyed.
pub async fn a_task_that_ignores_its_soft_limit_can_be_terminated(fixture: &impl Fixture) {
    let told = Arc::new(Notify::new());
    let tells = told.clone();
    let running = start(fixture, |worker| {
        worker.task("stubborn", move |context, _| {
            let tells = tells.clone();
            async move {
                context.cancelled().cancelled().await;
                tells.notify_one();
                std::future::pending().await
            }
        })
    })
    .await;
    let soft = (None, serde_json::Number::from_f64(0.05));
    let options = SendOptions { task_id: Some("stubborn".into()), time_limits: soft, ..Default::default() };
    let mut sent = running.client.send("w", "stubborn", vec![], no_kwargs(), options).await.unwrap();
    tokio::time::timeout(SOON, told.notified()).await.unwrap();
    assert!(running.registry.terminate("stubborn"));
    assert!(matches!(sent.get(SOON).await, Err(CallError::Revoked { .. })));
    running.stop().await;
}

/// Of a stamp only those who carry it are terminated, whatever else was revoked.
pub async fn only_what_is_stamped_is_terminated_by_a_stamp(fixture: &impl Fixture) {
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
    assert_eq!(running.registry.active().len(), 1, "it goes on");
    assert!(running.registry.terminate("plain"));
    assert!(matches!(plain.get(SOON).await, Err(CallError::Revoked { .. })));
    running.stop().await;
}

/// The copy that lost its connection while it was held must not be put off beside the one that is delivered again.
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

/// Loss point 10 of Celery: a result for a reply queue that is gone.
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
    assert_eq!(running.counters.snapshot().returned, 0);
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

/// Loss point 8 of Celery: a connection, or a channel taken because a task took too long, is lost under way; the task must
/// neither be lost nor be done over and over.
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
        // The first run goes on and is acknowledged; only what was asked for again is run again.
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

pub async fn a_warm_shutdown_finishes_what_runs_and_gives_back_the_rest(fixture: &impl Fixture) {
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

pub async fn what_outlives_the_grace_period_is_cancelled_and_delivered_again(fixture: &impl Fixture) {
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

pub async fn a_call_nobody_answers_times_out(fixture: &impl Fixture) {
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
