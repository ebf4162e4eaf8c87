//! What a signing worker is to the harness.

use std::collections::BTreeMap;

use celery_runtime::TaskError;
use tuf_core::time::UtcTime;
use tuf_repository::retention::Collected;
use tuf_repository::roles::Update;

use crate::exceptions;
use crate::roles::WorkerRole;

/// One role that signs. Every method blocks; the harness calls them on a thread that may, one at a time.
pub trait SigningRole: Send + 'static {
    /// Reads the state below, compares, writes the next version or nothing; renews what is near its expiry, or
    /// everything when `force` is set. Safe to repeat after a crash anywhere.
    ///
    /// # Errors
    /// See [`RoleError`].
    fn reconcile(&mut self, now: UtcTime, force: bool) -> Result<Progress, RoleError>;

    /// Deletes what is out of use, a bounded stretch at a time; says whether there is more to do at once. The harness
    /// asks about once an hour, after a reconciliation that succeeded, and nothing else depends on it.
    ///
    /// # Errors
    /// See [`RoleError`]. It is logged, and the role goes on.
    fn tidy(&mut self, now: UtcTime) -> Result<bool, RoleError> {
        let _ = now;
        Ok(false)
    }

    /// What `status` and the metrics say. Cheap: it only repeats what the last work has learnt.
    fn report(&self, now: UtcTime) -> RoleReport;
}

/// What a reconciliation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The role's current version; 0 before there is one.
    pub version: u64,
    /// Whether something was written.
    pub changed: bool,
    /// New version per role that was renewed for its expiry (or by force), bins excepted.
    pub renewed: BTreeMap<String, u64>,
    /// How many bins were renewed.
    pub bins_renewed: u64,
}

impl Progress {
    /// Of a role of one file.
    #[must_use]
    pub fn of(role: WorkerRole, update: &Update) -> Self {
        let renewed = update.changed.then(|| (role.to_string(), update.version));
        Self {
            version: update.version,
            changed: update.changed,
            renewed: renewed.into_iter().collect(),
            bins_renewed: 0,
        }
    }
}

/// Says in the log what retention deleted, and gives what [`SigningRole::tidy`] returns.
#[must_use]
pub fn tidied(collected: Collected) -> bool {
    if collected.total() > 0 {
        tracing::info!(
            retention.metadata = collected.metadata,
            retention.targets = collected.targets,
            retention.records = collected.records,
            retention.temporary = collected.temporary,
            "deleted {} files that are out of use",
            collected.total()
        );
    }
    collected.more
}

/// What a role says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleReport {
    /// Version of the role's metadata, once there is one.
    pub role_version: Option<u64>,
    /// When that expires.
    pub expires: Option<UtcTime>,
    /// When it will be renewed. The harness reconciles at that time without being asked.
    pub next_renewal: Option<UtcTime>,
    /// What else a client needs and this role sees, by name, and when it expires: `root`, which no worker renews, and of all
    /// `bins` the first.
    pub also_expire: BTreeMap<&'static str, UtcTime>,
    /// The floor, by name.
    pub floor: BTreeMap<String, u64>,
}

/// Why a role did not do its work. Messages are shown to operators and callers: no secrets.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RoleError {
    /// Something that is not wrong is not there yet: no root, no record. Tried again with a growing pause.
    #[error("waiting: {0}")]
    Waiting(String),
    /// Below the floor, a clock that went back, a bad signature: nothing is signed until an operator acts. Looked at
    /// again every `reconcile_period`.
    #[error("alarm: {0}")]
    Alarm(String),
    /// Space, mount, lock, key device. Tried again with a growing pause.
    #[error("{0}")]
    Infrastructure(String),
    /// The caller's fault; says nothing of the role.
    #[error("refused: {0}")]
    Refused(TaskError),
    /// A panic, contained: the role is opened anew.
    #[error("internal error: {0}")]
    Internal(String),
}

impl RoleError {
    /// The caller's fault, as `tuf_fleet.exceptions.Refused`.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused(exceptions::exception(exceptions::REFUSED, message))
    }
}

impl From<RoleError> for TaskError {
    fn from(error: RoleError) -> Self {
        match error {
            RoleError::Waiting(message) => exceptions::exception(exceptions::NOT_READY, message),
            RoleError::Alarm(message) => exceptions::exception(exceptions::ALARM, message),
            RoleError::Infrastructure(message) => exceptions::exception(exceptions::INFRASTRUCTURE, message),
            RoleError::Refused(error) => error,
            RoleError::Internal(message) => exceptions::exception(exceptions::INTERNAL, message),
        }
    }
}
