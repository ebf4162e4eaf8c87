//! Logs: one line per event on standard error, each with the worker it comes from.
//!
//! Lines are for people (coloured on a terminal) or one JSON object each. A worker runs inside the span made by
//! [`worker_span`]; its name is on every line below it, so that several workers in one process stay apart, and no event
//! repeats it. Every message stays on one line: control characters are escaped.

mod capture;
mod fields;
mod filter;
mod format;
mod install;
mod layer;
mod worker;

pub use capture::captured_lines;
pub use format::LogFormat;
pub use install::{init, is_installed, log_panics};
pub use worker::{set_process_worker, worker_span};
