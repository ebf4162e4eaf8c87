//! Health of a worker: its state, the progress of its loops, and the endpoints that show both.
//!
//! - `/livez`: 200 while every loop of the worker makes progress, 503 otherwise. It does not depend on the broker or the
//!   repository, because a restart of the process heals neither.
//! - `/readyz`: 200 while the worker can do its job; otherwise 503, and the body names the obstacles.
//! - `/status`: the [`StatusBody`] as JSON, the same that the task `status` answers.
//! - `/metrics`: OpenMetrics for a scraper that accepts it, else the text format of Prometheus.

mod endpoints;
mod probe;
mod state;
mod status;
mod worker;

#[cfg(test)]
mod tests;

pub use endpoints::{bind, serve};
pub use probe::{ProbeAnswer, probe};
pub use state::HealthState;
pub use status::{ProcessStatus, StatusBody};
pub use worker::{Heartbeat, WorkerHealth};
