//! The parts that every worker process has, whatever its tasks are.
//!
//! A system of workers describes its settings in one table ([`config::SettingsTable`]), its status in one type
//! ([`health::StatusBody`]) and its start in one trait ([`process::WorkerProcess`]); [`process::main`] does the rest:
//! command line, configuration, logs, sandbox, broker connection, health endpoints, signals, restart, exit code.
//!
//! This crate knows no task, no role and no repository. See its README for the border.

pub mod broker;
pub mod clock;
pub mod config;
pub mod exit_code;
pub mod health;
pub mod http;
pub mod identity;
pub mod metrics;
pub mod process;
pub mod sandbox;
pub mod settings;
pub mod sync;
pub mod telemetry;

mod error;

pub use error::{ProcessError, SandboxGap};
