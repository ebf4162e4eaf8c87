//! The tasks every worker answers, the guards in front of all tasks, and the serving of a queue.

use std::time::Duration;

use celery_runtime::client::Client;
use celery_runtime::worker::{RemoteControl, TaskContext, Worker, WorkerBuilder, WorkerEvents};
use celery_runtime::{Arguments, TaskError};
use serde::Serialize;
use serde_json::Value;

use crate::contract::{ADMIN_EXCHANGE, PING, REPOSITORY_HEADER, STATUS};
use crate::{Config, Context, FleetError, exceptions};

/// Few messages: a role has few tasks, and its replicas share the queue.
const PREFETCH: u16 = 64;

/// How far away the `eta` of a task may be: a sender's clock may be ahead. Further ones are refused, because tasks that
/// wait in a worker would keep the tasks of the fleet out.
const MAX_ETA: Duration = Duration::from_secs(10);

/// Tasks that may follow a task by its message. The longest useful chain has four: the steps of a release.
const MAX_FOLLOW_UPS: usize = 16;

/// A worker on the queue of its role that answers `ping` and `status` without waiting for work, and that operators reach through
/// [`ADMIN_EXCHANGE`].
#[must_use]
pub fn builder(context: &Context) -> WorkerBuilder {
    let queue = context.worker.role.queue();
    let health = context.health.clone();
    let events = match context.config.process.remote_control {
        RemoteControl::Off => WorkerEvents::Off,
        RemoteControl::Inspect | RemoteControl::Full => WorkerEvents::Worker,
    };
    Worker::builder(context.broker.clone())
        .name(format!("{queue}@{}", context.config.process.instance))
        // It has the worker's name and instance, so a span with the node name would repeat them.
        .span(context.span.clone())
        .remote_control(context.config.process.remote_control)
        .events(events)
        .queue(queue)
        .prefetch(PREFETCH)
        .refuse_eta(MAX_ETA)
        .max_follow_ups(MAX_FOLLOW_UPS)
        .also_bound_to(ADMIN_EXCHANGE)
        .guard({
            let ours = context.config.repository_id.clone();
            move |task| of_our_repository(task, ours.as_deref())
        })
        .task(PING, |_, arguments: Arguments| async move {
            arguments.bind_none()?;
            Ok(Value::from("pong"))
        })
        .task(STATUS, move |_, arguments: Arguments| {
            let health = health.clone();
            async move {
                arguments.bind_none()?;
                answer(&health.status())
            }
        })
}

/// Serves the queue of the worker until its shutdown. However serving ends, it cancels `context.shutdown`, so that the worker's loops end too: a
/// worker that no task reaches has to be restarted.
///
/// # Errors
/// When the same task was added twice, when the broker refuses the queue, or when serving ends without a shutdown.
pub async fn serve(context: &Context, builder: WorkerBuilder) -> Result<(), FleetError> {
    let (queue, shutdown) = (context.worker.role.queue(), &context.shutdown);
    let worker = builder.build().inspect_err(|_| shutdown.cancel())?;
    let served = worker.run(shutdown.clone()).await;
    let asked = shutdown.is_cancelled();
    shutdown.cancel();
    match served {
        // A broker that ends during the shutdown is no failure.
        Err(error) if asked => tracing::debug!(task.queue = queue, %error, "serving ended during shutdown"),
        Err(source) => return Err(FleetError::Queue { queue, source }),
        Ok(()) if !asked => return Err(FleetError::ServingEnded { queue }),
        Ok(()) => {}
    }
    Ok(())
}

/// A result as JSON.
///
/// # Errors
/// `tuf_fleet.exceptions.Internal` when it cannot be written as JSON.
pub fn answer<T: Serialize>(result: &T) -> Result<Value, TaskError> {
    serde_json::to_value(result).map_err(|error| exceptions::exception(exceptions::INTERNAL, error.to_string()))
}

/// A client whose tasks name the configured repository.
#[must_use]
pub fn for_repository(client: Client, config: &Config) -> Client {
    match &config.repository_id {
        Some(id) => client.with_header(REPOSITORY_HEADER, id.as_str()),
        None => client,
    }
}

/// Refuses a task that names another repository than ours. Where one of the two names none, the task passes.
fn of_our_repository(task: &TaskContext, ours: Option<&str>) -> Result<(), TaskError> {
    let named = task.headers.get(REPOSITORY_HEADER).map(|value| value.to_json());
    match (ours, named) {
        (None, _) | (_, None | Some(Value::Null)) => Ok(()),
        (Some(ours), Some(Value::String(named))) if named == ours => Ok(()),
        (Some(ours), Some(_)) => {
            let message = format!("{} is for a repository other than {ours} (repository_id)", task.task_name);
            Err(exceptions::exception(exceptions::NOT_PERMITTED, message))
        }
    }
}

/// Refuses a task that did not come through [`ADMIN_EXCHANGE`], which only the operator's broker user may write: under
/// `rpc://` every worker can write to every queue by the default exchange, so a queue does not show who sent a task.
///
/// # Errors
/// `tuf_fleet.exceptions.NotPermitted` for every other exchange, and for every task on a broker where the sender names the
/// exchange freely (Redis).
pub fn operator_only(task: &TaskContext) -> Result<(), TaskError> {
    operator_only_use(task, &task.task_name)
}

