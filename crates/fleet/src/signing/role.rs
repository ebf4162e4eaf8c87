//! The interface of a signing role to the harness.

use std::collections::BTreeMap;

use tuf_core::time::UtcTime;
use tuf_repository::retention::Collected;
use tuf_repository::roles::RoleUpdate;

use super::error::SigningError;
use crate::roles::WorkerRole;

/// One role that signs. Every method may block. The harness calls them on a blocking thread, one at a time.
pub trait SigningRole: Send + 'static {
    /// Reads the state below, compares, and writes the next version or nothing. Renews metadata near its expiry; with `force`,
    /// all metadata. Safe to repeat after a crash at any point.
    ///
    /// # Errors
    /// See [`SigningError`].
    fn reconcile(&mut self, now: UtcTime, force: bool) -> Result<ReconcileOutcome, SigningError>;

    /// Deletes files out of use, a bounded number per call. Returns whether the next call should follow immediately. The harness
    /// calls it about once an hour, after a successful reconciliation. No other work depends on it.
    ///
    /// # Errors
    /// See [`SigningError`]. The harness logs it, and the role continues.
    fn tidy(&mut self, now: UtcTime) -> Result<bool, SigningError> {
        let _ = now;
        Ok(false)
    }

    /// The state for `status` and the metrics, as the last work read it. It must be cheap.
    fn report(&self, now: UtcTime) -> RoleReport;
}

/// The result of a reconciliation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcileOutcome {
    /// The role's current version; 0 before there is one.
    pub version: u64,
    /// Whether something was written.
    pub changed: bool,
    /// New version per role that was renewed for its expiry (or by force), bins excepted.
    pub renewed: BTreeMap<String, u64>,
    /// Number of bins renewed.
    pub bins_renewed: u64,
    /// Snapshot: the newest record that the version covers.
    pub record: Option<u64>,
    /// Timestamp: the version of the snapshot that the served timestamp names.
    pub snapshot: Option<u64>,
}

impl ReconcileOutcome {
    /// The result for a role of one file.
    #[must_use]
    pub fn of(role: WorkerRole, update: &RoleUpdate) -> Self {
        let renewed = update.changed.then(|| (role.to_string(), update.version));
        Self {
            version: update.version,
            changed: update.changed,
            renewed: renewed.into_iter().collect(),
            bins_renewed: 0,
            record: update.record,
            snapshot: update.snapshot,
        }
    }
}

/// Logs the deletions of retention, and returns the value for [`SigningRole::tidy`].
#[must_use]
pub fn tidied(collected: Collected) -> bool {
    if collected.total() > 0 {
        tracing::info!(
            retention.metadata = collected.metadata,
            retention.targets = collected.targets,
            retention.records = collected.records,
            retention.temporary = collected.temporary,
            "unused files deleted"
        );
    }
    collected.more
}

/// The state of a role for `status` and the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleReport {
    /// Version of the role's metadata, once there is one.
    pub role_version: Option<u64>,
    /// Expiry of that version.
    pub expires: Option<UtcTime>,
    /// Time of the next renewal. The harness reconciles at that time.
    pub next_renewal: Option<UtcTime>,
    /// Expiry of other metadata that clients need and this role reads, by name: `root`, which no worker renews, and the earliest
    /// of all `bins`.
    pub also_expire: BTreeMap<&'static str, UtcTime>,
    /// The floor, by name.
    pub floor: BTreeMap<String, u64>,
    /// Conditions that an operator must look at although the role goes on, such as a garbage file or a setting that has no
    /// effect. Each names its remedy.
    pub notices: Vec<String>,
}
