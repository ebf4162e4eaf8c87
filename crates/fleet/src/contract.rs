//! The task contract: queues, task names, arguments and results, in one place.
//!
//! A queue has the name of its worker. Arguments travel as keyword arguments (positional ones are accepted in the order of
//! the fields), results are JSON objects. A task is a hint: it names drops, files and roles, and never carries a value
//! that is signed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use service::health::{ProcessStatus, StatusBody};

/// Queue (and worker name) of the monitor.
pub const MONITOR_QUEUE: &str = "monitor-worker";
/// Queue (and worker name) of the targets role.
pub const TARGETS_QUEUE: &str = "targets-worker";
/// Queue (and worker name) of the snapshot role.
pub const SNAPSHOT_QUEUE: &str = "snapshot-worker";
/// Queue (and worker name) of the timestamp role.
pub const TIMESTAMP_QUEUE: &str = "timestamp-worker";

/// The exchange for tasks that only an operator may send: only the operator's broker user may write to it. The routing
/// key is the queue.
pub const ADMIN_EXCHANGE: &str = "rugged.admin";

/// The header in which our clients name the repository of a task; absent where it is not configured, and in tasks of
/// Python clients.
pub const REPOSITORY_HEADER: &str = "rugged_repository";

/// Every worker: answers `"pong"`.
pub const PING: &str = "ping";
/// Every worker: answers a [`WorkerStatus`].
pub const STATUS: &str = "status";
/// Monitor: takes ready drops in and publishes them; answers a [`FindNewTargets`].
pub const FIND_NEW_TARGETS: &str = "find-new-targets";
/// Monitor: stops intake, durably; arguments [`Pause`]; answers a [`Processing`].
pub const PAUSE_PROCESSING: &str = "pause-processing";
/// Monitor: resumes intake, durably; arguments [`Pause`]; answers a [`Processing`].
pub const RESUME_PROCESSING: &str = "resume-processing";
/// Monitor and signing roles: renews metadata; arguments [`RefreshExpiry`]; answers a [`RefreshExpiryResult`].
pub const REFRESH_EXPIRY: &str = "refresh-expiry";
/// Targets: signs inbound files; arguments [`AddTargets`]; answers an [`AddTargetsResult`].
pub const ADD_TARGETS: &str = "add-targets";
/// Targets: removes targets; arguments [`RemoveTargets`]; answers a [`RemoveTargetsResult`].
pub const REMOVE_TARGETS: &str = "remove-targets";
/// Snapshot: signs new records into the snapshot; answers an [`UpdateResult`].
pub const UPDATE_SNAPSHOT: &str = "update-snapshot";
/// Timestamp: makes the newest snapshot visible; answers an [`UpdateResult`].
pub const UPDATE_TIMESTAMP: &str = "update-timestamp";

/// Arguments of [`ADD_TARGETS`]. With neither field: every loose inbound file, as in Rugged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddTargets {
    /// Name of a batch directory below the inbound directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Loose inbound files, relative to the inbound directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<String>>,
}

/// The outcome of one drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropVerdict {
    /// The drop's name (`X` of `tuf_ready_X`).
    pub name: String,
    /// Digest of its file list, hex.
    pub digest: String,
    /// The reason of a rejection; absent when the drop was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// Number of its files that became targets.
    pub targets: u64,
    /// The commit record that holds it, also one of an earlier call; absent for a rejected drop, and in the answer of a
    /// targets-worker that does not know this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
}

/// A drop of a batch that was not added and has to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropWaits {
    /// The drop's name.
    pub name: String,
    /// Digest of its file list, hex.
    pub digest: String,
    /// Why, with numbers where space is missing.
    pub reason: String,
}

/// Result of [`ADD_TARGETS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddTargetsResult {
    /// The newest commit record that holds a drop or file of this call, also when an earlier call made it; absent when
    /// no record holds any.
    pub record: Option<u64>,
    /// Version per changed role other than bins; changed bins are counted under `bins_changed`.
    pub versions: BTreeMap<String, u64>,
    /// Number of bins that changed.
    pub bins_changed: u64,
    /// Number of targets that were added or replaced.
    pub targets_added: u64,
    /// One verdict per drop of the batch (bounded by the batch), except those in `waiting`.
    pub drops: Vec<DropVerdict>,
    /// The drops of the batch that were not added and have to be asked for again later, through no fault of their producers. A
    /// monitor that does not know this field misses their verdicts, and ends none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<DropWaits>,
    /// True when an earlier delivery had done all the work.
    #[serde(default)]
    pub already_done: bool,
}

/// Arguments of [`REMOVE_TARGETS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveTargets {
    /// Target paths.
    pub targets: Vec<String>,
    /// Makes the call idempotent: a request that is in a record already returns its stored result.
    pub request_id: String,
    /// Precondition: SHA-256 (hex) per target path. When a target has another hash, no target is removed.
    #[serde(default)]
    pub expected: BTreeMap<String, String>,
}

