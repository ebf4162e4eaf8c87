//! The report of `rugged status`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::drops::DropReport;
use super::workers::WorkerReport;
use crate::verify::VisibleRole;

/// The result, as `--json` prints it.
#[derive(Serialize)]
pub struct StatusReport {
    /// The broker or the socket; absent when no fleet is running, or the broker cannot be reached.
    pub via: Option<String>,
    /// Why there is no connection to the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Every worker, and every replica.
    pub workers: Vec<WorkerReport>,
    /// The repository as clients see it; absent when this machine cannot read it.
    pub repository: Option<RepositoryReport>,
    /// Number of drops by stage, from the drop directory if this machine can read it, else from the monitor-worker. Each drop
    /// counts once.
    pub drops: BTreeMap<String, u64>,
    /// The first drops of each stage. Where this machine cannot read the drop directory, those that the monitor-worker names.
    pub waiting: Vec<DropReport>,
    /// Number of drops that are not in `waiting`, by stage, where there are any.
    pub more: BTreeMap<String, u64>,
    /// Whether every worker answered and does its job, and the repository, if readable, verifies.
    pub ok: bool,
}

/// The repository: its roles, and the reason if it does not verify.
#[derive(Serialize)]
pub struct RepositoryReport {
    /// The directory of its metadata.
    pub metadata: String,
    /// Whether it verifies.
    pub verified: bool,
    /// Why it does not verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The top-level roles that verified.
    pub roles: Vec<VisibleRole>,
}
