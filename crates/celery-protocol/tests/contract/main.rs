//! The wire contract, held against captured messages and against hostile ones.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests say what they expect, and read the captured files"
)]

mod captures;
mod control;
mod events;
mod fields;
mod forms;
mod hostile;
mod python;
mod redis;
mod results;
mod tasks;
mod topology;
