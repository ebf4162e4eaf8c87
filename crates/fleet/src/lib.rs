//! The parts that the workers of the fleet share: settings, task contract, places, preflight, the loop of the signing
//! roles. The process around a worker is the crate [`service`].
//!
//! A worker crate is a library with its tasks and a `main.rs` of ten lines that calls [`process::main`]; the same
//! library runs inside `rugged up`, `rugged demo` and the tests on a [`Context`] made in code.

pub mod batch;
pub mod config;
pub mod contract;
pub mod exceptions;
pub mod key_files;
pub mod lack_of_room;
pub mod metrics;
pub mod places;
pub mod policy;
pub mod preflight;
pub mod process;
pub mod recover;
pub mod repository;
pub mod roles;
pub mod signing;
pub mod tasks;

mod context;
mod error;

pub use config::Config;
pub use context::{Context, Health, VERSION, WorkerInfo};
pub use error::FleetError;
pub use roles::{KeyRole, UnknownRole, WorkerRole};
