//! RabbitMQ: the conformance suite, and faults that only a real broker has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use celery_conformance as suite;
use celery_runtime::{
    broker::{Broker, BrokerError, ConnectOptions, Guarantee, Publish, PublishError, TaskQueue, connect},
    client::Client,
    worker::Worker,
};
use serde_json::json;
use suite::{Fixture, SOON, assert_empty, id_of, next, no_kwargs, to};
use testkit::servers::{PrivateRabbitMq, RabbitMq, VHost};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

struct Amqp(Arc<VHost>);

fn quick() -> ConnectOptions {
    ConnectOptions {
        connection_name: "test".into(),
        operation_timeout: SOON,
        max_retry: Duration::from_millis(500),
        ..ConnectOptions::default()
    }
}

async fn connected(url: &str) -> Arc<dyn Broker> {
    let broker = connect(url, quick()).await.unwrap();
    let mut state = broker.connection_state();
    tokio::time::timeout(SOON, state.wait_for(|state| state.connected)).await.expect("no connection").unwrap();
    broker
}

/// Runs a blocking helper of the testkit.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[async_trait]
impl Fixture for Amqp {
    async fn connect(&self) -> Arc<dyn Broker> {
        connected(&self.0.amqp_url).await
    }

    async fn cut(&self) {
        let vhost = self.0.clone();
        blocking(move || vhost.close_connections()).await;
    }
}

async fn amqp() -> Amqp {
    Amqp(Arc::new(blocking(|| RabbitMq::shared().vhost()).await))
}

suite::conformance!(amqp);

#[tokio::test]
async fn queues_are_declared_as_celery_declares_them() {
    let Amqp(vhost) = amqp().await;
    let broker = connected(&vhost.amqp_url).await;
    broker.declare_task_queue(&"tasks".into()).await.unwrap();
    let _replies = Client::new(broker.clone()).await.unwrap();
    let reply_queue = _replies.reply_queue().to_owned();
    broker.declare_reply_queue(&reply_queue).await.unwrap();
    let look = vhost.clone();
    let (tasks, replies, bindings) = blocking(move || {
        let bindings = look.management("GET", &format!("/api/bindings/{}/e/tasks/q/tasks", look.name), None);
        (look.queue("tasks").unwrap(), look.queue(&reply_queue).unwrap(), bindings)
    })
    .await;
    for (queue, auto_delete, arguments) in
        [(tasks, false, json!({})), (replies, true, json!({"x-expires": 86_400_000}))]
    {
        assert_eq!(
            (&queue["durable"], &queue["exclusive"], &queue["auto_delete"]),
            (&json!(true), &json!(false), &json!(auto_delete))
        );
        assert_eq!(queue["arguments"], arguments);
    }
    assert_eq!(bindings[0]["routing_key"], "tasks");
}

#[tokio::test]
async fn a_queue_owned_by_others_is_used_as_it_is() {
    let Amqp(vhost) = amqp().await;
    let owner = vhost.clone();
    blocking(move || {
        let body = json!({"durable": true, "auto_delete": false, "arguments": {"x-queue-type": "quorum"}});
        owner.management("PUT", &format!("/api/queues/{}/ops", owner.name), Some(&body));
    })
    .await;
    let broker = connected(&vhost.amqp_url).await;
    let mut consumer = broker.consume(&"ops".into(), 5).await.unwrap();
    broker.publish(to("ops", "1")).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
    broker.declare_task_queue(&"ops".into()).await.unwrap();
}

/// The broker closes the channel of several messages; only the one that it refused fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_has_nothing_else_refused() {
    let Amqp(vhost) = amqp().await;
    let admin = connected(&vhost.amqp_url).await;
    admin.declare_task_queue(&TaskQueue::new("w").also_bound_to("admin")).await.unwrap();
    let user = vhost.clone();
    let url = blocking(move || user.user("^$", "^amq\\.default$", "^w$")).await;
    let broker = connected(&url).await;
    let confirmed = Guarantee::Confirmed { mandatory: false };
    for round in 0..10 {
        let (broker, confirmed) = (&broker, &confirmed);
        let publishing = (0..100).map(|number| async move {
            let forbidden = number % 25 == 5;
            let exchange = if forbidden { "admin" } else { "" };
            let id = format!("{round}-{number}");
            let publish = Publish { exchange: exchange.into(), guarantee: *confirmed, ..to("w", &id) };
            (forbidden, broker.publish(publish).await)
        });
        for (forbidden, outcome) in futures_util::future::join_all(publishing).await {
            match forbidden {
                true => assert!(matches!(outcome, Err(PublishError::Refused { .. })), "{outcome:?}"),
                false => outcome.unwrap(),
            }
        }
    }
}

