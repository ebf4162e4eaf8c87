//! The smallest worker: it does nothing until it is asked to end. The tests of the process use it; its `instance` makes
//! it misbehave.

#![allow(clippy::panic, reason = "one of the ways to misbehave")]

use std::process::ExitCode;

use fleet::health::State;
use fleet::{Context, FleetError, WorkerInfo, process};

const WORKER: WorkerInfo =
    WorkerInfo { name: "idle-worker", role: "none", about: "Does nothing until it is asked to end" };

fn main() -> ExitCode {
    process::main(WORKER, run)
}

async fn run(context: Context) -> Result<(), FleetError> {
    match context.config.instance.as_str() {
        "refusing" => {
            return Err(FleetError::Refused("a key of another role can be read".into()));
        }
        "panicking" => panic!("a bug"),
        _ => {}
    }
    context.health.set_state(State::Ready);
    context.shutdown.cancelled().await;
    if context.config.instance == "stubborn" {
        std::future::pending::<()>().await;
    }
    Ok(())
}
