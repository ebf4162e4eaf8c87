//! The worker: takes tasks from its queues and runs the handlers registered for them.
//!
//! The order of steps for each task makes a crash at any point harmless: run, publish the tasks that follow (confirmed), store
//! the result, count it in its chord, acknowledge. A task whose outcome cannot be reported for lack of a connection stays
//! unacknowledged, so it is redelivered; a task may therefore run twice, and handlers have to be idempotent.
//!
//! | message | result for the caller | settlement at the broker |
//! |---|---|---|
//! | a task that ran | SUCCESS or FAILURE; the tasks that follow (callbacks, chain, group, chord, errbacks) are sent | ack |
//! | a task to be retried | RETRY; the next try is published first | ack |
//! | wrong arguments | FAILURE `TypeError` | ack |
//! | a handler that panicked | FAILURE `RuntimeError` | ack |
//! | a task beyond its time limit | FAILURE `billiard.exceptions.TimeLimitExceeded` or `SoftTimeLimitExceeded` | ack |
//! | an expired, revoked or terminated task | REVOKED `celery.exceptions.TaskRevokedError` | ack |
//! | an unknown task | FAILURE `celery.exceptions.NotRegistered` | reject |
//! | content that is not JSON, or not a task | FAILURE `kombu.exceptions.ContentDisallowed`, `DecodeError` or `celery.exceptions.InvalidTaskError`, if the message names its caller | reject |
//! | a task whose chord the result backend cannot count, or whose follow-up tasks make no sense | FAILURE `NotImplementedError`, before it is run: the follow-up tasks would be lost | reject |
//! | a task with an `eta` | nothing until then | held without blocking others; see [`WorkerBuilder::hold`] |
//!
//! When a task of a chain fails or is revoked, the result of the end of the chain becomes FAILURE or REVOKED too.
//!
//! Every log line of a worker is within its span, which has its name (`worker.node`) unless [`WorkerBuilder::span`] sets another
//! one, and every line of a task within a span below it that has the task's id and name (`task.id`, `task.name`).

mod builder;
mod celery_worker;
mod chord;
mod consumers;
mod context;
mod control;
mod counters;
mod delivery_run;
mod error;
mod events;
mod follow_ups;
mod handler;
mod hold;
mod lane;
mod main_loop;
mod monitoring;
mod options;
mod outcome;
mod redelivered;
pub mod registry;
mod report;
mod requeue;
mod results;
mod retry;
mod run_handler;
mod run_table;
mod settle;
mod settlement;
mod span;
mod task_in_hand;
mod worker_core;

pub use builder::{BuildError, WorkerBuilder};
pub use celery_worker::Worker;
pub use context::TaskContext;
pub use control::RemoteControl;
pub use counters::{CounterSnapshot, WorkerCounters};
pub use error::WorkerError;
pub use events::WorkerEvents;
pub use options::TaskOptions;
pub use registry::WorkerRegistry;
pub use retry::RetryPolicy;
