//! The monitor worker of the fleet: takes releases out of the drop directory and drives the chain of signing roles.
//!
//! It has no keys and cannot see the repository. A release enters as `tuf_ready_X` and ends as exactly one of published or
//! rejected, with a receipt its producer can read; no crash in between loses one or leaves one that needs a reset.
//!
//! - [`run`] is the worker: tasks, loop and health around the state machine.
//! - [`Monitor`] is the state machine; [`Monitor::run_cycle`] does one round over `&dyn` [`Chain`].
//! - [`drop_dir`], [`staging`], [`manifest`] and [`batch`] are what a drop goes through on its way in.
//! - [`receipt`] and [`reject`] are how it ends.

pub mod batch;
mod celery_chain;
pub mod chain;
mod core;
mod cycle;
pub mod drop_dir;
mod format;
mod intake;
pub mod manifest;
pub mod pause;
pub mod receipt;
pub mod reject;
mod schedule;
mod service;
pub mod settings;
mod settle;
pub mod staging;
mod tidy;
mod watch;

pub use celery_chain::CeleryChain;
pub use chain::{Chain, ChainError};
pub use cycle::{CycleError, CycleReport, Monitor};
pub use service::{WORKER, run};
pub use settings::{Limits, Settings};
