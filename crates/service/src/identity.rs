//! The names of a worker process.

/// The names of a worker process, as its status, metrics and connections show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The worker's name, such as `targets-worker`.
    pub worker: String,
    /// Software version.
    pub version: String,
    /// The name of this process among its kind.
    pub instance: String,
}

impl ProcessIdentity {
    /// The process `instance` of `worker` in `version`.
    #[must_use]
    pub fn new(worker: &str, version: &str, instance: &str) -> Self {
        Self { worker: worker.to_owned(), version: version.to_owned(), instance: instance.to_owned() }
    }
}
