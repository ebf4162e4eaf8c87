//! The snapshot-worker: folds the commit log into `snapshot.json`.

use fleet::contract::{SNAPSHOT_QUEUE, UPDATE_SNAPSHOT};
use fleet::signing::{self, ReconcileOutcome, RoleReport, SigningError, SigningRole};
use fleet::{Context, FleetError, KeyRole, WorkerInfo, WorkerRole, repository};
use tuf_core::time::UtcTime;
use tuf_repository::retention::Retention;
use tuf_repository::roles::SnapshotRole;

/// The name and purpose of this worker.
pub const WORKER: WorkerInfo = WorkerInfo {
    name: SNAPSHOT_QUEUE,
    role: WorkerRole::Snapshot,
    about: "Signs the snapshot role of a TUF repository: adds commit records to snapshot.json",
};

#[derive(Debug)]
struct SnapshotWorker {
    role: SnapshotRole,
    retention: Option<Retention>,
}

impl SigningRole for SnapshotWorker {
    fn reconcile(&mut self, now: UtcTime, force: bool) -> Result<ReconcileOutcome, SigningError> {
        Ok(ReconcileOutcome::of(WorkerRole::Snapshot, &self.role.update(now, force)?))
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
                ("record".to_owned(), floor.record.map_or(0, |record| record.number)),
                ("snapshot".to_owned(), floor.snapshot),
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
        let trust = repository::trust(&fs, &config, KeyRole::Snapshot)?;
        let floor = repository::floor(&fs, &config, WorkerRole::Snapshot)?;
        let lifetime = repository::lifetime(&config.roles.snapshot);
        let role = SnapshotRole::new(repository::stores(&fs, &config), trust, lifetime, floor);
        Ok(SnapshotWorker { role, retention: repository::retention(&fs, &config, WorkerRole::Snapshot)? })
    };
    let add_tasks = |builder, shared| signing::add_update(builder, UPDATE_SNAPSHOT, shared);
    signing::run(context, open, add_tasks).await
}
