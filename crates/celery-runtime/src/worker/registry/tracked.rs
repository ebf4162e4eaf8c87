//! The tasks in a worker, each from its delivery to its settlement.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use celery_protocol::TaskRequest;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{broker::Delivery, clock, sync::lock};

/// The stage a task has reached in the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStage {
    /// Waits for its `eta`.
    Scheduled,
    /// Waits for its turn.
    Reserved,
    /// Runs.
    Active,
}

/// Why a running task was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// The worker ends; the task is redelivered.
    Shutdown,
    /// It was terminated; it is over.
    Terminated,
    /// Its soft time limit has passed; it has failed unless it returns a value all the same.
    SoftTimeLimit,
}

/// A task in a worker, at the moment of the query.
#[derive(Debug, Clone)]
pub struct TrackedTask {
    /// The task.
    pub task: Arc<TaskRequest>,
    /// The stage it has reached.
    pub stage: TaskStage,
    /// The exchange it came through.
    pub exchange: String,
    /// The routing key it came with.
    pub routing_key: String,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// When it began to run.
    pub started: Option<Timestamp>,
    /// The `eta` it waits for.
    pub eta: Option<Timestamp>,
    /// Whether it was acknowledged. This worker acknowledges last, so it never is.
    pub acknowledged: bool,
}

struct TrackedEntry {
    request: TrackedTask,
    cancel: CancellationToken,
    cause: Arc<OnceLock<StopCause>>,
    /// Cancelled when it is terminated, also after it was stopped for another cause.
    terminate: CancellationToken,
}

/// The tasks in a worker, in the order they were delivered.
#[derive(Default)]
pub(crate) struct TrackedTasks {
    table: Mutex<(u64, BTreeMap<u64, TrackedEntry>)>,
}

impl TrackedTasks {
    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, TrackedEntry>)> {
        lock(&self.table)
    }

    pub fn list(&self, wanted: impl Fn(TaskStage) -> bool) -> Vec<TrackedTask> {
        let table = self.lock();
        table.1.values().filter(|entry| wanted(entry.request.stage)).map(|entry| entry.request.clone()).collect()
    }

    pub fn find(&self, id: &str) -> Option<TrackedTask> {
        self.lock().1.values().find(|entry| entry.request.task.id() == id).map(|entry| entry.request.clone())
    }

    /// Terminates tasks; returns how many of them run. A task that is about to start does not.
    pub fn stop(&self, wanted: impl Fn(&TaskRequest) -> bool) -> usize {
        let table = self.lock();
        let mut count = 0;
        for entry in table.1.values().filter(|entry| wanted(&entry.request.task)) {
            entry.terminate.cancel();
            if entry.request.stage == TaskStage::Active {
                let _ = entry.cause.set(StopCause::Terminated);
                entry.cancel.cancel();
                count += 1;
            }
        }
        count
    }
}

/// A task's entry among the tracked tasks, removed when this is dropped.
pub(crate) struct TaskTracker {
    tasks: Arc<TrackedTasks>,
    key: u64,
    cancel: CancellationToken,
    cause: Arc<OnceLock<StopCause>>,
    terminate: CancellationToken,
}

impl TaskTracker {
    pub fn new(tasks: Arc<TrackedTasks>, task: Arc<TaskRequest>, delivery: &Delivery) -> Self {
        let (cancel, cause) = (CancellationToken::new(), Arc::<OnceLock<StopCause>>::default());
        let terminate = CancellationToken::new();
        let request = TrackedTask {
            task,
            stage: TaskStage::Reserved,
            exchange: delivery.exchange.clone(),
            routing_key: delivery.routing_key.clone(),
            redelivered: delivery.redelivered,
            started: None,
            eta: None,
            acknowledged: false,
        };
        let mut table = tasks.lock();
        table.0 += 1;
        let key = table.0;
        let entry =
            TrackedEntry { request, cancel: cancel.clone(), cause: cause.clone(), terminate: terminate.clone() };
        table.1.insert(key, entry);
        drop(table);
        Self { tasks, key, cancel, cause, terminate }
    }

    fn change(&self, change: impl FnOnce(&mut TrackedTask)) {
        if let Some(entry) = self.tasks.lock().1.get_mut(&self.key) {
            change(&mut entry.request);
        }
    }

    pub fn waits_until(&self, eta: Timestamp) {
        self.change(|request| {
            request.stage = TaskStage::Scheduled;
            request.eta = Some(eta);
        });
    }

    pub fn waits_its_turn(&self) {
        self.change(|request| request.stage = TaskStage::Reserved);
    }

    pub fn runs(&self) {
        self.change(|request| {
            request.stage = TaskStage::Active;
            request.started = Some(clock::now());
        });
    }

    /// Cancelled when the task is stopped, for any cause.
    pub fn token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Cancelled when the task is terminated, while it runs or before.
    pub fn terminated(&self) -> &CancellationToken {
        &self.terminate
    }

    /// Stops the task; the first cause stands.
    pub fn stop(&self, cause: StopCause) {
        let _ = self.cause.set(cause);
        self.cancel.cancel();
    }

    /// Why it was stopped, if it was. Termination comes before every other cause.
    pub fn cause(&self) -> Option<StopCause> {
        if self.terminate.is_cancelled() { Some(StopCause::Terminated) } else { self.cause.get().copied() }
    }

    pub fn cause_cell(&self) -> Arc<OnceLock<StopCause>> {
        self.cause.clone()
    }
}

impl Drop for TaskTracker {
    fn drop(&mut self) {
        self.tasks.lock().1.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        Delivery::new(Default::default(), String::new(), "q".into(), true, 1, None)
    }

    #[test]
    fn a_task_is_at_one_stage_at_a_time_and_is_gone_with_its_tracker() {
        let tracked = Arc::new(TrackedTasks::default());
        let task = Arc::new(TaskRequest::builder("t", "a").build());
        let tracker = TaskTracker::new(tracked.clone(), task, &delivery());
        let stage = || tracked.find("a").map(|request| request.stage);
        assert_eq!(stage(), Some(TaskStage::Reserved));
        tracker.waits_until(clock::now());
        assert_eq!(stage(), Some(TaskStage::Scheduled));
        assert_eq!(tracked.stop(|_| true), 0, "only what runs can be stopped");
        tracker.runs();
        assert_eq!(stage(), Some(TaskStage::Active));
        assert_eq!(tracked.stop(|task| task.id() == "a"), 1);
        tracker.stop(StopCause::Shutdown);
        assert_eq!(tracker.cause(), Some(StopCause::Terminated), "the first cause stands");
        assert!(tracker.token().is_cancelled());
        drop(tracker);
        assert_eq!(stage(), None);
    }
}
