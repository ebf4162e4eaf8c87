//! The workers, each with its replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use celery_runtime::client::Client;
use fleet::WorkerRole;
use fleet::contract::{STATUS, WorkerStatus};
use futures_util::future::{join, join_all};
use serde::Serialize;
use serde_json::Map;

use crate::error::CliError;
use crate::fleet_connection::{FleetConnection, explain_call_error};

/// How long replicas may take to say that they are there.
const ROLL_CALL: Duration = Duration::from_secs(1);
/// Tasks sent for each replica: the broker hands them to the replicas in turn, as a rule.
const TASKS_PER_REPLICA: usize = 3;
/// The most replicas of one worker that are asked.
const MAX_REPLICAS: usize = 32;

/// Problems that the head of the report explains for all workers: no fleet runs, or its broker cannot be reached.
pub const NOT_ASKED: [&str; 2] = ["not running", "not asked"];

/// A worker: its answer, or the reason why there is none.
#[derive(Debug, Serialize)]
pub struct WorkerReport {
    /// Its name.
    pub worker: String,
    /// The name of its process, where the worker has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<WorkerStatus>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl WorkerReport {
    /// A worker that did not answer.
    pub fn absent(role: WorkerRole, problem: impl Into<String>) -> Self {
        Self { worker: role.worker_name().into(), instance: None, status: None, problem: Some(problem.into()) }
    }

    fn of(role: WorkerRole, status: WorkerStatus) -> Self {
        Self { worker: role.worker_name().into(), instance: None, status: Some(status), problem: None }
    }

    /// Whether the worker does its job: it is ready or at work, nothing that went wrong before is left to be done again, and
    /// tasks reach it.
    pub fn is_healthy(&self) -> bool {
        self.status.as_ref().is_some_and(|status| {
            matches!(status.state.as_str(), "ready" | "working")
                && status.detail.is_none()
                && status.broker_connected != Some(false)
        })
    }
}

/// Asks every worker and every replica.
pub async fn ask_all(client: &Client, deadline: Duration) -> Vec<WorkerReport> {
    let asking = join_all(WorkerRole::ALL.map(|role| ask(client, role, deadline)));
    let (reports, replicas) = join(asking, roll_call(client)).await;
    let complete = WorkerRole::ALL.into_iter().zip(reports).map(async |(role, report)| {
        let nodes = replicas.get(role.worker_name()).cloned().unwrap_or_default();
        if nodes.len() < 2 { vec![report] } else { ask_replicas(client, role, report, nodes, deadline).await }
    });
    join_all(complete).await.into_iter().flatten().collect()
}

async fn ask(client: &Client, role: WorkerRole, deadline: Duration) -> WorkerReport {
    let answer = match FleetConnection::ask(client, role.queue(), STATUS, deadline).await {
        Ok(value) => serde_json::from_value(value).map_err(|error| {
            CliError::task_failed(error).during("its answer has a form that this version cannot read")
        }),
        Err(error) => Err(explain_call_error(role.worker_name(), STATUS, error, deadline)),
    };
    match answer {
        Ok(status) => WorkerReport::of(role, status),
        Err(error) => WorkerReport::absent(role, error.message()),
    }
}

/// The instances by worker that answer remote control; none where it is off.
async fn roll_call(client: &Client) -> BTreeMap<String, BTreeSet<String>> {
    let mut instances: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let present = client.control().timeout(ROLL_CALL).broadcast("ping", Map::new()).await.unwrap_or_default();
    for reply in present {
        if let Some((worker, instance)) = reply.node.split_once('@') {
            instances.entry(worker.to_owned()).or_default().insert(instance.to_owned());
        }
    }
    instances
}

/// A report for each replica. They share a queue, so no task can be addressed to one: several are sent, and each answer
/// says whose it is.
async fn ask_replicas(
    client: &Client,
    role: WorkerRole,
    first: WorkerReport,
    mut instances: BTreeSet<String>,
    deadline: Duration,
) -> Vec<WorkerReport> {
    let tasks = instances.len().min(MAX_REPLICAS) * TASKS_PER_REPLICA;
    let further = join_all((0..tasks).map(|_| ask(client, role, deadline))).await;
    let mut answers = BTreeMap::new();
    for status in std::iter::once(first).chain(further).filter_map(|report| report.status) {
        instances.insert(status.instance.clone());
        answers.insert(status.instance.clone(), status);
    }
    let report = |instance: String| {
        let report = match answers.remove(&instance) {
            Some(status) => WorkerReport::of(role, status),
            None => WorkerReport::absent(role, "it runs, and another replica took the question: ask again"),
        };
        WorkerReport { instance: Some(instance), ..report }
    };
    instances.into_iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use celery_runtime::broker::memory::MemoryBroker;
    use celery_runtime::worker::Worker;
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// A replica of the targets-worker.
    fn replica(broker: &MemoryBroker, instance: &'static str) -> Worker {
        let worker = WorkerRole::Targets.worker_name();
        Worker::builder(Arc::new(broker.connect()))
            .name(format!("{worker}@{instance}"))
            .queue(worker)
            .prefetch(1)
            .task(STATUS, move |_, _| async move {
                Ok(json!({"version": "1", "role": "targets", "state": "ready", "instance": instance}))
            })
            .build()
            .unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_replica_has_a_row() {
        let broker = MemoryBroker::new();
        let shutdown = CancellationToken::new();
        let running = ["one", "two"].map(|instance| tokio::spawn(replica(&broker, instance).run(shutdown.clone())));
        let client = Client::new(Arc::new(broker.connect())).await.unwrap();
        while roll_call(&client).await.get("targets-worker").is_none_or(|instances| instances.len() < 2) {}
        let reports = ask_all(&client, LONG).await;
        let targets: Vec<_> = reports.iter().filter(|report| report.worker == "targets-worker").collect();
        let instances: Vec<_> = targets.iter().map(|report| report.instance.as_deref()).collect();
        assert_eq!(instances, [Some("one"), Some("two")], "{reports:?}");
        assert!(targets.iter().any(|report| report.is_healthy()), "{reports:?}");
        // The others have no queue.
        assert_eq!(reports.len(), 5);
        assert!(reports.iter().filter(|report| report.worker != "targets-worker").all(|report| !report.is_healthy()));
        shutdown.cancel();
        for worker in running {
            worker.await.unwrap().unwrap();
        }
    }

    #[test]
    fn a_worker_that_waits_or_has_no_broker_is_not_healthy() {
        let report = |state: &str, detail: Option<&str>, broker_connected| {
            let (state, detail) = (state.to_owned(), detail.map(str::to_owned));
            WorkerReport::of(
                WorkerRole::Targets,
                WorkerStatus { state, detail, broker_connected, ..WorkerStatus::default() },
            )
        };
        assert!(report("ready", None, Some(true)).is_healthy());
        assert!(report("working", None, None).is_healthy());
        assert!(!report("waiting", Some("no space left on device"), Some(true)).is_healthy());
        assert!(!report("working", Some("no space left on device"), Some(true)).is_healthy());
        assert!(!report("alarm", Some("below the floor"), Some(true)).is_healthy());
        assert!(!report("starting", None, Some(true)).is_healthy());
        assert!(!report("ready", None, Some(false)).is_healthy());
        assert!(!WorkerReport::absent(WorkerRole::Targets, "not running").is_healthy());
    }
}
