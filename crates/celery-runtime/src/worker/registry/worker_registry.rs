//! The registry of one worker.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    },
};

use celery_protocol::TaskRequest;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    event_listener::EventListener,
    events::TaskEvents,
    limits::{Shutdown, TimeLimits},
    rate::{TaskRate, TokenBucket},
    revoked::RevokedTasks,
    tracked::{TaskStage, TaskTracker, TrackedTask, TrackedTasks},
};
use crate::{
    broker::{Delivery, TaskQueue},
    clock,
    sync::lock,
};

/// The most queues a worker consumes.
const MAX_QUEUES: usize = 256;

/// The counter and the limits of one registered task.
#[derive(Debug, Default)]
struct TaskControls {
    total: AtomicU64,
    limits: Mutex<TimeLimits>,
    bucket: Arc<TokenBucket>,
}

/// The tasks, queues and limits of a worker, to watch and to steer; see the [module](crate::worker::registry).
///
/// One per worker; made by [`WorkerBuilder::build`](crate::worker::WorkerBuilder::build), reached by
/// [`Worker::registry`](crate::worker::Worker::registry).
pub struct WorkerRegistry {
    node: String,
    since: Timestamp,
    tasks: BTreeMap<String, TaskControls>,
    tracked: Arc<TrackedTasks>,
    revoked: Mutex<RevokedTasks>,
    queues: Mutex<Vec<TaskQueue>>,
    prefetch: AtomicU16,
    pub(in crate::worker) changed: Notify,
    warm: CancellationToken,
    stopping: OnceLock<CancellationToken>,
    pub(in crate::worker) cold: CancellationToken,
    pub(in crate::worker) events: EventListener,
}

impl WorkerRegistry {
    pub(in crate::worker) fn new(
        node: String,
        queues: Vec<TaskQueue>,
        prefetch: u16,
        tasks: impl IntoIterator<Item = (String, TimeLimits, Option<TaskRate>)>,
    ) -> Self {
        let tasks = tasks.into_iter().map(|(name, limits, rate)| {
            let state = TaskControls { limits: Mutex::new(limits), ..TaskControls::default() };
            state.bucket.set(rate);
            (name, state)
        });
        Self {
            node,
            since: clock::now(),
            tasks: tasks.collect(),
            tracked: Arc::default(),
            revoked: Mutex::default(),
            queues: Mutex::new(queues),
            prefetch: AtomicU16::new(prefetch),
            changed: Notify::new(),
            warm: CancellationToken::new(),
            stopping: OnceLock::new(),
            cold: CancellationToken::new(),
            events: EventListener::default(),
        }
    }

    /// The node name, `name@host`.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// When the worker was built.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    // --- what it is doing ---------------------------------------------------------------------------------------------

    /// Tasks that run now.
    #[must_use]
    pub fn active(&self) -> Vec<TrackedTask> {
        self.tracked.list(|stage| stage == TaskStage::Active)
    }

    /// Tasks delivered that wait for their turn.
    #[must_use]
    pub fn reserved(&self) -> Vec<TrackedTask> {
        self.tracked.list(|stage| stage == TaskStage::Reserved)
    }

    /// Tasks that wait for their `eta`.
    #[must_use]
    pub fn scheduled(&self) -> Vec<TrackedTask> {
        self.tracked.list(|stage| stage == TaskStage::Scheduled)
    }

    /// The task of that id, at any stage.
    #[must_use]
    pub fn find(&self, task_id: &str) -> Option<TrackedTask> {
        self.tracked.find(task_id)
    }

    /// The registered tasks, sorted by name.
    #[must_use]
    pub fn task_names(&self) -> Vec<String> {
        self.tasks.keys().cloned().collect()
    }

