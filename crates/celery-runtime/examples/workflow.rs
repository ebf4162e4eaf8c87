//! A worker, a client and a chord in one process, without any server.
//!
//!     cargo run --example workflow
#![allow(clippy::print_stdout, reason = "it prints the result")]

use std::{error::Error, sync::Arc, time::Duration};

use celery_protocol::{Routes, Signature};
use celery_runtime::{
    Arguments,
    backend::{SharedBackend, memory::MemoryBackend},
    broker::{ConnectOptions, connect},
    client::Client,
    worker::Worker,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = connect("memory://", ConnectOptions::default()).await?;
    broker.declare_task_queue(&"math".into()).await?;
    let backend: SharedBackend = Arc::new(MemoryBackend::new());
    let worker = Worker::builder(broker.clone())
        .name("math@localhost")
        .queue("math")
        .routes(Routes::to("math"))
        .backend(backend.clone())
        .task("square", |_context, arguments: Arguments| async move {
            let (x,): (i64,) = arguments.bind_tuple(&["x"])?;
            Ok(json!(x * x))
        })
        .task("sum", |_context, arguments: Arguments| async move {
            let (numbers,): (Vec<i64>,) = arguments.bind_tuple(&["numbers"])?;
            Ok(json!(numbers.iter().sum::<i64>()))
        })
        .build()?;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(worker.run(shutdown.clone()));

    let client = Client::with_backend(broker, backend).with_routes(Routes::to("math"));
    // Squares of 1 to 4, beside each other, then their sum.
    let squares = (1..=4).map(|x| Signature::new("square", vec![json!(x)])).collect();
    let chord = Signature::chord(Signature::group(squares), Signature::new("sum", vec![]));
    let sum = client.apply(chord).await?.get(Duration::from_secs(60)).await?;
    println!("{sum}");

    shutdown.cancel();
    running.await??;
    Ok(())
}
