//! The answers of a worker to control commands.

use std::{sync::Arc, time::Duration};

use celery_protocol::{
    LamportClock,
    control::{self, Command, ControlRequest, RateLimit, RateLimitError, Revocation, values},
};
use serde_json::{Map, Value, json};

use super::{remote_control::RemoteControl, show};
use crate::{
    broker::TaskQueue,
    worker::{
        events::EventQueue,
        registry::{Shutdown, TaskStage, TimeLimits, TrackedTask, WorkerRegistry},
        worker_core::WorkerCore,
    },
};

pub(super) struct ControlPanel {
    core: Arc<WorkerCore>,
    events: Arc<EventQueue>,
    clock: Arc<LamportClock>,
}

impl ControlPanel {
    pub fn new(core: Arc<WorkerCore>, events: Arc<EventQueue>, clock: Arc<LamportClock>) -> Self {
        Self { core, events, clock }
    }

    /// Obeys a request and returns the answer; `None` where Python does not answer either.
    pub fn answer(&self, request: &ControlRequest) -> Option<Value> {
        let command = match Command::parse(&request.method, &request.arguments) {
            Ok(command) => command,
            Err(error) => return Some(control::error(error.to_string())),
        };
        if command.changes_state() && self.core.remote_control != RemoteControl::Full {
            tracing::warn!(method = request.method, "control request refused: this worker can only be inspected");
            let reason = format!(
                "PermissionError('{} is refused: this worker can only be inspected')",
                // A known name, since the command was parsed.
                request.method
            );
            return Some(control::error(reason));
        }
        if command.changes_state() {
            tracing::info!(method = request.method, "control request obeyed");
        }
        self.execute(command)
    }

    fn registry(&self) -> &WorkerRegistry {
        &self.core.registry
    }

    /// Arguments are shown in full only where everything is allowed anyway.
    fn show(&self, request: &TrackedTask, safe: bool) -> values::RequestInfo {
        show::request(request, &self.core.name, safe || self.core.remote_control != RemoteControl::Full)
    }

    fn list(&self, requests: &[TrackedTask], safe: bool) -> Value {
        requests.iter().map(|request| self.show(request, safe).to_json()).collect()
    }

    fn execute(&self, command: Command) -> Option<Value> {
        let registry = self.registry();
        Some(match command {
            Command::Ping => control::ok("pong"),
            Command::Active { safe } => self.list(&registry.active(), safe),
            Command::Reserved => self.list(&registry.reserved(), false),
            Command::Scheduled => {
                let waiting = registry.scheduled();
                let entries =
                    waiting.iter().filter_map(|request| Some(self.show(request, false).scheduled(request.eta?)));
                entries.collect()
            }
            Command::QueryTask { ids } => self.query(&ids),
            Command::Registered { items } => show::registered(registry, &items),
            Command::Revoked => Value::from(registry.revoked()),
            Command::Stats => show::stats(&self.core, self.clock.now()),
            Command::ActiveQueues => registry.queues().iter().map(show::queue).collect(),
            Command::Conf => show::configuration(&self.core),
            Command::Report => show::report(&self.core),
            Command::Clock => json!({"clock": self.clock.now()}),
            Command::Memory | Command::Election => Value::Null,
            Command::Heartbeat => {
                self.events.beat_now();
                Value::Null
            }
            Command::Hello { from_node, revoked } => {
                if from_node == self.core.name {
                    return Some(Value::Null);
                }
                tracing::debug!(from_node, "revoked tasks sent to a starting worker");
                if self.core.remote_control == RemoteControl::Full {
                    registry.revoke(revoked);
                }
                json!({"revoked": registry.revoked(), "clock": self.clock.forward()})
            }
            Command::EnableEvents => control::ok(match self.events.enable(true) {
                true => "task events enabled",
                false => "task events already enabled",
            }),
            Command::DisableEvents => control::ok(match self.events.enable(false) {
                true => "task events disabled",
                false => "task events already disabled",
            }),
            Command::Revoke(revocation) => self.revoke(&revocation),
            Command::RevokeByStampedHeaders(revocation) => self.revoke_stamped(&revocation),
            Command::RateLimit { task_name, limit } => self.limit_rate(&task_name, limit),
            Command::TimeLimit { task_name, hard, soft } => {
                let seconds = |seconds: Option<f64>| seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
                let limits = TimeLimits { hard: seconds(hard), soft: seconds(soft) };
                match registry.set_time_limits(&task_name, limits) {
                    true => control::ok("time limits set successfully"),
                    false => control::error("unknown task"),
                }
            }
            Command::AddConsumer { queue, exchange, exchange_type, routing_key } => {
                let (own, key) =
                    (exchange.unwrap_or_else(|| queue.clone()), routing_key.unwrap_or_else(|| queue.clone()));
                if exchange_type != "direct" || key != queue {
                    // Its owner declares a queue that is bound otherwise; it is consumed all the same.
                    tracing::info!(queue, exchange = own, "consuming a queue that others bind");
                }
                let mut added = TaskQueue::new(&queue);
                if own != queue && exchange_type == "direct" && key == queue {
                    added = added.also_bound_to(own);
                }
                registry.add_queue(added);
                control::ok(format!("add consumer {queue}"))
            }
            Command::CancelConsumer { queue } => {
                registry.cancel_queue(&queue);
                control::ok(format!("no longer consuming from {queue}"))
            }
            Command::PoolGrow { n } => {
                self.resize(|prefetch| prefetch.saturating_add(n));
                control::ok("pool will grow")
            }
            Command::PoolShrink { n } => {
                self.resize(|prefetch| prefetch.saturating_sub(n).max(1));
                control::ok("pool will shrink")
            }
            Command::PoolRestart => control::error("ValueError('Pool restarts not enabled')"),
            Command::Autoscale => control::error("ValueError('Autoscale not enabled')"),
            Command::Shutdown => {
                registry.shut_down(Shutdown::Warm);
                return None;
            }
            // Commands of a later version of the protocol.
            _ => Value::Null,
        })
    }

