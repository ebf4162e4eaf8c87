//! Celery's own tools, unmodified, look at a worker of ours and at a Python worker on one broker: they see the same, but for
//! what the table in the README allows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

mod browser;
mod compare;
mod control;
mod events;
mod flower;
mod inspect;
mod lab;
mod png;
