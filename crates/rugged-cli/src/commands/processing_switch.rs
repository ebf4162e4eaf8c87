//! The switch of the monitor-worker that `rugged pause-processing` and `rugged resume-processing` set.

use std::io;

use durable_fs::{RealFs, durable};
use fleet::Config;
use fleet::contract::{MONITOR_QUEUE, PAUSE_PROCESSING, Pause, Processing, RESUME_PROCESSING};
use monitor_worker::pause::PauseSwitch;
use service::clock::{Clock as _, SystemClock};

use super::signing_chain::task_deadline;
use crate::error::CliError;
use crate::fleet_connection::FleetConnection;
use crate::output::{Output, note, one_line};
use service::exit_code::CommandExit;

/// A change of the switch.
#[derive(Debug)]
pub struct SwitchChange {
    /// Whether to pause intake, or to resume it.
    pub pause: bool,
    /// The reason to record.
    pub reason: Option<String>,
    /// Seconds to wait for the monitor-worker; `task_timeout` if `None`.
    pub timeout: Option<u64>,
}

/// Sets the switch through the running monitor-worker, or in its state when no fleet runs on `memory://`; never in its
/// state in production.
///
/// # Errors
/// When no fleet is found in production, the worker does not answer or refuses, or the state cannot be written.
pub async fn set(config: &Config, change: SwitchChange, output: Output) -> Result<CommandExit, CliError> {
    let state = match FleetConnection::to_running_or_none_needed(config).await? {
        Some(mut fleet) => {
            let task = if change.pause { PAUSE_PROCESSING } else { RESUME_PROCESSING };
            let arguments = Pause { reason: change.reason };
            let deadline = task_deadline(config, change.timeout);
            let answer = fleet.call_as_operator(MONITOR_QUEUE, task, &arguments, deadline).await;
            fleet.close().await;
            answer?
        }
        None => {
            let state = set_in_state(config, change)?;
            note("no fleet is running on memory://: recorded for the next `rugged up` with this state_path");
            state
        }
    };
    output.result(&state, text)?;
    Ok(CommandExit::Success)
}

/// Sets the switch in the state that the next monitor-worker reads. A hosted one would first take in drops.
fn set_in_state(config: &Config, change: SwitchChange) -> Result<Processing, CliError> {
    let state = config.state_of(fleet::WorkerRole::Monitor);
    let failed = |error: io::Error| {
        CliError::writing(&state, error).hint(
            "no fleet is running on memory://, so the command writes the monitor's state itself; check state_path",
        )
    };
    durable::create_dir_all(&RealFs, &state, 0o700).map_err(failed)?;
    let switch = PauseSwitch::open(&RealFs, &state).map_err(failed)?;
    switch.set(&RealFs, change.pause, change.reason, SystemClock.now().to_string()).map_err(failed)
}

fn text(state: &Processing) -> String {
    let status = if state.paused { "intake of drops paused" } else { "intake of drops active" };
    let since = state.since.as_deref().map(|since| format!(" since {since}")).unwrap_or_default();
    let reason = state.reason.as_deref().map(|reason| format!(": {}", one_line(reason))).unwrap_or_default();
    format!("{status}{since}{reason}\n")
}
