//! Real brokers, with unmodified Python on the other end: TLS, and one broker after another.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};

use celery_runtime::{
    Arguments,
    backend::connect as connect_backend,
    broker::{Broker, SharedBroker, connect},
    client::Client,
    worker::Worker,
};
use serde_json::{Map, Value, json};
use testkit::{
    certificates::Authority,
    servers::{PrivateRabbitMq, PrivateRedis, Process, Python},
};
use tokio_util::sync::CancellationToken;

use crate::{SOON, blocking, fails_with, quick};

async fn connected(url: &str) -> SharedBroker {
    let broker = connect(url, quick()).await.unwrap();
    let mut state = broker.connection_state();
    tokio::time::timeout(SOON, state.wait_for(|state| state.connected)).await.expect("no connection").unwrap();
    broker
}

/// A worker of ours on queue `ours`, with results in `backend`.
async fn ours(broker: &SharedBroker, backend: &str) -> CancellationToken {
    let backend = connect_backend(backend, broker.clone(), quick()).await.unwrap();
    let worker = Worker::builder(broker.clone()).name("ours@lab").queue("ours").backend(backend);
    let worker = worker.task("lab.add", |_, arguments: Arguments| async move {
        let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
        Ok(json!(x + y))
    });
    let shutdown = CancellationToken::new();
    broker.declare_task_queue(&"ours".into()).await.unwrap();
    tokio::spawn(worker.build().unwrap().run(shutdown.clone()));
    shutdown
}

/// The result of unmodified Python for `lab.add(2, 3)` on `queue`.
async fn python_asks(arguments: Vec<String>, queue: &str) -> Value {
    let mut all = arguments;
    all.extend(["--queue", queue, "lab.add", "--args", "[2, 3]"].map(str::to_owned));
    blocking(move || Python::run("celery_client.py", all, &[])).await.success().json()
}

async fn python_works(arguments: Vec<String>) -> Process {
    blocking(move || {
        let worker = Python::spawn("celery_worker.py", arguments, &[]);
        worker.wait_for_line("worker ready", SOON);
        worker
    })
    .await
}

