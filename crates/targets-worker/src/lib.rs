//! The targets-worker: signs what the monitor (or an operator) brings in, one commit record a batch.

mod add;
mod ingest;
mod policy;
mod remove;
mod role;

use std::sync::Arc;

use celery_runtime::Arguments;
use fleet::contract::{ADD_TARGETS, AddTargets, REMOVE_TARGETS, RemoveTargets, TARGETS_QUEUE};
use fleet::{Context, FleetError, WorkerInfo, WorkerRole, signing, tasks};

pub use ingest::{IngestError, MAX_TARGET_BYTES, list_digest};
pub use role::Targets;

/// What this worker is.
pub const WORKER: WorkerInfo = WorkerInfo {
    name: TARGETS_QUEUE,
    role: WorkerRole::Targets,
    about: "Signs the targets role of a TUF repository: hashes target files and lists them, in bins if configured",
};

/// Runs the worker until `context.shutdown`.
///
/// # Errors
/// [`FleetError`] when it cannot go on.
pub async fn run(context: Context) -> Result<(), FleetError> {
    let (fs, config) = (context.fs.clone(), context.config.clone());
    let open = move || Targets::open(&fs, &config);
    signing::run(context, TARGETS_QUEUE, open, |builder, shared| {
        let adding = Arc::clone(&shared);
        builder
            .task(ADD_TARGETS, move |task, arguments: Arguments| {
                let shared = Arc::clone(&adding);
                async move {
                    let arguments: AddTargets = arguments.bind(&["batch", "targets"])?;
                    let id = task.task_id.clone();
                    let result = shared.with(ADD_TARGETS, move |role, now| role.add(&arguments, &id, now)).await?;
                    tasks::answer(&result)
                }
            })
            .task(REMOVE_TARGETS, move |task, arguments: Arguments| {
                let shared = Arc::clone(&shared);
                async move {
                    tasks::operator_only(&task)?;
                    let arguments: RemoveTargets = arguments.bind(&["targets", "request_id", "expected"])?;
                    let result = shared.with(REMOVE_TARGETS, move |role, now| role.remove(&arguments, now)).await?;
                    tasks::answer(&result)
                }
            })
    })
    .await
}
