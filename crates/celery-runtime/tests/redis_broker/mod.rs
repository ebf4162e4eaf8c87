//! Behaviour that only the Redis broker has.

use std::time::Duration;

use celery_protocol::{Limits, Message, redis::Envelope};
use celery_runtime::{
    broker::{AckError, ConnectOptions, Consumer, Guarantee, Publish, PublishError, SharedBroker, TlsOptions, connect},
    client::{Client, SendOptions},
    worker::Worker,
};
use futures_util::FutureExt as _;
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    Redis, connected, quick, redis,
    suite::{self, A_WHILE, Fixture, SOON, assert_empty, id_of, next, no_kwargs, task, to},
};

/// Waits until a condition in Redis holds.
async fn until<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn held(keys: &mut MultiplexedConnection) -> usize {
    let mut both = ::redis::pipe();
    both.atomic().zcard("unacked_index").hlen("unacked");
    let (index, hash): (usize, usize) = both.query_async(keys).await.unwrap();
    assert!(index.abs_diff(hash) <= 1, "{index} {hash}");
    hash
}

/// A URL with options.
fn with(server: &Redis, options: &str) -> String {
    format!("{}?{options}", server.url)
}

/// Takes a message by the worker's script, as a worker that is killed before its next step.
async fn taken_and_lost(server: &Redis, tag: &str) {
    let mut keys = server.keys().await;
    let take = ::redis::Script::new(celery_protocol::redis::scripts::TAKE);
    let mut script = take.prepare_invoke();
    for key in ["q", "unacked_index", "unacked"] {
        script.key(key);
    }
    script.arg(1).arg(tag).arg(", \"\", \"q\"]").arg(1000).arg(100_000);
    let taken: Vec<(String, usize, Vec<u8>)> = script.invoke_async(&mut keys).await.unwrap();
    assert_eq!(taken.len(), 1);
}

/// kombu pops a message and then records it. A kill in between loses it. Here one step does both, and the message returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_after_taking_loses_nothing() {
    suite::logs();
    let server = redis().await;
    let broker = server.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    taken_and_lost(&server, "rust-dead-").await;
    let mut keys = server.keys().await;
    assert_eq!(held(&mut keys).await, 1);
    assert_eq!(keys.llen::<_, usize>("q").await.unwrap(), 0);
    // It was not renewed for longer than its lease.
    keys.zadd::<_, _, _, ()>("unacked_index", "rust-dead-1", 1).await.unwrap();
    let mut consumer = broker.consume(&"q".into(), 10).await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!((id_of(&again), again.redelivered), ("1".into(), true));
    again.ack().await.unwrap();
    assert_eq!(held(&mut keys).await, 0);
}

/// The consumer stays as long as its last task runs. Messages not begun do not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_and_not_handed_out_goes_back_when_the_consumer_is_cancelled() {
    suite::logs();
    let server = redis().await;
    let broker = server.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    for id in ["1", "2", "3"] {
        broker.publish(to("q", id)).await.unwrap();
    }
    let mut cancelled = broker.consume(&"q".into(), 10).await.unwrap();
    let one = next(&mut cancelled).await;
    let mut keys = server.keys().await;
    until("all are taken", || async { held(&mut keys.clone()).await == 3 }).await;
    cancelled.cancel().await;
    let mut other = broker.consume(&"q".into(), 10).await.unwrap();
    let mut rest = [id_of(&next(&mut other).await), id_of(&next(&mut other).await)];
    rest.sort();
    assert_eq!(rest, ["2", "3"]);
    one.ack().await.unwrap();
    until("only what the other took is held", || async { held(&mut keys.clone()).await == 2 }).await;
    assert_eq!(keys.llen::<_, usize>("q").await.unwrap(), 0);
}

/// An answer is lost with its connection: the messages it took are requeued immediately.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_leaves_nothing_taken() {
    suite::logs();
    let server = redis().await;
    let broker = server.connect().await;
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    let sender = server.connect().await;
    let sending = tokio::spawn(async move {
        for id in 0..200 {
            sender.publish(to("q", &id.to_string())).await.unwrap();
        }
    });
    let mut seen = std::collections::BTreeSet::new();
    let mut times = 0;
    while seen.len() < 200 {
        let delivery = next(&mut consumer).await;
        seen.insert(id_of(&delivery).parse::<u32>().unwrap());
        delivery.ack().await.unwrap();
        times += 1;
        if times % 20 == 0 {
            server.cut().await;
        }
    }
    sending.await.unwrap();
    drop(consumer);
    assert_empty(&broker, "q").await;
}

