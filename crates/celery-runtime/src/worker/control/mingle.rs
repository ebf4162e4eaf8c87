//! Mingle: a starting worker asks the others which tasks were revoked.

use std::{sync::Arc, time::Duration};

use celery_protocol::LamportClock;
use serde_json::{Map, Value, json};

use crate::{client::Control, worker::worker_core::WorkerCore};

/// How long the others have to answer.
const MINGLE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn run(core: Arc<WorkerCore>, clock: Arc<LamportClock>) {
    let registry = &core.registry;
    let arguments: Map<String, Value> = Map::from_iter([
        ("from_node".to_owned(), Value::from(core.name.as_str())),
        ("revoked".to_owned(), json!(registry.revoked())),
    ]);
    let others = Control::with_clock(core.broker.clone(), clock).timeout(MINGLE_TIMEOUT);
    match others.broadcast("hello", arguments).await {
        Ok(replies) => {
            let mut nodes = 0;
            for reply in replies {
                // Our own is null. Celery up to 5.6 sends times as well.
                let revoked: Vec<String> = match reply.value.get("revoked") {
                    Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                    Some(Value::Object(times)) => times.keys().cloned().collect(),
                    _ => continue,
                };
                nodes += 1;
                registry.revoke(revoked);
            }
            tracing::debug!(nodes, "revoked tasks received from the other workers");
        }
        Err(error) => tracing::info!(%error, "cannot ask the other workers for revoked tasks"),
    }
}
