//! A Celery-compatible worker and client over `amqp://`, `redis://` and `memory://`.
//!
//! The wire contract itself is `celery_protocol`; this crate speaks it: brokers ([`broker`]), result backends ([`backend`]),
//! the worker ([`worker`]), the client ([`client`]) and the scheduler ([`scheduler`]). It knows nothing of TUF.
//!
//! These rules hold everywhere:
//!
//! - a task is acknowledged last, after the tasks that follow it were published and its result was stored; a delivery of an
//!   old connection is never acknowledged on a new one, so work may run twice and is never lost;
//! - the tasks that follow a task (callbacks, the next step of a chain) have the same ids however often they are sent;
//! - a task is published with a confirm and `mandatory`, so that a missing queue is an error;
//! - a message that cannot be decoded, an unknown task and a panic become a typed failure where a reply is possible, and never
//!   end the worker.
//!
//! ```no_run
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use celery_runtime::{broker::{connect, ConnectOptions}, client::Client, worker::Worker};
//! use tokio_util::sync::CancellationToken;
//!
//! let broker = connect("memory://", ConnectOptions::default()).await?;
//! let worker = Worker::builder(broker.clone())
//!     .name("math@localhost")
//!     .queue("math")
//!     .task("add", |_context, arguments: celery_runtime::Arguments| async move {
//!         let (left, right): (i64, i64) = arguments.bind_tuple(&["left", "right"])?;
//!         Ok(serde_json::json!(left + right))
//!     })
//!     .build()?;
//! let shutdown = CancellationToken::new();
//! let running = tokio::spawn(worker.run(shutdown.clone()));
//!
//! let client = Client::new(broker).await?;
//! let mut kwargs = serde_json::Map::new();
//! kwargs.insert("left".into(), 2.into());
//! kwargs.insert("right".into(), 3.into());
//! let sum = client.call("math", "add", kwargs, Duration::from_secs(5)).await?;
//! assert_eq!(sum, 5);
//! shutdown.cancel();
//! running.await??;
//! # Ok(()) }
//! ```

mod arguments;
pub mod backend;
pub mod broker;
pub mod client;
pub mod clock;
mod connection;
mod credentials;
mod dispatch;
#[cfg(test)]
mod fuzz_corpus;
mod host;
#[cfg(any(test, fuzzing))]
mod local_fuzz;
mod redis;
pub mod scheduler;
mod sync;
mod task_error;
mod tls;
mod url;
pub mod worker;

pub use arguments::Arguments;
pub use task_error::{Retry, TaskError, Unanswered};

/// The examples of the README, compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Fuzz target for bytes from the network: takes any bytes, and panics if a promise is broken.
#[cfg(fuzzing)]
pub fn fuzz_wire(data: &[u8]) {
    broker::amqp::guard_fuzz::run(data);
}

/// Fuzz target for bytes from this machine: takes any bytes, and panics if a promise is broken.
#[cfg(fuzzing)]
pub fn fuzz_local(data: &[u8]) {
    local_fuzz::run(data);
}
