//! The Redis result backend: stored and announced results, chords, and outages of Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use celery_protocol::{ExceptionInfo, ResultMeta, Signature, State, TaskRequest, task::TaskIdentity};
use celery_runtime::{
    backend::{ResultBackend, SharedBackend, connect as connect_backend, redis::RedisBackend},
    broker::{BrokerUrl, ConnectOptions, SharedBroker, connect},
    client::Client,
    clock,
    worker::Worker,
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Map, Value, json};
use testkit::servers::PrivateRedis;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_millis(250);

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn server() -> PrivateRedis {
    blocking(PrivateRedis::start).await
}

fn quick() -> ConnectOptions {
    ConnectOptions { operation_timeout: SOON, max_retry: Duration::from_millis(200), ..ConnectOptions::default() }
}

fn backend(url: &str) -> Arc<RedisBackend> {
    match url.parse().unwrap() {
        BrokerUrl::Redis(url) => Arc::new(RedisBackend::start(url, quick())),
        other => panic!("{other}"),
    }
}

async fn keys(server: &PrivateRedis) -> MultiplexedConnection {
    let client = redis::Client::open(server.url(0)).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(SOON));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

async fn cut(keys: &mut MultiplexedConnection) {
    for kind in ["pubsub", "normal"] {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes");
        kill.query_async::<usize>(keys).await.unwrap();
    }
}

fn success(id: &str, value: Value) -> ResultMeta {
    ResultMeta::success(id, value, clock::now())
}

fn failure(id: &str, text: &str) -> ResultMeta {
    ResultMeta::failure(id, &ExceptionInfo::builtin("ValueError", text), None, clock::now())
}

fn anybody() -> TaskIdentity {
    TaskIdentity::default()
}

