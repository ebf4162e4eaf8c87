//! From the moment a network is whole again to the first task a worker starts that waited for it.

use std::time::{Duration, Instant};

use celery_runtime::broker::{ConnectOptions, SharedBroker, connect};
use celery_runtime::client::{Client, SendOptions};
use celery_runtime::worker::Worker;
use serde_json::{Map, json};
use testkit::servers::{PrivateRedis, Proxy, RabbitMq};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Result;
use crate::report::{Line, Report};
use crate::samples::Samples;

const HEARTBEAT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(120);

/// How the network is broken, and for how long.
#[derive(Clone, Copy)]
enum Broken {
    Cut(Duration),
    Silent(Duration),
}

/// The kinds, with their names.
const KINDS: [(&str, Broken); 4] = [
    ("cut 1 s", Broken::Cut(Duration::from_secs(1))),
    ("cut 10 s", Broken::Cut(Duration::from_secs(10))),
    ("silent 1 s", Broken::Silent(Duration::from_secs(1))),
    // Longer than it takes either end to give the connection up.
    ("silent 16 s, heartbeat 5 s", Broken::Silent(Duration::from_secs(16))),
];

/// Each kind, some times, on both brokers.
///
/// # Errors
/// Whatever went wrong.
pub fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let count = if quick { 1 } else { 7 };
    let vhost = RabbitMq::shared().vhost();
    let redis = PrivateRedis::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for (broker, url) in [("rabbitmq", vhost.amqp_url.clone()), ("redis", redis.url(0))] {
        for (name, broken) in KINDS {
            let mut samples = Samples::default();
            for number in 0..count {
                // A queue of its own: nothing is left in it from the time before.
                let queue = format!("{name} {number}");
                samples.push(runtime.block_on(resume(&url, &queue, broken))?);
            }
            report.add(Line::new("partition_resume", &format!("{broker} {name}")).took(&samples).aim("5 s"));
        }
    }
    Ok(())
}

async fn resume(url: &str, queue: &str, broken: Broken) -> Result<Duration> {
    let proxy = Proxy::in_front_of(url);
    let direct = connect(url, ConnectOptions::default()).await?;
    direct.declare_task_queue(&queue.into()).await?;
    let behind = connect(proxy.url(), ConnectOptions { heartbeat: HEARTBEAT, ..ConnectOptions::default() }).await?;
    let (started, mut starts) = mpsc::unbounded_channel();
    let worker = Worker::builder(behind.clone())
        .queue(queue)
        .task("note", move |context, _| {
            let told = started.send((context.task_id, Instant::now()));
            async move { Ok(json!(told.is_ok())) }
        })
        .build()?;
    let shutdown = CancellationToken::new();
    let working = tokio::spawn(worker.run(shutdown.clone()));
    // It works before the network breaks.
    send(&direct, queue, "before").await?;
    start_of("before", &mut starts).await?;

    let length = match broken {
        Broken::Cut(length) => {
            proxy.cut();
            length
        }
        Broken::Silent(length) => {
            proxy.hold();
            length
        }
    };
    send(&direct, queue, "meanwhile").await?;
    tokio::time::sleep(length).await;
    let healed = Instant::now();
    proxy.heal();
    let begun = start_of("meanwhile", &mut starts).await?;
    shutdown.cancel();
    working.await??;
    behind.close().await;
    direct.close().await;
    Ok(begun.saturating_duration_since(healed))
}

async fn start_of(task: &str, starts: &mut mpsc::UnboundedReceiver<(String, Instant)>) -> Result<Instant> {
    loop {
        let (id, begun) = tokio::time::timeout(PATIENCE, starts.recv()).await?.ok_or("the worker ended")?;
        if id == task {
            return Ok(begun);
        }
    }
}

async fn send(broker: &SharedBroker, queue: &str, task: &str) -> Result<()> {
    let client = Client::new(broker.clone()).await?;
    let options = SendOptions { task_id: Some(task.to_owned()), ignore_result: true, ..SendOptions::default() };
    client.send(queue, "note", vec![], Map::new(), options).await?;
    Ok(())
}