    /// How many tasks of each name were received, without names that never were (`stats.total`).
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let counts = self.tasks.iter().map(|(name, task)| (name.clone(), task.total.load(Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    // --- revoking -----------------------------------------------------------------------------------------------------

    /// Revokes tasks by id: they are not run any more. Kept for 3 hours and for the newest 50,000 ids, as Celery does.
    pub fn revoke(&self, task_ids: impl IntoIterator<Item = String>) {
        let mut revoked = lock(&self.revoked);
        for id in task_ids {
            revoked.add_id(id, Instant::now());
        }
    }

    /// Revokes the tasks that are stamped with one of these values under `header`.
    pub fn revoke_stamped(&self, header: &str, values: impl IntoIterator<Item = Value>) {
        let mut revoked = lock(&self.revoked);
        for value in values {
            revoked.add_stamp(header, &value, Instant::now());
        }
    }

    /// The ids revoked, oldest first.
    #[must_use]
    pub fn revoked(&self) -> Vec<String> {
        lock(&self.revoked).ids(Instant::now())
    }

    /// Whether a task was revoked, by its id or by a stamp.
    #[must_use]
    pub fn is_revoked(&self, task: &TaskRequest) -> bool {
        lock(&self.revoked).covers(task, Instant::now())
    }

    /// Revokes a task and stops it if it runs: at its next safe point, or dropped a little later. Returns whether it ran; when
    /// this returns, its token is cancelled.
    pub fn terminate(&self, task_id: &str) -> bool {
        self.revoke([task_id.to_owned()]);
        self.tracked.stop(|task| task.id() == task_id) > 0
    }

    /// Stops the running tasks that are stamped with one of these values under `header`, as [`terminate`](Self::terminate)
    /// does; returns how many ran. It does not revoke: see [`revoke_stamped`](Self::revoke_stamped).
    pub fn terminate_stamped(&self, header: &str, values: impl IntoIterator<Item = Value>) -> usize {
        let now = Instant::now();
        let mut wanted = RevokedTasks::default();
        for value in values {
            wanted.add_stamp(header, &value, now);
        }
        let wanted = Mutex::new(wanted);
        self.tracked.stop(|task| lock(&wanted).covers(task, now))
    }

    // --- limits -------------------------------------------------------------------------------------------------------

    /// The rate limit of a task, if it has one.
    #[must_use]
    pub fn rate_limit(&self, task: &str) -> Option<TaskRate> {
        self.tasks.get(task)?.bucket.limit()
    }

    /// Changes the rate limit of a task, those that wait for their turn included; `None` lifts it. `false` if there is no
    /// such task.
    pub fn set_rate_limit(&self, task: &str, limit: Option<TaskRate>) -> bool {
        self.tasks.get(task).map(|state| state.bucket.set(limit)).is_some()
    }

    /// The time limits a task has when its message names none.
    #[must_use]
    pub fn time_limits(&self, task: &str) -> TimeLimits {
        self.tasks.get(task).map(|state| *lock(&state.limits)).unwrap_or_default()
    }

    /// Changes the time limits of tasks that start from now on. `false` if there is no such task.
    pub fn set_time_limits(&self, task: &str, limits: TimeLimits) -> bool {
        self.tasks.get(task).map(|state| *lock(&state.limits) = limits).is_some()
    }

    // --- consuming ----------------------------------------------------------------------------------------------------

    /// How many tasks may be unacknowledged in each queue.
    #[must_use]
    pub fn prefetch(&self) -> u16 {
        self.prefetch.load(Relaxed)
    }

    /// Changes the prefetch; 0 for no limit. Tasks delivered before stay until they are settled.
    pub fn set_prefetch(&self, prefetch: u16) {
        self.prefetch.store(prefetch, Relaxed);
        self.changed.notify_one();
    }

    /// The queues consumed.
    #[must_use]
    pub fn queues(&self) -> Vec<TaskQueue> {
        lock(&self.queues).clone()
    }

    /// Consumes one more queue, declaring it. `false` if it was consumed already, or there are too many.
    pub fn add_queue(&self, queue: TaskQueue) -> bool {
        let mut queues = lock(&self.queues);
        if queues.len() >= MAX_QUEUES || queues.iter().any(|known| known.name == queue.name) {
            return false;
        }
        queues.push(queue);
        self.changed.notify_one();
        true
    }

    /// Takes nothing more from a queue. `false` if it was not consumed.
    pub fn cancel_queue(&self, name: &str) -> bool {
        let mut queues = lock(&self.queues);
        let before = queues.len();
        queues.retain(|queue| queue.name != name);
        self.changed.notify_one();
        queues.len() < before
    }

    // --- ending -------------------------------------------------------------------------------------------------------

    /// Ends the worker, as if the token given to [`Worker::run`](crate::worker::Worker::run) had been cancelled; a cold shutdown
    /// also overtakes a warm one that is under way.
    pub fn shut_down(&self, how: Shutdown) {
        if how == Shutdown::Cold {
            self.cold.cancel();
        }
        self.warm.cancel();
        if let Some(stopping) = self.stopping.get() {
            stopping.cancel();
        }
    }

    /// Sets the token that [`shut_down`](Self::shut_down) cancels; cancels it if that was called before.
    pub(in crate::worker) fn stops(&self, stopping: &CancellationToken) {
        let _ = self.stopping.set(stopping.clone());
        if self.warm.is_cancelled() {
            stopping.cancel();
        }
    }

    /// Whether [`shut_down`](Self::shut_down) was called.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.warm.is_cancelled()
    }

    // --- events -------------------------------------------------------------------------------------------------------

    /// Sets the listener to task events, in place of the one before; `None` for no listener.
    pub fn set_events(&self, listener: Option<Arc<dyn TaskEvents>>) {
        self.events.set(listener);
    }

    pub(in crate::worker) fn receive(&self, task: Arc<TaskRequest>, delivery: &Delivery) -> TaskTracker {
        if let Some(state) = self.tasks.get(task.name()) {
            state.total.fetch_add(1, Relaxed);
        }
        TaskTracker::new(self.tracked.clone(), task, delivery)
    }

    pub(in crate::worker) fn bucket(&self, task: &str) -> Option<Arc<TokenBucket>> {
        self.tasks.get(task).map(|state| state.bucket.clone())
    }
}

impl fmt::Debug for WorkerRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerRegistry")
            .field("node", &self.node)
            .field("queues", &self.queues())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn registry() -> WorkerRegistry {
        WorkerRegistry::new("w@h".into(), vec!["q".into()], 4, [("t".to_owned(), TimeLimits::default(), None)])
    }

    #[test]
    fn queues_are_added_once_and_cancelled_once() {
        let registry = registry();
        assert!(registry.add_queue("extra".into()));
        assert!(!registry.add_queue("extra".into()));
        assert!(registry.cancel_queue("q"));
        assert!(!registry.cancel_queue("q"));
        let names: Vec<_> = registry.queues().into_iter().map(|queue| queue.name).collect();
        assert_eq!(names, ["extra"]);
        for number in 0..MAX_QUEUES * 2 {
            registry.add_queue(format!("q{number}").as_str().into());
        }
        assert_eq!(registry.queues().len(), MAX_QUEUES);
    }

    #[test]
    fn limits_are_for_registered_tasks() {
        let registry = registry();
        let limits = TimeLimits { hard: Some(Duration::from_secs(2)), soft: Some(Duration::from_secs(1)) };
        assert!(registry.set_time_limits("t", limits));
        assert_eq!(registry.time_limits("t"), limits);
        assert!(!registry.set_time_limits("nope", limits));
        let rate = Some("10/m".parse().unwrap());
        assert!(registry.set_rate_limit("t", rate));
        assert_eq!(registry.rate_limit("t"), rate);
        assert!(!registry.set_rate_limit("nope", rate));
    }

    #[test]
    fn a_cold_shutdown_is_a_warm_one_too() {
        let registry = registry();
        assert!(!registry.is_shutting_down());
        registry.shut_down(Shutdown::Warm);
        assert!(registry.is_shutting_down() && !registry.cold.is_cancelled());
        registry.shut_down(Shutdown::Cold);
        assert!(registry.cold.is_cancelled());
    }
}
