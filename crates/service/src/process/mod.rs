//! The process around a worker: command line, configuration, logs, runtime, broker, health, signals, exit code.

mod arguments;
mod complain;
mod healthcheck;
mod host;
mod restart;
mod run;
mod signals;
mod worker;

pub use host::host;
pub use run::main;
pub use worker::{Program, StartedWorker, WorkerProcess, WorkerResources};
