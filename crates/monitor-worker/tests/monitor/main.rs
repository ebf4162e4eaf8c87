//! The monitor's state machine on a simulated file system, with a chain that records its calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    missing_debug_implementations,
    reason = "tests"
)]

mod abandoned;
mod batching;
mod bounds;
mod clocks;
mod exchanged;
mod formats;
mod late_files;
mod lookalikes;
mod mounts;
mod recovery;
mod rejection;
mod scene;
mod service;
mod visibility;
