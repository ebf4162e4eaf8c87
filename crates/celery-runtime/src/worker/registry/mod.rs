//! What a worker is doing and what it was told: shared by the run loop and whoever looks at or steers it from outside
//! (remote control, events, metrics).
//!
//! Everything here returns at once; locks are held for a few map operations. Changes are wishes the run loop brings about:
//! it looks at the whole of them whenever one was made, so none can be missed.

mod events;
mod rate;
mod requests;
mod revoked;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use celery_protocol::TaskRequest;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

pub use events::{TaskEvent, TaskEventKind, TaskEvents};
pub use rate::{RateLimit, RateLimitError};
pub use requests::{Place, Request, StopCause};
pub(super) use {rate::Bucket, requests::Tracked};

use self::{requests::Requests, revoked::Revoked};
use crate::{
    broker::TaskQueue,
    clock,
    sync::{LockExt as _, RwLockExt as _},
};

/// The most queues a worker consumes.
const MAX_QUEUES: usize = 256;

/// How long a task may run. Both ends are cooperative: see [`TaskContext::cancelled`](super::TaskContext::cancelled).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeLimits {
    /// After this the task is dropped at its next await and has failed.
    pub hard: Option<Duration>,
    /// After this the task is told to stop.
    pub soft: Option<Duration>,
}

/// How a worker is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Takes nothing more and finishes what runs, within the grace period.
    Warm,
    /// Stops what runs at its next await. It is delivered again, to this worker or another.
    Cold,
}

/// The state of one registered task.
#[derive(Debug, Default)]
struct TaskState {
    total: AtomicU64,
    limits: Mutex<TimeLimits>,
    bucket: Arc<Bucket>,
}

/// See the [module](self). One per worker; made by [`WorkerBuilder::build`](super::WorkerBuilder::build), reached by
/// [`Worker::registry`](super::Worker::registry).
pub struct Registry {
    node: String,
    since: Timestamp,
    tasks: BTreeMap<String, TaskState>,
    requests: Arc<Requests>,
    revoked: Mutex<Revoked>,
    queues: Mutex<Vec<TaskQueue>>,
    prefetch: AtomicU16,
    pub(super) changed: Notify,
    warm: CancellationToken,
    stopping: OnceLock<CancellationToken>,
    pub(super) cold: CancellationToken,
    events: RwLock<Option<Arc<dyn TaskEvents>>>,
}