/// As [`operator_only`], for a use of a task that others may send too; `what` names it for the refusal.
///
/// # Errors
/// As [`operator_only`].
pub fn operator_only_use(task: &TaskContext, what: &str) -> Result<(), TaskError> {
    let message = if !task.exchange_is_guarded {
        format!("{what} is for operators alone, and this broker cannot tell who sent it: use RabbitMQ")
    } else if task.exchange == ADMIN_EXCHANGE {
        return Ok(());
    } else {
        format!("only an operator may send {what}, through the exchange {ADMIN_EXCHANGE}")
    };
    Err(exceptions::exception(exceptions::NOT_PERMITTED, message))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use celery_protocol::{Signature, TaskRequest};
    use celery_runtime::broker::memory::MemoryBroker;
    use celery_runtime::broker::{Broker as _, Publish};
    use celery_runtime::client::SendOptions;
    use durable_fs::RealFs;
    use serde_json::Map;
    use service::{
        clock::ManualClock,
        telemetry::{LogFormat, captured_lines},
    };
    use tokio_util::sync::CancellationToken;
    use tracing::Instrument as _;

    use super::*;
    use crate::{WorkerInfo, roles::WorkerRole};

    async fn serve_and_end() {
        let config = Config::beneath(Path::new("/nonexistent")).build().unwrap();
        let worker = WorkerInfo { name: "snapshot-worker", role: WorkerRole::Snapshot, about: "" };
        let memory = MemoryBroker::new();
        let (broker, clock) = (Arc::new(memory.connect()), Arc::new(ManualClock::at(0)));
        let shutdown = CancellationToken::new();
        let context = Context::new(worker, Arc::new(config), Arc::new(RealFs), broker, clock, shutdown.clone());
        shutdown.cancel();
        let serving = serve(&context, builder(&context));
        serving.instrument(context.span.clone()).await.unwrap();
    }

    #[test]
    fn log_lines_of_serving_name_the_worker_and_not_its_node_too() {
        let lines = captured_lines(LogFormat::Json, || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve_and_end());
        });
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for message in ["worker started", "worker ended"] {
            let line = lines.iter().find(|line| line["message"] == message).unwrap();
            assert_eq!(line["worker"], "snapshot-worker");
            assert!(line.get("worker.instance").is_some() && line.get("worker.node").is_none(), "{line}");
        }
    }

    #[tokio::test]
    async fn the_work_of_the_fleet_does_not_wait_behind_tasks_for_later_or_long_chains() {
        let config = Config::beneath(Path::new("/nonexistent")).build().unwrap();
        let worker = WorkerInfo { name: "snapshot-worker", role: WorkerRole::Snapshot, about: "" };
        let memory = MemoryBroker::new();
        let (broker, clock) = (Arc::new(memory.connect()), Arc::new(ManualClock::at(0)));
        let shutdown = CancellationToken::new();
        let context = Context::new(worker, Arc::new(config), Arc::new(RealFs), broker.clone(), clock, shutdown.clone());
        broker.declare_task_queue(&"snapshot-worker".into()).await.unwrap();
        let client = Client::new(broker.clone()).await.unwrap();
        let hour = SendOptions { countdown: Some(Duration::from_secs(3_600)), ..SendOptions::default() };
        let mut foreign = Vec::new();
        for _ in 0..200 {
            foreign.push(client.send("snapshot-worker", PING, vec![], Map::new(), hour.clone()).await.unwrap());
        }
        let chain = (0..10_000).map(|_| Signature::new(PING, vec![]).immutable()).collect();
        let chain = TaskRequest::builder(PING, "chain").chain(chain).build();
        broker.publish(Publish::task("snapshot-worker", chain.to_message().unwrap())).await.unwrap();
        let serving = tokio::spawn(async move { serve(&context, builder(&context)).await });
        let answer = client.call("snapshot-worker", PING, Map::new(), Duration::from_secs(30)).await;
        assert_eq!(answer.unwrap(), "pong");
        for mut result in foreign {
            let error = result.get(Duration::from_secs(30)).await.unwrap_err().to_string();
            assert!(error.contains("no tasks for later"), "{error}");
        }
        shutdown.cancel();
        serving.await.unwrap().unwrap();
    }

    #[test]
    fn a_task_for_another_repository_is_refused() {
        let mut task = TaskContext::detached("add-targets", "id");
        assert!(of_our_repository(&task, Some("prod")).is_ok(), "python clients name none");
        task.headers.insert(REPOSITORY_HEADER, Value::from("prod"));
        assert!(of_our_repository(&task, Some("prod")).is_ok());
        assert!(of_our_repository(&task, None).is_ok(), "nothing is configured");
        for other in [Value::from("staging"), Value::from(7), Value::from(vec![1])] {
            task.headers.insert(REPOSITORY_HEADER, other);
            assert_eq!(of_our_repository(&task, Some("prod")).unwrap_err().exc_type, exceptions::NOT_PERMITTED);
        }
    }

    #[test]
    fn only_the_administrators_exchange_lets_an_operators_task_pass() {
        let mut task = TaskContext::detached("remove-targets", "id");
        for exchange in ["", "targets-worker", "rugged.admin2"] {
            task.exchange = exchange.into();
            let error = operator_only(&task).unwrap_err();
            assert_eq!(
                (error.exc_module.as_str(), error.exc_type.as_str()),
                (exceptions::MODULE, exceptions::NOT_PERMITTED)
            );
        }
        task.exchange = ADMIN_EXCHANGE.into();
        assert!(operator_only(&task).is_ok());
        task.exchange_is_guarded = false;
        assert!(operator_only(&task).unwrap_err().to_string().contains("cannot tell who sent it"));
    }
}
