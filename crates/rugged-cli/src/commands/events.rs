//! `rugged events`.

use std::time::Duration;

use celery_runtime::client::EventStream;
use clap::Args;
use fleet::Config;
use serde_json::{Map, Value};

use crate::error::CliError;
use crate::fleet_connection::FleetConnection;
use crate::output::{Output, one_line};
use service::exit_code::CommandExit;

/// Show events of workers and tasks as they happen
///
/// Workers send a heartbeat event every two seconds, but task events only on request. Unless --workers is given, this
/// command requests task events when it starts, and each worker then sends them until that worker stops. With --json each event
/// is one line.
///
/// Exit codes: 0 after Ctrl-C, --count events or --for seconds; 3 no event arrived within --for.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged events
  rugged events --workers --count 10
  rugged --json events --for 60 | jq 'select(.type == \"task-failed\")'")]
pub struct EventsArgs {
    /// Show worker events only
    #[arg(long)]
    pub workers: bool,
    /// End after N events [default: no limit]
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// End after this many seconds [default: no limit]
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

/// Fields that every event has. The first three begin the line; the others are not shown.
const COMMON_FIELDS: [&str; 7] = ["type", "hostname", "uuid", "timestamp", "clock", "pid", "utcoffset"];

/// Prints events until a limit or Ctrl-C.
///
/// # Errors
/// When no fleet runs, the broker fails, or no event arrives within `--for`.
pub async fn run(config: &Config, args: EventsArgs, output: Output) -> Result<CommandExit, CliError> {
    let fleet = FleetConnection::require_running(config).await?;
    let client = fleet.client().clone();
    let binding = if args.workers { "worker.#" } else { "#" };
    let mut events = client.events(binding).await.map_err(CliError::no_answer)?;
    if !args.workers {
        client.control().enable_events().await.map_err(CliError::no_answer)?;
    }
    let mut seen = 0;
    let outcome = tokio::select! {
        shown = show(&mut events, args.count.unwrap_or(u64::MAX), &mut seen, output) => shown,
        () = after(args.seconds) => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    drop((events, client));
    fleet.close().await;
    outcome?;
    match args.seconds {
        Some(seconds) if seen == 0 => Err(CliError::no_answer(format!("no event arrived within {seconds} s"))
            .hint("check the workers with `rugged ping`; workers with `remote_control: off` send no events")),
        _ => Ok(CommandExit::Success),
    }
}

async fn after(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

async fn show(events: &mut EventStream, count: u64, seen: &mut u64, output: Output) -> Result<(), CliError> {
    while *seen < count {
        let event = events.next().await.ok_or_else(|| CliError::no_answer("the broker closed the connection"))?;
        output.item(&event, line)?;
        *seen += 1;
    }
    Ok(())
}

/// An event as one line: `task-succeeded targets-worker@h 3d4a… result='pong' runtime=0.01`.
fn line(event: &Map<String, Value>) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let first = COMMON_FIELDS[..3].iter().filter_map(|key| event.get(*key)).map(text);
    let rest = event.iter().filter(|(key, value)| !COMMON_FIELDS.contains(&key.as_str()) && !value.is_null());
    let rest = rest.map(|(key, value)| format!("{key}={}", text(value)));
    format!("{}\n", one_line(&first.chain(rest).collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = json!({"type": "task-failed", "hostname": "w@h", "uuid": "i", "timestamp": 1.5, "clock": 7,
            "exception": "ValueError('x')", "traceback": null, "note": "a\nb"});
        let shown = line(event.as_object().unwrap());
        assert_eq!(shown, "task-failed w@h i exception=ValueError('x') note=a\\nb\n");
    }
}
