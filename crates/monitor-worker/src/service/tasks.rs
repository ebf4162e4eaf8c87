//! The tasks of the monitor-worker.

use std::sync::Arc;

use celery_runtime::Arguments;
use celery_runtime::worker::WorkerBuilder;
use fleet::contract::{FIND_NEW_TARGETS, PAUSE_PROCESSING, Pause, REFRESH_EXPIRY, RESUME_PROCESSING, RefreshExpiry};
use fleet::tasks;

use super::monitor_service::MonitorService;

pub(super) fn add_tasks(builder: WorkerBuilder, service: &Arc<MonitorService>) -> WorkerBuilder {
    let (finding, refreshing) = (service.clone(), service.clone());
    let builder = builder
        .task(FIND_NEW_TARGETS, move |_, arguments: Arguments| {
            let service = finding.clone();
            async move {
                arguments.bind_none()?;
                tasks::answer(&service.find_new_targets().await?)
            }
        })
        .task(REFRESH_EXPIRY, move |_, arguments: Arguments| {
            let service = refreshing.clone();
            async move {
                let arguments: RefreshExpiry = arguments.bind(&["force"])?;
                tasks::answer(&service.refresh_expiry(&arguments).await?)
            }
        });
    add_pause_task(add_pause_task(builder, service, PAUSE_PROCESSING, true), service, RESUME_PROCESSING, false)
}

/// A task that sets the pause switch to `paused`, for operators only.
fn add_pause_task(
    builder: WorkerBuilder,
    service: &Arc<MonitorService>,
    task: &'static str,
    paused: bool,
) -> WorkerBuilder {
    let service = service.clone();
    builder.task(task, move |task, arguments: Arguments| {
        let service = service.clone();
        async move {
            tasks::operator_only(&task)?;
            let Pause { reason } = arguments.bind(&["reason"])?;
            tasks::answer(&service.set_paused(paused, reason).await?)
        }
    })
}
