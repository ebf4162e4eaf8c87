//! Which events a worker sends.

/// Which events a worker sends without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkerEvents {
    /// None.
    Off,
    /// A heartbeat every two seconds; events of tasks once `enable_events` asks for them.
    #[default]
    Worker,
    /// Events of tasks too, as `celery worker -E` does.
    Tasks,
}
