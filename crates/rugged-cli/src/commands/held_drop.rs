//! The monitor-worker's reason for holding a drop.

use std::time::Duration;

use fleet::contract::{STATUS, WorkerStatus};
use fleet::{Config, WorkerRole};
use monitor_worker::drop_dir::DropName;

use crate::fleet_connection::FleetConnection;

/// How long the monitor-worker may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(3);

/// Why the monitor-worker holds the drop `name`: its own reason, or the pause of intake. `None` when it does not hold the drop,
/// or cannot be asked: a producer need not have a broker.
pub async fn why_held(config: &Config, name: &DropName) -> Option<String> {
    let fleet = tokio::time::timeout(ANSWER_WAIT, FleetConnection::to_running(config)).await.ok()?.ok()??;
    let answer = FleetConnection::ask(fleet.client(), WorkerRole::Monitor.queue(), STATUS, ANSWER_WAIT).await;
    fleet.close().await;
    let status: WorkerStatus = serde_json::from_value(answer.ok()?).ok()?;
    let named = status.waiting.into_iter().find(|drop| drop.name == name.as_str() && drop.stage == "held");
    let paused = || {
        let processing = status.processing.filter(|processing| processing.paused)?;
        let reason = processing.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        Some(format!("intake of drops is paused{reason}"))
    };
    named.and_then(|drop| drop.reason).or_else(paused)
}
