//! Our side of the benchmark `celery`: a worker whose one task does nothing, with the defaults of `celery-runtime`.
//!
//! `celery-noop-worker BROKER BACKEND QUEUE` works until SIGTERM. `BENCH_PREFETCH` replaces the default prefetch.

#![allow(clippy::print_stderr, reason = "a program without a log")]

use std::process::ExitCode;

use celery_runtime::{backend, broker, worker::Worker};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    // One thread is enough for tasks that do nothing: with a second, handing over would cost more than it brings.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(work())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("celery-noop-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn work() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(broker), Some(backend), Some(queue)) = (words.next(), words.next(), words.next()) else {
        return Err("celery-noop-worker BROKER BACKEND QUEUE".into());
    };
    let broker = broker::connect(&broker, broker::ConnectOptions::default()).await?;
    let backend = backend::connect(&backend, broker.clone(), broker::ConnectOptions::default()).await?;
    let mut builder = Worker::builder(broker).backend(backend).queue(queue);
    if let Ok(prefetch) = std::env::var("BENCH_PREFETCH") {
        builder = builder.prefetch(prefetch.parse()?);
    }
    let worker = builder.task("noop", |_, _| async { Ok(Value::Null) }).build()?;
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let told = shutdown.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        told.cancel();
    });
    Ok(worker.run(shutdown).await?)
}
