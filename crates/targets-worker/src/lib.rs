//! The targets-worker: signs the drops of the monitor and the loose files of an operator, one commit record per batch.

mod add;
mod error;
mod fault;
mod ingest;
mod kept_names;
mod limits;
mod policy;
mod release_check;
mod remove;
mod role;
mod room;

use std::sync::Arc;

use celery_runtime::Arguments;
use fleet::contract::{ADD_TARGETS, AddTargets, REMOVE_TARGETS, RemoveTargets, TARGETS_QUEUE};
use fleet::{Context, FleetError, WorkerInfo, WorkerRole, signing, tasks};

pub use fault::TargetFault;
pub use ingest::IngestError;
pub use limits::MAX_TARGET_BYTES;
pub use role::TargetsWorker;

/// The name and purpose of this worker.
pub const WORKER: WorkerInfo = WorkerInfo {
    name: TARGETS_QUEUE,
    role: WorkerRole::Targets,
    about: "Signs the targets role of a TUF repository: hashes target files and lists them, in bins if configured",
};

/// Runs the worker until `context.shutdown`.
///
/// # Errors
/// [`FleetError`]: it cannot continue.
pub async fn run(context: Context) -> Result<(), FleetError> {
    let (fs, config) = (context.fs.clone(), context.config.clone());
    let open = move || TargetsWorker::open(&fs, &config);
    signing::run(context, open, |builder, shared| {
        let adding = Arc::clone(&shared);
        builder
            .task(ADD_TARGETS, move |task, arguments: Arguments| {
                let shared = Arc::clone(&adding);
                async move {
                    let arguments: AddTargets = arguments.bind(&["batch", "targets"])?;
                    let id = task.task_id.clone();
                    let health = shared.health().clone();
                    let work = move |role: &mut TargetsWorker, now| {
                        let result = role.add(&arguments, &id, now)?;
                        if result.record.is_some() && !result.already_done {
                            health.worked(now);
                        }
                        Ok(result)
                    };
                    tasks::answer(&shared.with(ADD_TARGETS, work).await?)
                }
            })
            .task(REMOVE_TARGETS, move |task, arguments: Arguments| {
                let shared = Arc::clone(&shared);
                async move {
                    tasks::operator_only(&task)?;
                    let arguments: RemoveTargets = arguments.bind(&["targets", "request_id", "expected"])?;
                    let health = shared.health().clone();
                    let work = move |role: &mut TargetsWorker, now| {
                        let result = role.remove(&arguments, now)?;
                        if result.record.is_some() && !result.already_done {
                            health.worked(now);
                        }
                        Ok(result)
                    };
                    tasks::answer(&shared.with(REMOVE_TARGETS, work).await?)
                }
            })
    })
    .await
}