impl Registry {
    pub(super) fn new(
        node: String,
        queues: Vec<TaskQueue>,
        prefetch: u16,
        tasks: impl IntoIterator<Item = (String, TimeLimits, Option<RateLimit>)>,
    ) -> Self {
        let tasks = tasks.into_iter().map(|(name, limits, rate)| {
            let state = TaskState { limits: Mutex::new(limits), ..TaskState::default() };
            state.bucket.set(rate);
            (name, state)
        });
        Self {
            node,
            since: clock::now(),
            tasks: tasks.collect(),
            requests: Arc::default(),
            revoked: Mutex::default(),
            queues: Mutex::new(queues),
            prefetch: AtomicU16::new(prefetch),
            changed: Notify::new(),
            warm: CancellationToken::new(),
            stopping: OnceLock::new(),
            cold: CancellationToken::new(),
            events: RwLock::new(None),
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
    pub fn active(&self) -> Vec<Request> {
        self.requests.list(|place| place == Place::Active)
    }

    /// Tasks taken from the queue that wait for their turn.
    #[must_use]
    pub fn reserved(&self) -> Vec<Request> {
        self.requests.list(|place| place == Place::Reserved)
    }

    /// Tasks that wait for their `eta`.
    #[must_use]
    pub fn scheduled(&self) -> Vec<Request> {
        self.requests.list(|place| place == Place::Scheduled)
    }

    /// The task of that id, if it is here in any way.
    #[must_use]
    pub fn find(&self, task_id: &str) -> Option<Request> {
        self.requests.find(task_id)
    }

    /// The registered tasks, sorted by name.
    #[must_use]
    pub fn task_names(&self) -> Vec<String> {
        self.tasks.keys().cloned().collect()
    }

    /// How many tasks of each name were received, those of names never seen left out (`stats.total`).
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let counts = self.tasks.iter().map(|(name, task)| (name.clone(), task.total.load(Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    // --- revoking -----------------------------------------------------------------------------------------------------

    /// Tasks of these ids are not run any more. Kept for 3 hours and for the newest 50,000 ids, as Celery does.
    pub fn revoke(&self, task_ids: impl IntoIterator<Item = String>) {
        let mut revoked = self.revoked.lock_unpoisoned();
        for id in task_ids {
            revoked.add_id(id, Instant::now());
        }
    }

    /// Tasks stamped with one of these values under `header` are not run any more.
    pub fn revoke_stamped(&self, header: &str, values: impl IntoIterator<Item = Value>) {
        let mut revoked = self.revoked.lock_unpoisoned();
        for value in values {
            revoked.add_stamp(header, &value, Instant::now());
        }
    }

    /// The ids revoked, oldest first.
    #[must_use]
    pub fn revoked(&self) -> Vec<String> {
        self.revoked.lock_unpoisoned().ids(Instant::now())
    }

    /// Whether a task was revoked, by its id or by a stamp.
    #[must_use]
    pub fn is_revoked(&self, task: &TaskRequest) -> bool {
        self.revoked.lock_unpoisoned().covers(task, Instant::now())
    }

    /// Revokes a task and tells it to stop if it runs: at its next safe point, or dropped a little later. Returns whether it
    /// ran; when this returns, it has been told.
    pub fn terminate(&self, task_id: &str) -> bool {
        self.revoke([task_id.to_owned()]);
        self.requests.stop(|task| task.id() == task_id) > 0
    }

    /// Tells running tasks to stop that have one of these values under `header`, as [`terminate`](Self::terminate) does;
    /// how many ran. It does not revoke: see [`revoke_stamped`](Self::revoke_stamped).
    pub fn terminate_stamped(&self, header: &str, values: impl IntoIterator<Item = Value>) -> usize {
        let now = Instant::now();
        let mut wanted = Revoked::default();
        for value in values {
            wanted.add_stamp(header, &value, now);
        }
        let wanted = Mutex::new(wanted);
        self.requests.stop(|task| wanted.lock_unpoisoned().covers(task, now))
    }

    // --- limits -------------------------------------------------------------------------------------------------------

    /// The rate limit of a task, if it has one.
    #[must_use]
    pub fn rate_limit(&self, task: &str) -> Option<RateLimit> {
        self.tasks.get(task)?.bucket.limit()
    }

    /// Changes the rate limit of a task, those that wait for their turn included; `None` lifts it. `false` if there is no
    /// such task.
    pub fn set_rate_limit(&self, task: &str, limit: Option<RateLimit>) -> bool {
        self.tasks.get(task).map(|state| state.bucket.set(limit)).is_some()
    }

    /// The time limits a task has when its message names none.
    #[must_use]
    pub fn time_limits(&self, task: &str) -> TimeLimits {
        self.tasks.get(task).map(|state| *state.limits.lock_unpoisoned()).unwrap_or_default()
    }

    /// Changes them for tasks that start from now on. `false` if there is no such task.
    pub fn set_time_limits(&self, task: &str, limits: TimeLimits) -> bool {
        self.tasks.get(task).map(|state| *state.limits.lock_unpoisoned() = limits).is_some()
    }

    // --- consuming ----------------------------------------------------------------------------------------------------

    /// How many tasks may be unacknowledged in each queue.
    #[must_use]
    pub fn prefetch(&self) -> u16 {
        self.prefetch.load(Relaxed)
    }

    /// Changes the prefetch; 0 for no limit. What was taken before stays until it is done.
    pub fn set_prefetch(&self, prefetch: u16) {
        self.prefetch.store(prefetch, Relaxed);
        self.changed.notify_one();
    }

    /// The queues consumed.
    #[must_use]
    pub fn queues(&self) -> Vec<TaskQueue> {
        self.queues.lock_unpoisoned().clone()
    }

    /// Consumes one more queue, declaring it. `false` if it was consumed already, or there are too many.
    pub fn add_queue(&self, queue: TaskQueue) -> bool {
        let mut queues = self.queues.lock_unpoisoned();
        if queues.len() >= MAX_QUEUES || queues.iter().any(|known| known.name == queue.name) {
            return false;
        }
        queues.push(queue);
        self.changed.notify_one();
        true
    }

    /// Takes nothing more from a queue. `false` if it was not consumed.
    pub fn cancel_queue(&self, name: &str) -> bool {
        let mut queues = self.queues.lock_unpoisoned();
        let before = queues.len();
        queues.retain(|queue| queue.name != name);
        self.changed.notify_one();
        queues.len() < before
    }

    // --- ending -------------------------------------------------------------------------------------------------------

    /// Ends the worker, as if the token given to [`Worker::run`](super::Worker::run) had been cancelled; a cold shutdown
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

    /// What [`shut_down`](Self::shut_down) cancels, at once.
    pub(super) fn stops(&self, stopping: &CancellationToken) {
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

    /// Who is told about tasks; replaces whoever was told before.
    pub fn set_events(&self, events: Option<Arc<dyn TaskEvents>>) {
        *self.events.write_unpoisoned() = events;
    }

    /// As [`set_events`](Self::set_events), unless somebody is told already; whether it was done.
    pub(super) fn offer_events(&self, told: Arc<dyn TaskEvents>) -> bool {
        let mut events = self.events.write_unpoisoned();
        let free = events.is_none();
        if free {
            *events = Some(told);
        }
        free
    }

    /// Tells what happened to a task, if anybody wants to know; `event` is made only then.
    pub(super) fn event(&self, event: impl FnOnce() -> TaskEvent) {
        let events = self.events.read_unpoisoned();
        if let Some(events) = events.as_ref().filter(|events| events.wanted()) {
            events.event(event());
        }
    }

    /// Does something that is only worth its while when somebody wants to know about tasks.
    pub(super) fn when_wanted(&self, run: impl FnOnce()) {
        let events = self.events.read_unpoisoned();
        if events.as_ref().is_some_and(|events| events.wanted()) {
            run();
        }
    }

    pub(super) fn receive(&self, task: Arc<TaskRequest>, delivery: &crate::broker::Delivery) -> Tracked {
        if let Some(state) = self.tasks.get(task.name()) {
            state.total.fetch_add(1, Relaxed);
        }
        Tracked::new(self.requests.clone(), task, delivery)
    }

    pub(super) fn bucket(&self, task: &str) -> Option<Arc<Bucket>> {
        self.tasks.get(task).map(|state| state.bucket.clone())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("node", &self.node).field("queues", &self.queues()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry::new("w@h".into(), vec!["q".into()], 4, [("t".to_owned(), TimeLimits::default(), None)])
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
    fn limits_are_for_tasks_there_are() {
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
