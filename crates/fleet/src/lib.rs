//! What every worker of the fleet shares: configuration, clock, logs, metrics, health, the task contract, the process
//! around a worker and the loop of the signing roles.
//!
//! A worker crate is a library with its tasks and a `main.rs` of ten lines that calls [`process::main`]; the same
//! library runs inside `rugged up`, `rugged demo` and the tests on a [`process::Context`] made in code.

pub mod clock;
pub mod config;
pub mod contract;
pub mod exceptions;
pub mod exit_code;
pub mod health;
pub mod keys;
pub mod metrics;
pub mod places;
pub mod policy;
pub mod preflight;
pub mod process;
pub mod recover;
pub mod repository;
pub mod sandbox;
pub mod signing;
pub mod tasks;
pub mod telemetry;

mod context;
mod error;

pub use config::Config;
pub use context::{Context, VERSION, WorkerInfo};
pub use error::FleetError;