fn kwargs() -> Map<String, Value> {
    [("x".to_owned(), json!(2)), ("y".to_owned(), json!(3))].into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_rabbitmq_with_tls_python_and_ours_work_for_each_other() {
    let authority = Authority::new();
    let me = authority.issue("me", &[]);
    let (server, authority) = blocking(move || (PrivateRabbitMq::start_with_tls(&authority), authority)).await;
    let (server, vhost) = blocking(move || {
        let vhost = server.vhost();
        (server, vhost)
    })
    .await;
    let plain = server.tls_url(&vhost);
    let path = |path: &PathBuf| path.display().to_string();
    let (ca, cert, key) = (path(&authority.ca()), path(&me.cert), path(&me.key));
    // It checks the clients' certificates.
    let nobody = connect(&format!("{plain}?ssl_ca_certs={ca}"), quick()).await.unwrap();
    fails_with(&nobody, "TLS: the server").await;
    nobody.close().await;
    let url = format!("{plain}?ssl_ca_certs={ca}&ssl_certfile={cert}&ssl_keyfile={key}");
    let broker = connected(&url).await;
    assert_eq!(broker.info().transport, "amqps");
    let shutdown = ours(&broker, "rpc://").await;
    let python = |queue: &str| {
        let arguments = ["--broker", &plain, "--tls", &ca, &cert, &key].map(str::to_owned).to_vec();
        (arguments, queue.to_owned())
    };
    let (arguments, queue) = python("ours");
    assert_eq!(python_asks(arguments, &queue).await["result"], 5);
    let (mut arguments, queue) = python("theirs");
    arguments.extend(["--queue".to_owned(), queue]);
    let worker = python_works(arguments).await;
    let client = Client::new(broker.clone()).await.unwrap();
    assert_eq!(client.call("theirs", "lab.add", kwargs(), SOON).await.unwrap(), 5);
    // A large message takes many records and frames.
    let large = "x".repeat(3_000_000);
    let echo = [("text".to_owned(), json!(large))].into_iter().collect();
    assert_eq!(client.call("theirs", "lab.echo", echo, SOON).await.unwrap()["kwargs"]["text"], large);
    shutdown.cancel();
    blocking(move || drop((worker, vhost, server))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis_with_tls_python_and_ours_work_for_each_other() {
    let server = blocking(PrivateRedis::start_with_tls).await;
    let url = |db: u8| {
        let file = |name: &str| server.file(name).display().to_string();
        let (ca, cert, key) = (file("ca.pem"), file("client.crt"), file("client.key"));
        let url = server.tls_url(db);
        format!("{url}?ssl_cert_reqs=required&ssl_ca_certs={ca}&ssl_certfile={cert}&ssl_keyfile={key}")
    };
    std::fs::set_permissions(server.file("client.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let broker = connected(&url(0)).await;
    let shutdown = ours(&broker, &url(1)).await;
    let python = || ["--broker", &url(0), "--backend", &url(1)].map(str::to_owned).to_vec();
    assert_eq!(python_asks(python(), "ours").await["result"], 5);
    let mut arguments = python();
    arguments.extend(["--queue", "theirs"].map(str::to_owned));
    let worker = python_works(arguments).await;
    let backend = connect_backend(&url(1), broker.clone(), quick()).await.unwrap();
    let client = Client::with_backend(broker.clone(), backend);
    assert_eq!(client.call("theirs", "lab.add", kwargs(), SOON).await.unwrap(), 5);
    shutdown.cancel();
    blocking(move || drop((worker, server))).await;
}

/// Both ends know two brokers. The first is killed, and both move to the second.
async fn on_to_the_second(urls: &str, backends: &str, kill: impl FnOnce() + Send + 'static) {
    let broker: Arc<dyn Broker> = connected(urls).await;
    let first = broker.info().port;
    let shutdown = ours(&broker, backends).await;
    let caller = connected(urls).await;
    assert_eq!(caller.info().port, first, "not the first one");
    let backend = connect_backend(backends, caller.clone(), quick()).await.unwrap();
    let client = Client::with_backend(caller.clone(), backend);
    assert_eq!(client.call("ours", "lab.add", kwargs(), SOON).await.unwrap(), 5);
    blocking(kill).await;
    for end in [&broker, &caller] {
        let mut state = end.connection_state();
        let moved = state.wait_for(|state| state.connected && state.generation > 1);
        tokio::time::timeout(SOON, moved).await.expect("nobody moved").unwrap();
        assert_ne!(end.info().port, first);
    }
    // The queue exists only after the worker has moved.
    broker.declare_task_queue(&"ours".into()).await.unwrap();
    assert_eq!(client.call("ours", "lab.add", kwargs(), SOON).await.unwrap(), 5);
    let arguments = ["--broker", urls, "--backend", backends.split(';').next_back().unwrap()];
    assert_eq!(python_asks(arguments.map(str::to_owned).to_vec(), "ours").await["result"], 5);
    for url in urls.split(';') {
        let (credentials, _) = url.split_once('@').unwrap();
        let password = credentials.rsplit(':').next().unwrap();
        let state = broker.connection_state().borrow().clone();
        // RabbitMQ's users here are their own passwords.
        let shown = format!("{broker:?} {state:?}").replace(&format!("{password}@"), "@");
        assert!(!shown.contains(password), "{shown}");
    }
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_first_rabbitmq_dies_both_ends_go_on_at_the_second() {
    let start = || {
        blocking(|| {
            let server = PrivateRabbitMq::start();
            let vhost = server.vhost();
            (server, vhost)
        })
    };
    let ((mut first, there), (second, here)) = tokio::join!(start(), start());
    let urls = format!("{};{}", there.amqp_url, here.amqp_url);
    on_to_the_second(&urls, "rpc://", move || first.kill()).await;
    blocking(move || drop((there, here, second))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_first_redis_dies_both_ends_go_on_at_the_second() {
    let (mut first, second) = tokio::join!(blocking(PrivateRedis::start), blocking(PrivateRedis::start));
    let urls = |db| format!("{};{}", first.url(db), second.url(db));
    let (brokers, backends) = (urls(0), urls(1));
    on_to_the_second(&brokers, &backends, move || first.kill()).await;
    blocking(move || drop(second)).await;
}
