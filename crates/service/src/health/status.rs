//! The body of `/status`.

use std::fmt;

use serde::Serialize;

/// The part of a status that every worker process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStatus {
    /// The worker's name.
    pub worker: String,
    /// The name of this process among its kind.
    pub instance: String,
    /// Software version.
    pub version: String,
    /// `starting`, `waiting`, `ready`, `working` or `alarm`.
    pub state: &'static str,
    /// The missing thing, or the reason of the alarm.
    pub detail: Option<String>,
    /// Whether the broker is connected; `None` for a worker without one.
    pub broker_connected: Option<bool>,
    /// End of the last piece of work that changed something, `YYYY-MM-DDTHH:MM:SSZ`.
    pub last_work: Option<String>,
}

/// The body of `/status` in one system: the fields of [`ProcessStatus`] in that system's form, and its own fields.
pub trait StatusBody: Clone + fmt::Debug + Serialize + Send + Sync + 'static {
    /// Overwrites the fields that come from the process.
    fn set_process(&mut self, process: ProcessStatus);
}