    fn query(&self, ids: &[String]) -> Value {
        let known = ids.iter().filter_map(|id| {
            let request = self.registry().find(id)?;
            let stage = match request.stage {
                TaskStage::Active => "active",
                TaskStage::Reserved => "reserved",
                TaskStage::Scheduled => "scheduled",
            };
            Some((id.clone(), json!([stage, self.show(&request, false).to_json()])))
        });
        Value::Object(known.collect())
    }

    fn revoke(&self, revocation: &Revocation<Vec<String>>) -> Value {
        let registry = self.registry();
        if !revocation.terminate {
            registry.revoke(revocation.what.iter().cloned());
            return values::flagged_as_revoked(&revocation.what);
        }
        let here: Vec<String> = revocation.what.iter().filter(|id| registry.find(id).is_some()).cloned().collect();
        for id in &revocation.what {
            registry.terminate(id);
        }
        values::terminated(&here)
    }

    fn revoke_stamped(&self, revocation: &Revocation<Map<String, Value>>) -> Value {
        let registry = self.registry();
        let mut reached = 0;
        for (header, stamps) in &revocation.what {
            let stamps = match stamps {
                Value::Array(stamps) => stamps.clone(),
                one => vec![one.clone()],
            };
            registry.revoke_stamped(header, stamps.iter().cloned());
            if revocation.terminate {
                reached += registry.terminate_stamped(header, stamps);
            }
        }
        let reached = if reached > 0 { revocation.what.clone() } else { Map::new() };
        values::revoked_by_stamps(&revocation.what, revocation.terminate, &reached)
    }

    fn limit_rate(&self, task: &str, limit: Result<RateLimit, RateLimitError>) -> Value {
        let limit = match limit {
            Ok(limit) => limit,
            Err(error) => return control::error(error.to_string()),
        };
        let lifted = limit.per_second() == 0.0;
        let wanted = match lifted {
            true => None,
            // Both types read the same texts; a text that only one of them reads is a bug.
            false => match limit.to_string().parse() {
                Ok(wanted) => Some(wanted),
                Err(error) => return control::error(format!("Invalid rate limit string: {error}")),
            },
        };
        match (self.registry().set_rate_limit(task, wanted), lifted) {
            (false, _) => control::error("unknown task"),
            (true, true) => control::ok("rate limit disabled successfully"),
            (true, false) => control::ok("new rate limit set successfully"),
        }
    }

    /// There is no pool: as many tasks run at a time as are prefetched from each queue. Without a limit nothing changes.
    fn resize(&self, change: impl FnOnce(u32) -> u32) {
        let prefetch = self.registry().prefetch();
        if prefetch > 0 {
            self.registry().set_prefetch(u16::try_from(change(u32::from(prefetch))).unwrap_or(u16::MAX));
        }
    }
}
