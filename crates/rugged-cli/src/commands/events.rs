//! `rugged events`.

use std::time::Duration;

use celery_runtime::client::EventStream;
use fleet::Config;
use serde_json::{Map, Value};

use super::inspect::running;
use crate::args;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, one_line};

/// What every event has, and what is said before the rest.
const COMMON: [&str; 7] = ["type", "hostname", "uuid", "timestamp", "clock", "pid", "utcoffset"];

pub async fn run(config: &Config, args: args::Events, output: Output) -> Result<u8, CliError> {
    let reach = running(config).await?;
    let client = reach.client().clone();
    let binding = if args.workers { "worker.#" } else { "#" };
    let mut events = client.events(binding).await.map_err(|error| CliError::no_answer(error.to_string()))?;
    if !args.workers {
        client.control().enable_events().await.map_err(|error| CliError::no_answer(error.to_string()))?;
    }
    let mut seen = 0;
    let outcome = tokio::select! {
        shown = show(&mut events, args.count.unwrap_or(u64::MAX), &mut seen, output) => shown,
        () = after(args.seconds) => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    drop((events, client));
    reach.close().await;
    outcome?;
    if seen == 0 && args.seconds.is_some() {
        return Err(CliError::no_answer("no event came in that time"));
    }
    Ok(exit_code::OK)
}

async fn after(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

async fn show(events: &mut EventStream, count: u64, seen: &mut u64, output: Output) -> Result<(), CliError> {
    while *seen < count {
        let event =
            events.next().await.ok_or_else(|| CliError::no_answer("the connection to the broker was closed"))?;
        output.item(&event, line)?;
        *seen += 1;
    }
    Ok(())
}

/// `task-succeeded targets-worker@h 3d4a… result='pong' runtime=0.01`
fn line(event: &Map<String, Value>) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let first = COMMON[..3].iter().filter_map(|key| event.get(*key)).map(text);
    let rest = event.iter().filter(|(key, value)| !COMMON.contains(&key.as_str()) && !value.is_null());
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