/// From a full queue the consumer takes with several steps in parallel. Together they take no more than the prefetch, and the
/// messages of lost answers are requeued immediately.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_answers_lost_at_once_leave_nothing_taken() {
    const MESSAGES: usize = 2000;
    const PREFETCH: u16 = 500;
    suite::logs();
    let server = redis().await;
    let broker = server.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    let publishing = (0..MESSAGES).map(|id| broker.publish(to("q", &id.to_string())));
    futures_util::future::try_join_all(publishing).await.unwrap();
    let mut consumer = broker.consume(&"q".into(), PREFETCH).await.unwrap();
    let keys = server.keys().await;
    until("as many are held as may be", || async { held(&mut keys.clone()).await == usize::from(PREFETCH) }).await;
    let mut seen = std::collections::BTreeSet::new();
    let mut times = 0;
    while seen.len() < MESSAGES {
        let mut deliveries = Vec::new();
        for _ in 0..50.min(MESSAGES - seen.len()) {
            deliveries.push(next(&mut consumer).await);
        }
        for delivery in &deliveries {
            seen.insert(id_of(delivery).parse::<usize>().unwrap());
        }
        // A second acknowledgement reports that the tag was no longer ours.
        futures_util::future::join_all(deliveries.iter().map(|delivery| delivery.ack())).await;
        assert!(held(&mut server.keys().await).await <= usize::from(PREFETCH));
        times += 1;
        if times % 5 == 0 {
            server.cut().await;
        }
    }
    drop(consumer);
    let keys = server.keys().await;
    until("nothing is held", || async { held(&mut keys.clone()).await == 0 }).await;
    assert_empty(&broker, "q").await;
}