/// Each refusal costs a channel, and a connection has about two thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_channels_are_used_up_is_renewed() {
    let Amqp(vhost) = amqp().await;
    let broker = connected(&vhost.amqp_url).await;
    let mut consumer = broker.consume(&"w".into(), 5).await.unwrap();
    let first = broker.connection_state().borrow().generation;
    let nowhere = || Publish { exchange: "nowhere".into(), ..to("w", "lost") };
    let refused = async {
        while broker.connection_state().borrow().generation == first {
            let error = broker.publish(nowhere()).await.unwrap_err();
            assert!(matches!(error, PublishError::Unroutable { .. }), "{error}");
        }
    };
    tokio::time::timeout(4 * SOON, refused).await.unwrap();
    broker.publish(to("w", "1")).await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(id_of(&delivery), "1");
    delivery.ack().await.unwrap();
}

/// Celery's `task_queue_max_priority`: nine is the most urgent, unlike on Redis.
#[tokio::test]
async fn a_queue_with_priorities_hands_out_the_most_urgent_first() {
    let Amqp(vhost) = amqp().await;
    let owner = vhost.clone();
    blocking(move || {
        let body = json!({"durable": true, "auto_delete": false, "arguments": {"x-max-priority": 10}});
        owner.management("PUT", &format!("/api/queues/{}/urgent", owner.name), Some(&body));
    })
    .await;
    let broker = connected(&vhost.amqp_url).await;
    for (id, priority) in [("none", None), ("3", Some(3)), ("9", Some(9)), ("0", Some(0)), ("6", Some(6))] {
        let mut publish = to("urgent", id);
        publish.message.properties.priority = priority;
        broker.publish(publish).await.unwrap();
    }
    let mut consumer = broker.consume(&"urgent".into(), 1).await.unwrap();
    for id in ["9", "6", "3", "none", "0"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(id_of(&delivery), id);
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_user_who_may_declare_nothing_still_works_on_what_is_there() {
    let Amqp(vhost) = amqp().await;
    let admin = connected(&vhost.amqp_url).await;
    let queue = TaskQueue::new("w").also_bound_to("admin");
    admin.declare_task_queue(&queue).await.unwrap();
    let user = vhost.clone();
    let url = blocking(move || user.user("^$", "^amq\\.default$", "^w$")).await;
    let worker = connected(&url).await;
    let mut consumer = worker.consume(&queue, 5).await.unwrap();
    for exchange in ["", "admin"] {
        admin.publish(Publish { exchange: exchange.into(), ..to("w", "1") }).await.unwrap();
        let got = next(&mut consumer).await;
        assert_eq!(got.exchange, exchange);
        got.ack().await.unwrap();
    }
    // A sender without permission for an exchange cannot claim it.
    let forged = Publish { exchange: "admin".into(), ..to("w", "2") };
    assert!(matches!(worker.publish(forged).await, Err(PublishError::Refused { .. })));
    worker.publish(to("w", "3")).await.unwrap();
    assert!(matches!(worker.declare_task_queue(&"other".into()).await, Err(BrokerError::Refused { .. })));
}

#[tokio::test]
async fn a_wrong_password_is_reported_without_the_password() {
    let Amqp(vhost) = amqp().await;
    let (head, tail) = vhost.amqp_url.split_once('@').unwrap();
    let url = format!("{}:hunter2hunter2@{tail}", head.rsplit_once(':').unwrap().0);
    let broker =
        connect(&url, ConnectOptions { operation_timeout: Duration::from_millis(500), ..quick() }).await.unwrap();
    let mut state = broker.connection_state();
    let state =
        tokio::time::timeout(SOON, state.wait_for(|state| state.last_error.is_some())).await.unwrap().unwrap().clone();
    assert!(!state.connected);
    let error = broker.publish(to("q", "1")).await.unwrap_err();
    let text = format!("{state:?} {error} {error:?} {broker:?}");
    assert!(text.contains("ACCESS_REFUSED") || text.contains("refused"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_consumer_survives_the_deletion_of_its_queue() {
    let Amqp(vhost) = amqp().await;
    let broker = connected(&vhost.amqp_url).await;
    let mut consumer = broker.consume(&"q".into(), 5).await.unwrap();
    broker.declare_task_queue(&"q".into()).await.unwrap();
    broker.publish(to("q", "1")).await.unwrap();
    let before = next(&mut consumer).await;
    let owner = vhost.clone();
    blocking(move || owner.management("DELETE", &format!("/api/queues/{}/q", owner.name), None)).await;
    // Declared again by the consumer itself.
    let published = async {
        while broker.publish(to("q", "2")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, published).await.unwrap();
    let after = next(&mut consumer).await;
    assert_eq!(id_of(&after), "2");
    after.ack().await.unwrap();
    assert!(before.ack().await.is_err());
}

/// A broker that is not started yet, stopped, killed and frozen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_and_comes_loses_nothing() {
    suite::logs();
    let (mut rabbit, vhost) = blocking(|| {
        let rabbit = PrivateRabbitMq::start();
        let vhost = rabbit.vhost();
        (rabbit, vhost)
    })
    .await;
    let url = vhost.amqp_url.clone();

    // A worker and a client that start while the broker is down.
    rabbit = blocking(move || {
        rabbit.stop();
        rabbit
    })
    .await;
    let broker = connect(&url, quick()).await.unwrap();
    let (started, mut starts) = mpsc::unbounded_channel();
    let (go, wait) = async_gate();
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
    let client = Client::new(connect(&url, quick()).await.unwrap()).await.unwrap();
    let down =
        tokio::time::timeout(SOON, state.wait_for(|state| state.last_error.is_some())).await.unwrap().unwrap().clone();
    assert!(!down.connected);
    let sending = {
        let client = client.clone();
        tokio::spawn(async move {
            loop {
                // The queue exists once the worker has connected.
                match client
                    .send(
                        "w",
                        "work",
                        vec![],
                        no_kwargs(),
                        celery_runtime::client::SendOptions { task_id: Some("one".into()), ..Default::default() },
                    )
                    .await
                {
                    Err(PublishError::Unroutable { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                    other => return other,
                }
            }
        })
    };
    rabbit = blocking(move || {
        rabbit.start_again();
        rabbit
    })
    .await;
    let _pending = tokio::time::timeout(SOON, sending).await.unwrap().unwrap().unwrap();
    assert_eq!(recv(&mut starts).await, ("one".into(), false));

    // Killed in the middle of the task: it is delivered again after the restart.
    let killed = broker.connection_state().borrow().generation;
    rabbit = blocking(move || {
        rabbit.kill();
        rabbit.start_again();
        rabbit
    })
    .await;
    // The first run continues; the second delivery waits for it and gets its result.
    suite::eventually("delivered again", || counters.snapshot().redelivered == 1).await;
    assert!(broker.connection_state().borrow().generation > killed);
    go.add_permits(1);
    suite::eventually("the run ended", || counters.snapshot().succeeded == 1).await;
    suite::eventually("nothing runs", || counters.snapshot().in_flight == 0).await;

    // The client has reconnected as well.
    go.add_permits(1);
    assert_eq!(client.call("w", "work", no_kwargs(), SOON).await.unwrap(), "done");
    assert!(!recv(&mut starts).await.1);

    shutdown.cancel();
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    assert_empty(&broker, "w").await;

    // Frozen: a publish is not confirmed and says so; the heartbeat ends the connection.
    let options =
        ConnectOptions { heartbeat: Duration::from_secs(1), operation_timeout: Duration::from_secs(1), ..quick() };
    let impatient = connect(&url, options).await.unwrap();
    impatient.publish(to("w", "before")).await.unwrap();
    rabbit.freeze();
    let error = impatient.publish(to("w", "frozen")).await.unwrap_err();
    assert!(matches!(error, PublishError::Timeout | PublishError::Unavailable { .. }), "{error}");
    let mut state = impatient.connection_state();
    tokio::time::timeout(SOON, state.wait_for(|state| !state.connected))
        .await
        .expect("the heartbeat did not notice")
        .unwrap();
    rabbit.thaw();
    let back = async { while impatient.publish(to("w", "after")).await.is_err() {} };
    tokio::time::timeout(SOON, back).await.unwrap();
    blocking(move || drop((vhost, rabbit))).await;
}

fn async_gate() -> (Arc<tokio::sync::Semaphore>, Arc<tokio::sync::Semaphore>) {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    (gate.clone(), gate)
}

async fn recv<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), receiver.recv()).await.expect("no start").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_nested_beyond_reason_are_refused_and_the_worker_lives() {
    let Amqp(vhost) = amqp().await;
    let broker = connected(&vhost.amqp_url).await;
    let worker = Worker::builder(broker.clone()).queue("w").task("t", |_, _| async { Ok(json!(1)) }).build().unwrap();
    let (counters, shutdown) = (worker.counters(), CancellationToken::new());
    broker.declare_task_queue(&"w".into()).await.unwrap();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    let hostile = vhost.clone();
    blocking(move || {
        let deep = std::thread::Builder::new().stack_size(512 << 20).spawn(move || {
            let mut headers = json!({"task": "t"});
            for _ in 0..3_000 {
                headers = json!({ "a": headers });
            }
            let body = json!({"properties": {"headers": headers}, "routing_key": "w", "payload": "[[], {}, {}]", "payload_encoding": "string"});
            let path = format!("/api/exchanges/{}/amq.default/publish", hostile.name);
            hostile.management("POST", &path, Some(&body));
        });
        deep.unwrap().join().unwrap();
    })
    .await;
    suite::eventually("it was refused", || counters.snapshot().rejected == 1).await;
    let client = Client::new(broker).await.unwrap();
    assert_eq!(client.call("w", "t", no_kwargs(), SOON).await.unwrap(), 1);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// A proxy between a broker and its clients. It cuts the first connection after so many bytes of the broker.
async fn cut_after(broker: String, bytes: usize) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut left = Some(bytes);
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = tokio::net::TcpStream::connect(&broker).await else { continue };
            tokio::spawn(between(client, server, left.take()));
        }
    });
    port
}

async fn between(client: tokio::net::TcpStream, server: tokio::net::TcpStream, left: Option<usize>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let asked = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut left = left.unwrap_or(usize::MAX);
    let mut buffer = [0; 512];
    while left > 0 {
        let room = buffer.len().min(left);
        let Ok(read @ 1..) = from_server.read(&mut buffer[..room]).await else { break };
        if to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
        left -= read;
    }
    // In both directions, so that the client notices it whether it reads or writes.
    asked.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_whose_connection_is_cut_at_any_moment_of_its_start_takes_up_again() {
    let Amqp(vhost) = amqp().await;
    let direct = connected(&vhost.amqp_url).await;
    let queue = TaskQueue::new("cut").also_bound_to("further");
    direct.declare_task_queue(&queue).await.unwrap();
    let (credentials, address) = vhost.amqp_url.strip_prefix("amqp://").unwrap().split_once('@').unwrap();
    let (address, path) = address.split_once('/').unwrap();
    // The broker sends about 700 bytes before it delivers, most of them its properties.
    for bytes in (400..1_000).step_by(12) {
        let port = cut_after(address.to_owned(), bytes).await;
        let broker = connect(&format!("amqp://{credentials}@127.0.0.1:{port}/{path}"), quick()).await.unwrap();
        let mut consumer = broker.consume(&queue, 1).await.unwrap();
        direct.publish(to("cut", &bytes.to_string())).await.unwrap();
        let delivery = tokio::time::timeout(SOON, consumer.next()).await;
        let delivery = delivery.unwrap_or_else(|_| panic!("cut after {bytes} bytes: nothing came")).unwrap();
        // A message that came just before the cut is delivered again.
        let settled = delivery.ack().await;
        drop(consumer);
        broker.close().await;
        if settled.is_err() {
            let mut again = direct.consume(&queue, 1).await.unwrap();
            next(&mut again).await.ack().await.unwrap();
        }
    }
}