async fn result_of(expectation: &mut celery_runtime::backend::Expectation) -> ResultMeta {
    let newest = expectation.newest();
    let ready = newest.wait_for(|meta| meta.as_ref().is_some_and(|meta| meta.state.is_ready()));
    tokio::time::timeout(SOON, ready).await.expect("no result").unwrap().clone().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_kept_for_a_day_and_announced_and_a_success_stands() {
    let server = server().await;
    let backend = backend(&server.url(0));
    let mut keys = keys(&server).await;
    let mut waiting = backend.expect("a").await.unwrap();
    backend.progress(&anybody(), ResultMeta::started("a", 1, "w@h")).await;
    // A result may look like a state.
    backend.progress(&anybody(), ResultMeta::progress("a", "RUNNING", json!({"status": "SUCCESS"}))).await;
    backend.store(&anybody(), failure("a", "once")).await.unwrap();
    assert_eq!(result_of(&mut waiting).await.state, State::Failure);
    backend.store(&anybody(), success("a", json!(1))).await.unwrap();
    backend.store(&anybody(), failure("a", "late")).await.unwrap();
    backend.progress(&anybody(), ResultMeta::started("a", 1, "w@h")).await;
    assert_eq!(backend.get("a").await.unwrap().unwrap().result, 1);
    let ttl: i64 = keys.ttl("celery-task-meta-a").await.unwrap();
    assert!((86_000..=86_400).contains(&ttl), "{ttl}");
    // Written by other programs, with other white space or key order, or malformed.
    for (stored, kept) in [
        (r#"{"task_id":"b","result":{"status":"x"},"status":"SUCCESS"}"#, true),
        (r#"{"status":"SUCCESS"}"#, true),
        (r#"{"task_id": "b", "status": "STARTED", "result": {"status": "SUCCESS"}}"#, false),
        ("nonsense", false),
        ("[]", false),
    ] {
        keys.set::<_, _, ()>("celery-task-meta-b", stored).await.unwrap();
        backend.store(&anybody(), success("b", json!(2))).await.unwrap();
        let now: String = keys.get("celery-task-meta-b").await.unwrap();
        assert_eq!(now == stored, kept, "{stored}");
    }
    // Not wanted.
    let ignoring = TaskIdentity { ignore_result: Some(true), ..anybody() };
    backend.store(&ignoring, success("c", json!(3))).await.unwrap();
    assert!(!keys.exists::<_, bool>("celery-task-meta-c").await.unwrap());
    // A result stored before the wait is found; without a waiting caller no announcement is received.
    assert_eq!(result_of(&mut backend.expect("a").await.unwrap()).await.result, 1);
    drop(waiting);
    let unheard = async {
        loop {
            let channels: Vec<String> = redis::cmd("PUBSUB").arg("CHANNELS").query_async(&mut keys).await.unwrap();
            if channels.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, unheard).await.expect("still subscribed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_have_a_prefix_and_a_life_of_their_own() {
    let server = server().await;
    let mut keys = keys(&server).await;
    let backend = backend(&format!("{}?global_keyprefix=fleet&result_expires=0", server.url(0)));
    backend.store(&anybody(), success("a", json!(1))).await.unwrap();
    assert_eq!(keys.ttl::<_, i64>("fleet_celery-task-meta-a").await.unwrap(), -1);
    backend.save_group("g", &["a".into(), "b".into()]).await.unwrap();
    let group: String = keys.get("fleet_celery-taskset-meta-g").await.unwrap();
    assert_eq!(group, r#"{"result": [["g", null], [[["a", null], null], [["b", null], null]]]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_hears_the_result_whatever_the_connection_went_through() {
    let server = server().await;
    let (client, worker) = (backend(&server.url(0)), backend(&server.url(0)));
    let mut keys = keys(&server).await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        waiting.push(client.expect(&number.to_string()).await.unwrap());
    }
    for (number, expectation) in waiting.iter_mut().enumerate() {
        if number % 5 == 0 {
            // A result announced while no connection listens is found when the listener is back.
            cut(&mut keys).await;
        }
        worker.store(&anybody(), success(&number.to_string(), json!(number))).await.unwrap();
        assert_eq!(result_of(expectation).await.result, number);
    }
}

fn member(id: &str, index: i64) -> TaskRequest {
    let mut task = TaskRequest::builder("t", id).group("g", index).build();
    task.embed.chord = Some(Signature::new("body", vec![]).with_option("task_id", "body-id"));
    task
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chord_is_ready_once_in_order_whatever_came_twice() {
    let server = server().await;
    let workers = [backend(&server.url(0)), backend(&server.url(0))];
    workers[0].start_chord("g", 3).await.unwrap();
    let (late, early) = (success("b", json!("late")), success("a", json!("early")));
    assert_eq!(workers[0].chord_part(&member("b", 2), &late).await.unwrap(), None);
    assert_eq!(workers[1].chord_part(&member("b", 2), &success("b", json!("again"))).await.unwrap(), None);
    assert_eq!(workers[1].chord_part(&member("a", 0), &early).await.unwrap(), None);
    let last = success("c", json!(null));
    let ready = workers[0].chord_part(&member("c", 1), &last).await.unwrap().unwrap();
    assert_eq!(ready.outcome, Ok(vec![json!("early"), json!(null), json!("late")]));
    assert_eq!((ready.group.as_str(), ready.body.task.as_str()), ("g", "body"));
    // A second run of a member, meanwhile, on another worker: it waits for the outcome, and gets nothing.
    let other = workers[1].clone();
    let second = tokio::spawn(async move { other.chord_part(&member("c", 1), &success("c", json!(1))).await });
    assert!(
        tokio::time::timeout(A_WHILE, async {
            while !second.is_finished() {
                tokio::task::yield_now().await
            }
        })
        .await
        .is_err()
    );
    workers[0].chord_done("g").await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, second).await.unwrap().unwrap().unwrap(), None);
    assert_eq!(workers[1].chord_part(&member("c", 1), &last).await.unwrap(), None);
    let mut keys = keys(&server).await;
    let left: Vec<String> = keys.keys("*").await.unwrap();
    assert_eq!(left, ["celery-taskset-meta-g.c"]);
    assert_eq!(keys.get::<_, String>("celery-taskset-meta-g.c").await.unwrap(), "done");
}

/// Python's client stores the shape of a header with groups in it, and the body gets the results in that shape.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_of_a_chord_with_groups_in_it_gets_groups() {
    let server = server().await;
    let worker = backend(&server.url(0));
    let mut keys = keys(&server).await;
    let shape = r#"{"result": [["g", null], [[["inner", null], [[["c", ["b", null]], null], [["d", null], null]]], [["e", null], null]]]}"#;
    for (shape, expected) in [
        (shape, json!([["c", "d"], "e"])),
        (&shape.replace("\"d\"", "\"another\""), json!(["c", "d", "e"])),
        ("no json", json!(["c", "d", "e"])),
    ] {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut keys).await.unwrap();
        keys.set::<_, _, ()>("celery-taskset-meta-g", shape).await.unwrap();
        worker.start_chord("g", 3).await.unwrap();
        for (id, index) in [("e", 1), ("d", 1)] {
            assert_eq!(worker.chord_part(&member(id, index), &success(id, json!(id))).await.unwrap(), None);
        }
        let ready = worker.chord_part(&member("c", 0), &success("c", json!("c"))).await.unwrap().unwrap();
        assert_eq!(json!(ready.outcome.unwrap()), expected);
    }
}

/// With `result_chord_ordered` false the members are a list, in the order they ended in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chord_may_be_kept_in_the_order_its_members_end_in() {
    let server = server().await;
    let ordered = backend(&server.url(0));
    let unordered = backend(&format!("{}?result_chord_ordered=false", server.url(0)));
    let mut keys = keys(&server).await;
    for (first, by_python, kept) in [(&unordered, false, "list"), (&ordered, true, "list"), (&ordered, false, "zset")] {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut keys).await.unwrap();
        first.start_chord("g", 3).await.unwrap();
        if by_python {
            let member = r#"[1, "c", "SUCCESS", "c"]"#;
            keys.rpush::<_, _, ()>("celery-taskset-meta-g.j", member).await.unwrap();
            keys.sadd::<_, _, ()>("celery-taskset-meta-g.d", "c:2").await.unwrap();
        } else {
            assert_eq!(first.chord_part(&member("c", 2), &success("c", json!("c"))).await.unwrap(), None);
        }
        let kind: String = redis::cmd("TYPE").arg("celery-taskset-meta-g.j").query_async(&mut keys).await.unwrap();
        assert_eq!(kind, kept);
        // The first member decides, so that different settings of two workers lose nothing.
        assert_eq!(ordered.chord_part(&member("a", 0), &success("a", json!("a"))).await.unwrap(), None);
        let ready = unordered.chord_part(&member("b", 1), &success("b", json!("b"))).await.unwrap().unwrap();
        let order = if kept == "list" { ["c", "a", "b"] } else { ["a", "b", "c"] };
        assert_eq!(ready.outcome, Ok(order.map(|result| json!(result)).to_vec()));
        unordered.chord_done("g").await.unwrap();
        assert_eq!(first.chord_part(&member("b", 1), &success("b", json!("b"))).await.unwrap(), None);
    }
}

/// Celery up to 5.6 counts, then publishes: a worker that dies in between loses the body. Here the claim expires, and the worker
/// that runs a member again publishes the body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chord_whose_publisher_died_is_taken_over() {
    let server = server().await;
    let mut keys = keys(&server).await;
    let (dying, living) = (backend(&server.url(0)), backend(&server.url(0)));
    living.start_chord("g", 1).await.unwrap();
    let result = success("a", json!(7));
    assert!(dying.chord_part(&member("a", 0), &result).await.unwrap().is_some());
    let again = {
        let result = result.clone();
        tokio::spawn(async move { living.chord_part(&member("a", 0), &result).await })
    };
    drop(dying);
    // Its claim is no longer renewed. Time passes.
    let ttl: i64 = keys.ttl("celery-taskset-meta-g.c").await.unwrap();
    assert!(ttl <= 20, "{ttl}");
    keys.del::<_, ()>("celery-taskset-meta-g.c").await.unwrap();
    let ready = tokio::time::timeout(SOON, again).await.unwrap().unwrap().unwrap().expect("nobody publishes the body");
    assert_eq!(ready.outcome, Ok(vec![json!(7)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_concurrent_finishers_publishes_a_chord() {
    let server = server().await;
    let (published, mut parts) = (Arc::new(AtomicUsize::new(0)), tokio::task::JoinSet::new());
    let first = backend(&server.url(0));
    first.start_chord("g", 8).await.unwrap();
    for number in 0..24 {
        let (published, url) = (published.clone(), server.url(0));
        parts.spawn(async move {
            let worker = backend(&url);
            let (id, index) = ((number % 8).to_string(), number % 8);
            if let Some(ready) = worker.chord_part(&member(&id, index), &success(&id, json!(index))).await.unwrap() {
                assert_eq!(ready.outcome, Ok((0..8).map(|index| json!(index)).collect()));
                published.fetch_add(1, SeqCst);
                worker.chord_done("g").await.unwrap();
            }
        });
    }
    while let Some(part) = parts.join_next().await {
        part.unwrap();
    }
    assert_eq!(published.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_failed_or_cannot_be_read_makes_the_chord_an_error() {
    let server = server().await;
    let mut keys = keys(&server).await;
    let worker = backend(&server.url(0));
    worker.start_chord("g", 1).await.unwrap();
    let ready = worker.chord_part(&member("a", 0), &failure("a", "x")).await.unwrap().unwrap();
    let error = ready.outcome.unwrap_err();
    assert_eq!((error.exc_module.as_deref(), error.exc_type.as_str()), (Some("celery.exceptions"), "ChordError"));
    assert_eq!(error.exc_message, vec![json!("Dependency a raised ValueError('x')")]);
    worker.chord_done("g").await.unwrap();
    worker.start_chord("g", 2).await.unwrap();
    keys.zadd::<_, _, _, ()>("celery-taskset-meta-g.j", "nonsense", 1).await.unwrap();
    let ready = worker.chord_part(&member("b", 0), &success("b", json!(1))).await.unwrap().unwrap();
    assert_eq!(ready.outcome.unwrap_err().exc_type, "ChordError");
}

/// The work is done and its result cannot be stored. Celery gives up after some tries, and the work is done a second time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_waits_for_a_backend_that_is_away() {
    let (broker_server, mut results) = (server().await, server().await);
    let broker: SharedBroker = connect(&broker_server.url(0), quick()).await.unwrap();
    let backend: SharedBackend = connect_backend(&results.url(0), broker.clone(), quick()).await.unwrap();
    let (runs, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (count, done) = (runs.clone(), ended.clone());
    let worker = Worker::builder(broker.clone())
        .queue("w")
        .backend(backend.clone())
        .task("t", move |_, _| {
            let (count, done) = (count.clone(), done.clone());
            async move {
                done.notified().await;
                count.fetch_add(1, SeqCst);
                Ok(json!("kept"))
            }
        })
        .build()
        .unwrap();
    let (counters, shutdown) = (worker.counters(), CancellationToken::new());
    broker.declare_task_queue(&"w".into()).await.unwrap();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    let client = Client::with_backend(broker.clone(), backend);
    let mut pending = client.send("w", "t", vec![], Map::new(), Default::default()).await.unwrap();
    let started = async {
        while counters.snapshot().in_flight == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, started).await.unwrap();
    results = blocking(move || {
        results.kill();
        results
    })
    .await;
    ended.notify_one();
    let finished = async {
        while runs.load(SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, finished).await.unwrap();
    assert!(tokio::time::timeout(A_WHILE, pending.get(SOON)).await.is_err());
    let results = blocking(move || {
        results.start_again();
        results
    })
    .await;
    assert_eq!(pending.get(SOON).await.unwrap(), "kept");
    shutdown.cancel();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert_eq!(runs.load(SeqCst), 1);
    let mut queue = keys(&broker_server).await;
    assert_eq!(queue.hlen::<_, usize>("unacked").await.unwrap(), 0);
    drop(results);
}
