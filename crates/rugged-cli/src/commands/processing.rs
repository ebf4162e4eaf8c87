//! `rugged pause-processing` and `rugged resume-processing`.

use durable_fs::{RealFs, durable};
use fleet::Config;
use fleet::contract::{MONITOR_QUEUE, PAUSE_PROCESSING, Pause, Processing, RESUME_PROCESSING};
use monitor_worker::pause::PauseSwitch;
use service::clock::{Clock as _, SystemClock};

use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, one_line};
use crate::reach::Reach;

pub async fn run(config: &Config, pause: bool, args: args::Pause, output: Output) -> Result<u8, CliError> {
    let state = match Reach::running(config).await? {
        Some(mut reach) => {
            let task = if pause { PAUSE_PROCESSING } else { RESUME_PROCESSING };
            let arguments = Pause { reason: args.reason };
            let deadline = super::deadline(config, args.timeout);
            let answer = reach.call_as_operator(MONITOR_QUEUE, task, &arguments, deadline).await;
            reach.close().await;
            answer?
        }
        None => set_switch(config, pause, args.reason)?,
    };
    output.result(&state, text)?;
    Ok(exit_code::OK)
}

/// Without a fleet the switch is set where the next monitor finds it. Hosting a monitor would take drops in first.
fn set_switch(config: &Config, pause: bool, reason: Option<String>) -> Result<Processing, CliError> {
    let state = config.state_of("monitor");
    let failed = |error: std::io::Error| {
        CliError::writing(&state, &error)
            .hint("no fleet is running on memory://, so the monitor's state is set directly; is state_path right?")
    };
    durable::create_dir_all(&RealFs, &state, 0o700).map_err(failed)?;
    let switch = PauseSwitch::open(&RealFs, &state).map_err(failed)?;
    switch.set(&RealFs, pause, reason, SystemClock.now().to_string()).map_err(failed)
}

fn text(state: &Processing) -> String {
    let what = if state.paused { "processing is paused" } else { "drops are taken in" };
    let since = state.since.as_deref().map(|since| format!(" since {since}")).unwrap_or_default();
    let reason = state.reason.as_deref().map(|reason| format!(": {}", one_line(reason))).unwrap_or_default();
    format!("{what}{since}{reason}\n")
}