/// Result of [`REMOVE_TARGETS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveTargetsResult {
    /// The commit record; absent when nothing changed.
    pub record: Option<u64>,
    /// Number of targets that were removed.
    pub removed: u64,
    /// Number of targets that did not exist.
    pub not_found: u64,
    /// True when an earlier delivery had done the work.
    #[serde(default)]
    pub already_done: bool,
}

/// Result of [`UPDATE_SNAPSHOT`] and [`UPDATE_TIMESTAMP`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateResult {
    /// The role's current version; for the timestamp that of the served one, as read back from its served name.
    pub version: u64,
    /// Whether this call wrote that version.
    pub changed: bool,
    /// [`UPDATE_SNAPSHOT`]: the newest commit record that the snapshot of this version covers. Absent in the answer of a worker
    /// that does not know this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// [`UPDATE_TIMESTAMP`]: the version of the snapshot that the served timestamp names. Absent in the answer of a worker that
    /// does not know this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<u64>,
}

/// Arguments of [`REFRESH_EXPIRY`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshExpiry {
    /// Renew even when no metadata is near its expiry. Only an operator may send it, and only to the signing roles
    /// themselves: each call writes every role again, and the monitor is no operator.
    #[serde(default)]
    pub force: bool,
}

/// Result of [`REFRESH_EXPIRY`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshExpiryResult {
    /// New version per renewed role other than bins.
    pub renewed: BTreeMap<String, u64>,
    /// Number of bins that were renewed.
    pub bins_renewed: u64,
}

/// Arguments of [`PAUSE_PROCESSING`] and [`RESUME_PROCESSING`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// The reason, which `status` shows.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Whether the monitor takes drops in, or is paused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processing {
    /// True while intake is stopped.
    pub paused: bool,
    /// The operator's reason.
    #[serde(default)]
    pub reason: Option<String>,
    /// The time of the change, `YYYY-MM-DDTHH:MM:SSZ`.
    #[serde(default)]
    pub since: Option<String>,
}

/// Result of [`FIND_NEW_TARGETS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindNewTargets {
    /// Drops taken in by this run.
    pub taken: u64,
    /// Drops published by this run.
    pub published: u64,
    /// Drops rejected by this run.
    pub rejected: u64,
    /// Drops still waiting.
    pub waiting: u64,
}

/// Result of [`STATUS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// The worker's name, which is also its queue's.
    #[serde(default)]
    pub worker: String,
    /// The name of this process among its kind.
    #[serde(default)]
    pub instance: String,
    /// Software version.
    pub version: String,
    /// Role: `monitor`, `targets`, `snapshot` or `timestamp`.
    pub role: String,
    /// `starting`, `waiting` (see `detail`), `ready`, `working` or `alarm` (see `detail`).
    pub state: String,
    /// The missing thing, or the reason of the alarm.
    #[serde(default)]
    pub detail: Option<String>,
    /// Whether the broker is connected; absent for a worker without one.
    #[serde(default)]
    pub broker_connected: Option<bool>,
    /// End of the last piece of work that changed something, `YYYY-MM-DDTHH:MM:SSZ`.
    #[serde(default)]
    pub last_work: Option<String>,
    /// The role's own metadata version; for the targets role that of `targets`.
    #[serde(default)]
    pub role_version: Option<u64>,
    /// Expiry of this role's metadata.
    #[serde(default)]
    pub expires: Option<String>,
    /// Time of the next renewal.
    #[serde(default)]
    pub next_renewal: Option<String>,
    /// Expiry of other metadata that clients need and this worker reads, by name: `root`, and the earliest of all `bins`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub also_expire: BTreeMap<String, String>,
    /// The floor: the worker never signs below these numbers.
    #[serde(default)]
    pub floor: BTreeMap<String, u64>,
    /// Conditions that an operator must look at although the worker goes on, such as a garbage file or a setting that has no
    /// effect. Each names its remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// Whether intake is paused. Monitor only.
    #[serde(default)]
    pub processing: Option<Processing>,
    /// Number of drops that are ready, in processing, held and rejected, of published directories with late files, and of
    /// entries of the drop directory that look like a drop and are ignored; each counts once. Monitor only.
    #[serde(default)]
    pub drops: BTreeMap<String, u64>,
    /// The drops that have waited longest, and some ignored entries. Monitor only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingDrop>,
}

/// A drop that waits, or an entry of the drop directory that looks like a drop and is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingDrop {
    /// The drop's name (`X` of `tuf_ready_X`), or the whole name of an ignored entry.
    pub name: String,
    /// `ready`, `processing`, `held` or `ignored`.
    #[serde(default)]
    pub stage: String,
    /// Since when it waits, `YYYY-MM-DDTHH:MM:SSZ`; absent for an ignored entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why it is held or ignored; absent for a drop whose turn has not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl StatusBody for WorkerStatus {
    fn set_process(&mut self, process: ProcessStatus) {
        self.worker = process.worker;
        self.instance = process.instance;
        self.version = process.version;
        self.state = process.state.into();
        self.detail = process.detail;
        self.broker_connected = process.broker_connected;
        self.last_work = process.last_work;
    }
}
