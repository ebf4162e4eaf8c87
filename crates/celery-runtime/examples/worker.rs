//! A worker with three tasks, until it is interrupted.
//!
//!     cargo run --example worker -- amqp://guest:guest@localhost:5672 [QUEUE]
//!
//! Any Celery client may call it: `app.send_task("add", [2, 3], queue="math").get()`.
#![allow(clippy::print_stdout, reason = "it says that it is ready")]

use std::{env, error::Error, time::Duration};

use celery_runtime::{
    Arguments, TaskError,
    broker::{ConnectOptions, connect},
    worker::{RetryPolicy, TaskOptions, Worker},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "amqp://guest:guest@localhost:5672".to_owned());
    let queue = arguments.next().unwrap_or_else(|| "math".to_owned());

    let broker = connect(&url, ConnectOptions::default()).await?;
    // Workers declare their queues themselves; declared here too, so that whoever reads "ready" can send.
    broker.declare_task_queue(&queue.as_str().into()).await?;
    let patient = TaskOptions::new().retry(RetryPolicy::auto().max_retries(3).backoff(Duration::from_millis(100)));
    let worker = Worker::builder(broker)
        .name(format!("example@{queue}"))
        .queue(&queue)
        .task("add", |_context, arguments: Arguments| async move {
            let (x, y): (f64, f64) = arguments.bind_tuple(&["x", "y"])?;
            Ok(json!(x + y))
        })
        .task("divide", |_context, arguments: Arguments| async move {
            let (x, y): (f64, f64) = arguments.bind_tuple(&["x", "y"])?;
            // The caller's `.get()` raises a ValueError.
            if y == 0.0 { Err(TaskError::value_error("division by zero")) } else { Ok(json!(x / y)) }
        })
        // Fails on its first try, and is retried.
        .task_with("flaky", patient, |context, _arguments| async move {
            if context.retries == 0 { Err(TaskError::runtime_error("not yet")) } else { Ok(json!(context.retries)) }
        })
        .build()?;

    let shutdown = CancellationToken::new();
    let interrupted = shutdown.clone();
    tokio::spawn(async move {
        // Without a handler for the signal the worker would be killed by it, which loses nothing either.
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    println!("ready");
    worker.run(shutdown).await?;
    Ok(())
}
