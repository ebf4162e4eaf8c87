//! The bridge to the in-process broker of another process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    dead_code,
    reason = "tests"
)]

use std::{os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use celery_conformance as suite;
use celery_runtime::{
    broker::{
        Broadcast, Broker, BrokerError, ConnectError, ConnectOptions, Publish, PublishError, Subscription, connect,
        memory::MemoryBroker,
        socket::{ServeError, SocketServer, serve_socket},
    },
    client::{CallError, Client},
    worker::Worker,
};
use serde_json::json;
use suite::{SOON, next, no_kwargs, task, to};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, task::JoinHandle};
use tokio_util::sync::CancellationToken;

struct Served {
    server: MemoryBroker,
    path: PathBuf,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    _dir: TempDir,
}

impl Served {
    async fn connect(&self) -> Arc<dyn Broker> {
        let url = format!("memory+unix://{}", self.path.display());
        connect(&url, ConnectOptions { operation_timeout: SOON, ..ConnectOptions::default() }).await.unwrap()
    }
}

async fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.sock");
    let (server, shutdown) = (MemoryBroker::new(), CancellationToken::new());
    let socket = SocketServer::bind(&path).await.unwrap();
    let serving = tokio::spawn(socket.serve(server.clone(), shutdown.clone()));
    Served { server, path, shutdown, serving, _dir: dir }
}

