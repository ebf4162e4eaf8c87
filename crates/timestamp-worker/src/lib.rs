//! The timestamp-worker: the only one that changes the metadata that clients see.

use fleet::contract::{TIMESTAMP_QUEUE, UPDATE_TIMESTAMP};
use fleet::signing::{self, ReconcileOutcome, RoleReport, SigningError, SigningRole};
use fleet::{Context, FleetError, KeyRole, WorkerInfo, WorkerRole, repository};
use tuf_core::time::UtcTime;
use tuf_repository::retention::Retention;
use tuf_repository::roles::{TimestampPolicy, TimestampRole};

/// The name and purpose of this worker.
pub const WORKER: WorkerInfo = WorkerInfo {
    name: TIMESTAMP_QUEUE,
    role: WorkerRole::Timestamp,
    about: "Signs the timestamp role of a TUF repository: makes the newest snapshot visible to clients",
};

#[derive(Debug)]
struct TimestampWorker {
    role: TimestampRole,
    retention: Option<Retention>,
}

impl SigningRole for TimestampWorker {
    fn reconcile(&mut self, now: UtcTime, force: bool) -> Result<ReconcileOutcome, SigningError> {
        Ok(ReconcileOutcome::of(WorkerRole::Timestamp, &self.role.update(now, force)?))
    }

    fn tidy(&mut self, now: UtcTime) -> Result<bool, SigningError> {
        let Some(retention) = &mut self.retention else { return Ok(false) };
        Ok(signing::tidied(self.role.collect(retention, now)?))
    }

    fn report(&self, _now: UtcTime) -> RoleReport {
        let floor = self.role.floor().get().unwrap_or_default();
        RoleReport {
            role_version: self.role.current().map(|(version, _)| version),
            expires: self.role.current().map(|(_, expires)| expires),
            next_renewal: self.role.next_renewal(),
            also_expire: [("root", self.role.trust().root().expires)].into(),
            floor: [
                ("root".to_owned(), floor.root),
                ("snapshot".to_owned(), floor.snapshot),
                ("timestamp".to_owned(), floor.timestamp),
            ]
            .into(),
            notices: self.role.notices().map(str::to_owned).collect(),
        }
    }
}

/// Runs the worker until `context.shutdown`.
///
/// # Errors
/// [`FleetError`]: it cannot continue.
pub async fn run(context: Context) -> Result<(), FleetError> {
    let (fs, config) = (context.fs.clone(), context.config.clone());
    let open = move || {
        let trust = repository::trust(&fs, &config, KeyRole::Timestamp)?;
        let floor = repository::floor(&fs, &config, WorkerRole::Timestamp)?;
        let policy = TimestampPolicy {
            lifetime: repository::lifetime(&config.roles.timestamp),
            store_targets: config.store_targets,
        };
        let role = TimestampRole::new(repository::stores(&fs, &config), trust, policy, floor);
        Ok(TimestampWorker { role, retention: repository::retention(&fs, &config, WorkerRole::Timestamp)? })
    };
    let add_tasks = |builder, shared| signing::add_update(builder, UPDATE_TIMESTAMP, shared);
    signing::run(context, open, add_tasks).await
}
