//! A starting worker asks the others which tasks were revoked.

use std::{sync::Arc, time::Duration};

use celery_protocol::LamportClock;
use serde_json::{Map, Value, json};

use crate::{client::Control, worker::Shared};

/// How long the others have to answer.
const WAIT: Duration = Duration::from_secs(1);

pub(super) async fn run(shared: Arc<Shared>, clock: Arc<LamportClock>) {
    let registry = &shared.registry;
    let arguments: Map<String, Value> = Map::from_iter([
        ("from_node".to_owned(), Value::from(shared.name.as_str())),
        ("revoked".to_owned(), json!(registry.revoked())),
    ]);
    let others = Control::with_clock(shared.broker.clone(), clock).timeout(WAIT);
    match others.broadcast("hello", arguments).await {
        Ok(replies) => {
            let mut nodes = 0;
            for reply in replies {
                // Ours is null. Celery up to 5.6 tells times as well.
                let revoked: Vec<String> = match reply.value.get("revoked") {
                    Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                    Some(Value::Object(times)) => times.keys().cloned().collect(),
                    _ => continue,
                };
                nodes += 1;
                registry.revoke(revoked);
            }
            tracing::debug!(worker = shared.name, nodes, "synchronised with the other workers");
        }
        Err(error) => {
            tracing::info!(worker = shared.name, %error, "the other workers could not be asked what was revoked")
        }
    }
}