#[tokio::test]
async fn a_second_process_can_call_the_fleet() {
    let served = served().await;
    let worker = Worker::builder(Arc::new(served.server.connect()))
        .queue("w")
        .task("echo", |context, arguments| async move {
            context.update_state("RUNNING", json!(1)).await;
            Ok(json!([
                arguments.kwargs,
                context.exchange,
                context.headers.get("repository").and_then(|value| value.as_str())
            ]))
        })
        .build()
        .unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    suite::eventually("it consumes", || served.server.queue_len("w").is_some()).await;
    let client = Client::new(served.connect().await).await.unwrap();
    let mut options = celery_runtime::client::SendOptions { exchange: Some("w".into()), ..Default::default() };
    options.headers.insert("repository".into(), "r1".into());
    let mut arguments = no_kwargs();
    arguments.insert("x".into(), json!([1, null, "ü"]));
    let result = client.call_with("w", "echo", arguments, options, SOON).await.unwrap();
    assert_eq!(result, json!([{"x": [1, null, "ü"]}, "w", "r1"]));
    let error = client.call("nobody", "echo", no_kwargs(), SOON).await.unwrap_err();
    assert!(matches!(error, CallError::Publish(PublishError::Unroutable { .. })), "{error}");
    // The reply queue is deleted with its client.
    let reply_queue = client.reply_queue().to_owned();
    assert!(served.server.queue_len(&reply_queue).is_some());
    drop(client);
    suite::eventually("the reply queue is gone", || served.server.queue_len(&reply_queue).is_none()).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_message_crosses_whole() {
    let served = served().await;
    let inside = served.server.connect();
    let mut consumer = inside.consume(&"q".into(), 1).await.unwrap();
    let outside = served.connect().await;
    let mut message = task("t", "1", vec![json!(1)]);
    message.body = (0..=255).cycle().take(300_000).collect();
    outside.publish(celery_runtime::broker::Publish::task("q", message.clone())).await.unwrap();
    assert_eq!(next(&mut consumer).await.message, message);
    let mut replies = outside.consume_replies("r").await.unwrap();
    inside.publish(celery_runtime::broker::Publish::reply("r", message.clone())).await.unwrap();
    assert_eq!(next(&mut replies).await.message, message);
    replies.cancel().await;
    assert!(replies.next().await.is_none());
    suite::eventually("the reply queue is gone", || served.server.queue_len("r").is_none()).await;
}

#[tokio::test]
async fn task_queues_belong_to_the_process_that_serves() {
    let served = served().await;
    let outside = served.connect().await;
    assert!(matches!(outside.consume(&"q".into(), 1).await, Err(BrokerError::Unsupported(_))));
    assert!(matches!(outside.declare_task_queue(&"q".into()).await, Err(BrokerError::Unsupported(_))));
}

#[tokio::test]
async fn only_the_owner_may_open_the_socket() {
    let served = served().await;
    assert_eq!(std::fs::metadata(&served.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_served_path_is_not_taken_over() {
    let served = served().await;
    assert!(matches!(SocketServer::bind(&served.path).await, Err(ServeError::InUse { .. })));
    // The server continues.
    served.connect().await.declare_reply_queue("r").await.unwrap();
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_anything_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broker.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let error = connect(&format!("memory+unix://{}", path.display()), ConnectOptions::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Socket { .. }));
    drop(SocketServer::bind(&path).await.unwrap());

    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(SocketServer::bind(&file).await, Err(ServeError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let missing = dir.path().join("missing/broker.sock");
    assert!(matches!(
        serve_socket(&missing, MemoryBroker::new(), CancellationToken::new()).await,
        Err(ServeError::Io { .. })
    ));
}

#[tokio::test]
async fn the_end_of_the_server_is_noticed() {
    let served = served().await;
    let outside = served.connect().await;
    let client = Client::new(outside.clone()).await.unwrap();
    served.server.connect().declare_task_queue(&"w".into()).await.unwrap();
    let mut pending = client.send("w", "t", vec![], no_kwargs(), Default::default()).await.unwrap();
    let mut state = outside.connection_state();
    assert!(state.borrow_and_update().connected);
    served.shutdown.cancel();
    tokio::time::timeout(SOON, served.serving).await.unwrap().unwrap();
    assert_eq!(pending.get(SOON).await, Err(CallError::Closed));
    assert!(!state.wait_for(|state| !state.connected).await.unwrap().connected);
    assert!(matches!(outside.publish(to("w", "1")).await, Err(PublishError::Unavailable { .. })));
    assert!(!served.path.exists());
}

#[tokio::test]
async fn nonsense_on_the_socket_ends_that_connection_only() {
    let served = served().await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\0\0\x02{}", b"\xff\xff\xff\xff", b"\0\0\0\x09"] {
        let mut stream = tokio::net::UnixStream::connect(&served.path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
        // A reset is an end as well.
        let _ = tokio::time::timeout(SOON, ended).await.unwrap();
        assert!(rest.is_empty());
    }
    served.connect().await.declare_reply_queue("r").await.unwrap();
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_connection_usable() {
    let served = served().await;
    served.server.connect().declare_task_queue(&"q".into()).await.unwrap();
    let outside = served.connect().await;
    for id in 0..50_u32 {
        let publish = outside.publish(to("q", &id.to_string()));
        let _ = tokio::time::timeout(Duration::from_micros(u64::from(id) * 5), publish).await;
    }
    outside.publish(to("q", "last")).await.unwrap();
    assert!(served.server.queue_len("q").unwrap() >= 1);
}

#[tokio::test]
async fn another_process_can_ask_every_worker_and_hear_events() {
    let served = served().await;
    let host: Arc<dyn Broker> = Arc::new(served.server.connect());
    let mut requests = host.subscribe(&Subscription::ControlRequests { node: "w@h".into() }).await.unwrap();
    let client = served.connect().await;
    let say = |to: Broadcast, key: &str| Publish {
        exchange: to.exchange().into(),
        routing_key: key.into(),
        ..Publish::reply("", task("t", "1", vec![]))
    };
    // More often than the number of queues that one connection may have: each is deleted with its consumer.
    for _ in 0..40 {
        let mut replies = client.subscribe(&Subscription::ControlReplies { client: "c".into() }).await.unwrap();
        client.declare_broadcast(Broadcast::ControlRequests).await.unwrap();
        client.publish(say(Broadcast::ControlRequests, "")).await.unwrap();
        next(&mut requests).await;
        host.publish(say(Broadcast::ControlReplies, "c")).await.unwrap();
        next(&mut replies).await;
        replies.cancel().await;
    }
    let mut events = client.subscribe(&Subscription::Events { id: "e".into(), binding: "#".into() }).await.unwrap();
    host.publish(say(Broadcast::Events, "worker.online")).await.unwrap();
    assert_eq!(next(&mut events).await.routing_key, "worker.online");
    let refused = client.subscribe(&Subscription::ControlRequests { node: "x@h".into() }).await;
    assert!(matches!(refused, Err(BrokerError::Unsupported(_))));
}