/// The visibility timeout takes long tasks away from Python workers. Our workers renew their tags.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_worked_on_is_not_delivered_again_however_long_it_takes() {
    suite::logs();
    let server = redis().await;
    let url = with(&server, "visibility_timeout=2");
    let (one, two) = (connected(&url).await, connected(&url).await);
    let mut first = one.consume(&"q".into(), 1).await.unwrap();
    one.declare_task_queue(&"q".into()).await.unwrap();
    one.publish(to("q", "1")).await.unwrap();
    let slow = next(&mut first).await;
    let mut second = two.consume(&"q".into(), 1).await.unwrap();
    let mut keys = server.keys().await;
    let score = async |keys: &mut MultiplexedConnection| {
        let all: Vec<(String, f64)> = keys.zrange_withscores("unacked_index", 0, -1).await.unwrap();
        all[0].1
    };
    let taken_at = score(&mut keys).await;
    let renewed = async {
        while score(&mut keys).await < taken_at + 5.0 {
            let got = tokio::time::timeout(A_WHILE, second.next()).await;
            assert!(got.is_err(), "delivered while it is worked on");
        }
    };
    tokio::time::timeout(SOON, renewed).await.unwrap();
    slow.ack().await.unwrap();
    drop((first, second));
    assert_empty(&one, "q").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_python_worker_held_comes_back_after_the_visibility_timeout_and_not_before() {
    suite::logs();
    let server = redis().await;
    let mut keys = server.keys().await;
    let now: (f64, f64) = ::redis::cmd("TIME").query_async(&mut keys).await.unwrap();
    for (tag, age, priority) in [("old", 4000.0, 9), ("young", 600.0, 0), ("older", 5000.0, 3)] {
        let mut message = task("t", tag, vec![]);
        message.properties.priority = Some(priority);
        let envelope = Envelope::new(message, "", "q", tag).encode();
        keys.hset::<_, _, _, ()>("unacked", tag, format!("[{envelope}, \"\", \"q\"]")).await.unwrap();
        keys.zadd::<_, _, _, ()>("unacked_index", tag, now.0 - age).await.unwrap();
    }
    // A Python worker holds the mutex: ours waits until it is gone.
    keys.set::<_, _, ()>("unacked_mutex", "another").await.unwrap();
    let broker = connected(&with(&server, "visibility_timeout=3600")).await;
    let mut consumer = broker.consume(&"other".into(), 1).await.unwrap();
    assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
    assert_eq!(held(&mut keys).await, 3);
    keys.del::<_, ()>("unacked_mutex").await.unwrap();
    // Every broker checks once at its start.
    let again = connected(&with(&server, "visibility_timeout=3600")).await;
    let mut consumer = again.consume(&"q".into(), 10).await.unwrap();
    for id in ["older", "old"] {
        let delivery = next(&mut consumer).await;
        assert_eq!((id_of(&delivery).as_str(), delivery.redelivered), (id, true));
        delivery.ack().await.unwrap();
    }
    assert_eq!(keys.hkeys::<_, Vec<String>>("unacked").await.unwrap(), ["young"]);
    until("the mutex is released", || {
        let mut keys = keys.clone();
        async move { !keys.exists::<_, bool>("unacked_mutex").await.unwrap() }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_urgent_is_taken_first_and_zero_is_the_most_urgent() {
    let server = redis().await;
    let broker = server.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    for (id, priority) in [("9", 9), ("4", 4), ("0", 0), ("3", 3), ("7", 7)] {
        let mut message = task("t", id, vec![]);
        message.properties.priority = Some(priority);
        broker.publish(Publish::task("q", message)).await.unwrap();
    }
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    for id in ["0", "4", "3", "7", "9"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(id_of(&delivery), id);
        delivery.ack().await.unwrap();
    }
    // A message that comes while it waits for the first list is found as well.
    let mut late = task("t", "late", vec![]);
    late.properties.priority = Some(6);
    broker.publish(Publish::task("q", late)).await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!((id_of(&delivery), delivery.message.properties.priority), ("late".into(), Some(6)));
    // A requeued message keeps its priority.
    drop(consumer);
    let mut keys = server.keys().await;
    until("it is back", || {
        let mut keys = keys.clone();
        async move { keys.llen::<_, usize>("q\u{6}\u{16}6").await.unwrap() == 1 }
    })
    .await;
    assert_eq!(held(&mut keys).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mandatory_task_needs_a_queue_that_somebody_knows() {
    let server = redis().await;
    let broker = server.connect().await;
    let mut keys = server.keys().await;
    assert!(matches!(broker.publish(to("q", "1")).await, Err(PublishError::Unroutable { .. })));
    // A Python worker whose queue is bound to an exchange of another name.
    keys.sadd::<_, _, ()>("_kombu.binding.tasks", "key\u{6}\u{16}\u{6}\u{16}q").await.unwrap();
    broker.publish(to("q", "2")).await.unwrap();
    // Through that exchange the queue is found by its key.
    broker.publish(Publish { exchange: "tasks".into(), ..to("key", "3") }).await.unwrap();
    assert_eq!(keys.llen::<_, usize>("q").await.unwrap(), 2);
    // A list that exists, from any sender.
    keys.del::<_, ()>("_kombu.binding.tasks").await.unwrap();
    broker.publish(to("q", "4")).await.unwrap();
    assert_eq!(keys.ttl::<_, i64>("q").await.unwrap(), -1);
    // A reply that no one reads is no error, and expires.
    let reply = Message::json(b"{}".to_vec(), 1);
    broker.publish(Publish::reply("gone", reply.clone())).await.unwrap();
    let ttl: i64 = keys.ttl("gone").await.unwrap();
    assert!(ttl > 80_000, "{ttl}");
    // A task queue never expires because of a message that is no task.
    broker.declare_task_queue(&"tasks".into()).await.unwrap();
    broker.publish(Publish::reply("tasks", reply)).await.unwrap();
    assert_eq!(keys.ttl::<_, i64>("tasks").await.unwrap(), -1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_behind_the_global_prefix_and_a_socket_will_do() {
    let server = redis().await;
    let socket = server.server.lock().unwrap().as_ref().unwrap().socket_url(0);
    let broker = connected(&format!("{socket}&global_keyprefix=fleet%3A")).await;
    let mut consumer = broker.consume(&"q".into(), 10).await.unwrap();
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    broker.publish(Publish::reply("r", Message::json(vec![], 1))).await.unwrap();
    let held = next(&mut consumer).await;
    let mut keys = server.keys().await;
    let all: Vec<String> = keys.keys("*").await.unwrap();
    assert!(all.len() >= 5 && all.iter().all(|key| key.starts_with("fleet:")), "{all:?}");
    held.ack().await.unwrap();
    assert_eq!(keys.hlen::<_, usize>("fleet:unacked").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_broker_has_given_back_what_it_held() {
    let server = redis().await;
    let broker = server.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    for id in 0..100 {
        broker.publish(to("q", &id.to_string())).await.unwrap();
    }
    let mut consumer = broker.consume(&"q".into(), 0).await.unwrap();
    let deliveries = [next(&mut consumer).await, next(&mut consumer).await];
    broker.close().await;
    let mut keys = server.keys().await;
    assert_eq!(held(&mut keys).await, 0);
    assert_eq!(keys.llen::<_, usize>("q").await.unwrap(), 100);
    for delivery in deliveries {
        assert!(matches!(delivery.ack().await, Err(AckError::Stale { .. })));
    }
    // In the order in which they were.
    let other = server.connect().await;
    let mut consumer = other.consume(&"q".into(), 1).await.unwrap();
    for id in 0..100 {
        let delivery = next(&mut consumer).await;
        assert_eq!(id_of(&delivery), id.to_string());
        delivery.ack().await.unwrap();
    }
}

async fn worker_on(
    broker: &SharedBroker,
) -> (std::sync::Arc<celery_runtime::worker::WorkerCounters>, CancellationToken) {
    let worker = Worker::builder(broker.clone()).queue("w").task("t", |_, _| async { Ok(json!(1)) }).build().unwrap();
    let (counters, shutdown) = (worker.counters(), CancellationToken::new());
    broker.declare_task_queue(&"w".into()).await.unwrap();
    tokio::spawn(worker.run(shutdown.clone()));
    (counters, shutdown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_content_is_refused_and_counted_and_stops_nobody() {
    suite::logs();
    let server = redis().await;
    let broker = server.connect().await;
    let (counters, shutdown) = worker_on(&broker).await;
    let mut keys = server.keys().await;
    let deep = format!("{{\"headers\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = "x".repeat(Envelope::max_bytes(&Limits::default()) + 1);
    let hostile: [&[u8]; 10] = [
        b"",
        b"garbage",
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b"{\"body\": NaN}",
        b"{\"body\": 5, \"headers\": 7, \"properties\": [], \"content-type\": {}}",
        b"{\"body\": \"gA==\", \"content-type\": \"application/x-python-serialize\", \"headers\": {\"task\": \"t\", \"id\": \"p\"}, \"properties\": {\"body_encoding\": \"base64\"}}",
        deep.as_bytes(),
        huge.as_bytes(),
    ];
    for (number, text) in hostile.into_iter().enumerate() {
        keys.lpush::<_, _, ()>("w", text).await.unwrap();
        let refused = u64::try_from(number + 1).unwrap();
        suite::eventually("it was refused", || counters.snapshot().rejected == refused).await;
    }
    // A key that is not a list: an error of a step does not end the consumer.
    keys.set::<_, _, ()>("w\u{6}\u{16}3", "not a list").await.unwrap();
    keys.del::<_, ()>("w\u{6}\u{16}3").await.unwrap();
    let client = Client::new(broker.clone()).await.unwrap();
    assert_eq!(client.call("w", "t", no_kwargs(), SOON).await.unwrap(), 1);
    assert_eq!(held(&mut keys).await, 0);
    shutdown.cancel();
}

/// A Redis that is not started yet, stopped, killed and frozen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_goes_and_comes_loses_nothing() {
    suite::logs();
    let server = redis().await;
    server.with_server(|redis| redis.stop()).await;

    // A worker and a client that start while Redis is down.
    let broker = connect(&server.url, quick()).await.unwrap();
    let (started, mut starts) = mpsc::unbounded_channel();
    let go = std::sync::Arc::new(Semaphore::new(0));
    let wait = go.clone();
    let worker = Worker::builder(broker.clone())
        .queue("w")
        .task("work", move |context, _| {
            let (started, wait) = (started.clone(), wait.clone());
            async move {
                started.send((context.task_id, context.redelivered)).unwrap();
                wait.acquire().await.unwrap().forget();
                Ok(json!("done"))
            }
        })
        .build()
        .unwrap();
    let (counters, shutdown) = (worker.counters(), CancellationToken::new());
    let mut state = worker.connection_state();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    tokio::time::timeout(SOON, state.wait_for(|state| state.last_error.is_some())).await.unwrap().unwrap();
    server.with_server(|redis| redis.start_again()).await;
    let client = Client::new(connect(&server.url, quick()).await.unwrap()).await.unwrap();
    broker.declare_task_queue(&"w".into()).await.unwrap();
    let options = |id: &str| SendOptions { task_id: Some(id.into()), ..SendOptions::default() };
    let mut pending = client.send("w", "work", vec![], no_kwargs(), options("one")).await.unwrap();
    let start = async |starts: &mut mpsc::UnboundedReceiver<(String, bool)>| {
        tokio::time::timeout(SOON, starts.recv()).await.expect("no start").unwrap()
    };
    assert_eq!(start(&mut starts).await, ("one".into(), false));

    // Killed in the middle of the task: the task continues, and is acknowledged after the restart. It does not run twice.
    server
        .with_server(|redis| {
            redis.kill();
            redis.start_again();
        })
        .await;
    go.add_permits(1);
    assert_eq!(pending.get(SOON).await.unwrap(), "done");
    suite::eventually("it ended", || counters.snapshot().in_flight == 0).await;
    let mut second = client.send("w", "work", vec![], no_kwargs(), options("two")).await.unwrap();
    assert_eq!(start(&mut starts).await, ("two".into(), false));
    go.add_permits(1);
    assert_eq!(second.get(SOON).await.unwrap(), "done");
    shutdown.cancel();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert_empty(&broker, "w").await;

    // Frozen: a publish is not confirmed and says so; the connection is given up.
    let options =
        ConnectOptions { heartbeat: Duration::from_secs(1), operation_timeout: Duration::from_secs(1), ..quick() };
    let impatient = connect(&server.url, options).await.unwrap();
    let mut state = impatient.connection_state();
    tokio::time::timeout(SOON, state.wait_for(|state| state.connected)).await.unwrap().unwrap();
    impatient.publish(to("w", "before")).await.unwrap();
    server.with_server(|redis| redis.freeze()).await;
    let error = impatient.publish(to("w", "frozen")).await.unwrap_err();
    assert!(matches!(error, PublishError::Timeout | PublishError::Unavailable { .. }), "{error}");
    tokio::time::timeout(SOON, state.wait_for(|state| !state.connected)).await.expect("not noticed").unwrap();
    server.with_server(|redis| redis.thaw()).await;
    let back = async { while impatient.publish(to("w", "after")).await.is_err() {} };
    tokio::time::timeout(SOON, back).await.unwrap();
}

/// A Redis without memory refuses messages; once it has memory again, all continues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_confirms_nothing() {
    let server = redis().await;
    let broker =
        connect(&server.url, ConnectOptions { operation_timeout: Duration::from_secs(1), ..quick() }).await.unwrap();
    broker.declare_task_queue(&"q".into()).await.unwrap();
    let mut keys = server.keys().await;
    let memory = async |keys: &mut MultiplexedConnection, bytes: u64| {
        ::redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).query_async::<()>(keys).await.unwrap();
    };
    memory(&mut keys, 1).await;
    let error = broker.publish(to("q", "1")).await.unwrap_err();
    assert!(matches!(error, PublishError::Timeout), "{error}");
    memory(&mut keys, 0).await;
    let quiet = Publish { guarantee: Guarantee::FireAndForget, ..to("q", "2") };
    broker.publish(quiet).await.unwrap();
    let mut consumer: Box<dyn Consumer> = broker.consume(&"q".into(), 1).await.unwrap();
    assert_eq!(id_of(&next(&mut consumer).await), "2");
}

/// After a manual failover the old server still answers, but takes no writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_become_a_replica_is_left_for_the_next() {
    suite::logs();
    let (first, second) = (redis().await, redis().await);
    let options = ConnectOptions { heartbeat: Duration::from_secs(1), ..quick() };
    let broker = connect(&format!("{};{}", first.url, second.url), options).await.unwrap();
    for server in [&first, &second] {
        server.connect().await.declare_task_queue(&"q".into()).await.unwrap();
    }
    broker.publish(to("q", "before")).await.unwrap();
    let port = second.url.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    let mut command = ::redis::cmd("REPLICAOF");
    command.arg("127.0.0.1").arg(port).query_async::<()>(&mut first.keys().await).await.unwrap();
    broker.publish(to("q", "after")).await.unwrap();
    let there = second.connect().await;
    let mut consumer = there.consume(&"q".into(), 1).await.unwrap();
    assert_eq!(id_of(&next(&mut consumer).await), "after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_shown_to_nobody() {
    let server = redis().await;
    let url = server.url.replacen("redis://:", "redis://:wrong", 1);
    let password = server.url.trim_start_matches("redis://:").split('@').next().unwrap().to_owned();
    let broker = connect(&url, quick()).await.unwrap();
    let mut state = broker.connection_state();
    let refused =
        tokio::time::timeout(SOON, state.wait_for(|state| state.last_error.is_some())).await.unwrap().unwrap().clone();
    assert!(!format!("{refused:?} {broker:?}").contains(&password));
    assert!(refused.last_error.unwrap().to_lowercase().contains("auth"), "no reason");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_both_sides_know_whom_they_talk_to() {
    suite::logs();
    let server = crate::blocking(testkit::servers::PrivateRedis::start_with_tls).await;
    let (authority, identity) = (server.authority(), server.client_identity());
    let tls = |authorities: Option<&[u8]>, identity: Option<&[u8]>| ConnectOptions {
        tls: TlsOptions {
            authorities: authorities.map(<[u8]>::to_vec),
            identity: identity.map(<[u8]>::to_vec),
            ..TlsOptions::default()
        },
        ..quick()
    };
    let broker = connect(&server.tls_url(0), tls(Some(&authority), Some(&identity))).await.unwrap();
    let mut state = broker.connection_state();
    tokio::time::timeout(SOON, state.wait_for(|state| state.connected)).await.expect("no connection").unwrap();
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
    // No client certificate, an unknown authority, and a name that the certificate lacks.
    let elsewhere = server.tls_url(0).replace("127.0.0.1", "127.0.0.2");
    for (url, options) in [
        (server.tls_url(0), tls(Some(&authority), None)),
        (server.tls_url(0), tls(Some(&identity), Some(&identity))),
        (elsewhere, tls(Some(&authority), Some(&identity))),
    ] {
        let shown = format!("{options:?}");
        assert!(!shown.contains("PRIVATE") && !shown.contains("45, 45"), "{shown}");
        let refused = connect(&url, options).await.unwrap();
        let mut state = refused.connection_state();
        let told = tokio::time::timeout(SOON, state.wait_for(|state| state.last_error.is_some())).await;
        assert!(!told.expect("no error").unwrap().connected);
    }
}

/// Concurrent acknowledgements share steps, and each gets the outcome of its own message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_at_once_are_answered_each_for_itself() {
    const COUNT: usize = 300;
    suite::logs();
    let server = redis().await;
    let broker = server.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    for id in 0..COUNT {
        broker.publish(to("q", &id.to_string())).await.unwrap();
    }
    let mut consumer = broker.consume(&"q".into(), 0).await.unwrap();
    let mut deliveries = Vec::new();
    while deliveries.len() < COUNT {
        deliveries.push(next(&mut consumer).await);
    }
    let mut keys = server.keys().await;
    // Another worker has requeued some of them, and done them.
    let held_now: Vec<(String, String)> = keys.hgetall("unacked").await.unwrap();
    let mut lost = Vec::new();
    for (tag, held) in held_now.iter().take(3) {
        keys.hdel::<_, _, ()>("unacked", tag).await.unwrap();
        lost.push(held.clone());
    }
    let outcomes = futures_util::future::join_all(deliveries.iter().map(|delivery| delivery.ack())).await;
    for (delivery, outcome) in deliveries.iter().zip(outcomes) {
        let id = format!("\"id\": \"{}\"", id_of(delivery));
        match lost.iter().any(|held| held.contains(&id)) {
            true => assert!(matches!(outcome, Err(AckError::Stale { .. })), "{id} {outcome:?}"),
            false => outcome.unwrap(),
        }
    }
    assert_eq!(held(&mut keys).await, 0);
}

/// A script that fails undoes nothing, so it must not take a message that it cannot record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_noted_stays_in_its_queue() {
    suite::logs();
    let server = redis().await;
    let broker = server.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    let mut keys = server.keys().await;
    keys.set::<_, _, ()>("unacked", "not a hash").await.unwrap();
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    until("it was tried to take it", || {
        let mut keys = keys.clone();
        async move {
            let called: String = ::redis::cmd("INFO").arg("commandstats").query_async(&mut keys).await.unwrap();
            called.contains("cmdstat_zadd:")
        }
    })
    .await;
    assert!(tokio::time::timeout(A_WHILE, consumer.next()).await.is_err());
    assert_eq!(keys.llen::<_, usize>("q").await.unwrap(), 1);
    assert!(!keys.exists::<_, bool>("unacked_index").await.unwrap());
    keys.del::<_, ()>("unacked").await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(id_of(&delivery), "1");
    delivery.ack().await.unwrap();
    assert_eq!(held(&mut keys).await, 0);
}

/// Messages that cannot be requeued are always the oldest. They must not hide the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_put_back_keeps_nothing_else_from_going_back() {
    const RUBBISH: usize = 30;
    suite::logs();
    let server = redis().await;
    let mut keys = server.keys().await;
    // Bindings that cannot be read.
    keys.set::<_, _, ()>("_kombu.binding.broken", "not a set").await.unwrap();
    let envelope = Envelope::new(task("t", "good", vec![]), "", "q", "good").encode();
    for number in 0..RUBBISH {
        let tag = format!("rubbish-{number}");
        let text = match number % 3 {
            0 => "garbage".to_owned(),
            1 => format!("[{envelope}, \"nowhere\", \"q\"]"),
            _ => format!("[{envelope}, \"broken\", \"q\"]"),
        };
        keys.hset::<_, _, _, ()>("unacked", &tag, text).await.unwrap();
        keys.zadd::<_, _, _, ()>("unacked_index", &tag, 1).await.unwrap();
    }
    // An index may name anything.
    keys.hset::<_, _, _, ()>("unacked", b"\xff\xfe", "garbage").await.unwrap();
    keys.zadd::<_, _, _, ()>("unacked_index", b"\xff\xfe", 1).await.unwrap();
    keys.hset::<_, _, _, ()>("unacked", "good", format!("[{envelope}, \"\", \"q\"]")).await.unwrap();
    keys.zadd::<_, _, _, ()>("unacked_index", "good", 2).await.unwrap();
    let broker = server.connect().await;
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!((id_of(&delivery), delivery.redelivered), ("good".into(), true));
    delivery.ack().await.unwrap();
    // The unusable entries are left for an administrator, and are checked again only after another timeout.
    assert_eq!(keys.hlen::<_, usize>("unacked").await.unwrap(), RUBBISH + 1);
    assert_eq!(keys.zcount::<_, _, _, usize>("unacked_index", 0, 10).await.unwrap(), 0);
}

/// The future of an acknowledgement may be dropped. Its place becomes free nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_nobody_waits_for_frees_its_place() {
    suite::logs();
    let server = redis().await;
    let broker = server.connect().await;
    broker.declare_task_queue(&"q".into()).await.unwrap();
    for id in ["1", "2", "3", "4"] {
        broker.publish(to("q", id)).await.unwrap();
    }
    let mut consumer = broker.consume(&"q".into(), 1).await.unwrap();
    for id in ["1", "2", "3"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(id_of(&delivery), id);
        // Requested, and dropped before the answer.
        let _ = delivery.ack().now_or_never();
    }
    let last = next(&mut consumer).await;
    assert_eq!(id_of(&last), "4");
    last.ack().await.unwrap();
    assert_eq!(held(&mut server.keys().await).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_consumer_ends_with_its_broker() {
    suite::logs();
    let server = redis().await;
    let broker = server.connect().await;
    let mut replies = broker.consume_replies("r").await.unwrap();
    broker.publish(Publish::reply("r", Message::json(b"{}".to_vec(), 1))).await.unwrap();
    next(&mut replies).await;
    broker.close().await;
    assert!(tokio::time::timeout(SOON, replies.next()).await.expect("it is waited for ever").is_none());
}
