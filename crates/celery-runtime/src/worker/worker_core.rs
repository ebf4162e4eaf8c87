//! The state shared by all parts of one worker.

use std::{collections::HashMap, sync::Arc, time::Duration};

use celery_protocol::Routes;
use tracing::Span;

use super::{
    control::RemoteControl,
    counters::WorkerCounters,
    events::WorkerEvents,
    handler::{RegisteredTask, TaskGuard},
    registry::WorkerRegistry,
    run_table::RunTable,
};
use crate::{backend::SharedBackend, broker::SharedBroker};

/// The connections, settings and tables of one worker.
pub(super) struct WorkerCore {
    pub broker: SharedBroker,
    pub backend: SharedBackend,
    /// The node name, `name@host`.
    pub name: String,
    /// The span to log in; without one, [`run`](super::Worker::run) makes one that has the name.
    pub span: Option<Span>,
    /// Sent as the origin of the tasks that follow a task.
    pub origin: String,
    pub registry: Arc<WorkerRegistry>,
    pub routes: Routes,
    pub grace: Duration,
    pub max_hold: Duration,
    /// Set in a worker that holds no task for its `eta`: those further away are refused.
    pub max_eta: Option<Duration>,
    pub max_follow_ups: usize,
    pub tasks: HashMap<String, RegisteredTask>,
    pub track_started: bool,
    pub result_extended: bool,
    pub runs: RunTable,
    pub guard: Option<TaskGuard>,
    pub counters: Arc<WorkerCounters>,
    pub remote_control: RemoteControl,
    pub events: WorkerEvents,
}
