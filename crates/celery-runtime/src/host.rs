//! This process on this machine, as Celery names it.

/// The host name; `localhost` if there is none.
pub(crate) fn name() -> String {
    hostname::get().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The origin of tasks that this process sends: `gen` with its process id, and the host name.
pub(crate) fn origin() -> String {
    format!("gen{}@{}", std::process::id(), name())
}
