//! The tasks a worker holds, each from its delivery to its acknowledgement.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use celery_protocol::TaskRequest;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{broker::Delivery, clock, sync::LockExt as _};

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Waits for its `eta`.
    Scheduled,
    /// Waits for its turn.
    Reserved,
    /// Runs.
    Active,
}

/// Why a running task was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// The worker has to end; the task is delivered again.
    Shutdown,
    /// Somebody terminated it; it is over.
    Terminated,
    /// Its soft time limit has passed; it has failed unless it ends well all the same.
    SoftTimeLimit,
}

/// A task a worker holds, as it was when asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The task.
    pub task: Arc<TaskRequest>,
    /// Where it is.
    pub place: Place,
    /// The exchange it came through.
    pub exchange: String,
    /// The routing key it came with.
    pub routing_key: String,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// When it began to run.
    pub started: Option<Timestamp>,
    /// What it waits for.
    pub eta: Option<Timestamp>,
    /// Whether the broker was told that it is done with. Ours are told last.
    pub acknowledged: bool,
}

struct Entry {
    request: Request,
    cancel: CancellationToken,
    cause: Arc<OnceLock<StopCause>>,
    /// Cancelled when it is terminated, whatever it was told before.
    terminate: CancellationToken,
}

/// All of them, in the order they came.
#[derive(Default)]
pub(crate) struct Requests {
    table: Mutex<(u64, BTreeMap<u64, Entry>)>,
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Entry>)> {
        self.table.lock_unpoisoned()
    }

    pub fn list(&self, wanted: impl Fn(Place) -> bool) -> Vec<Request> {
        let table = self.lock();
        table.1.values().filter(|entry| wanted(entry.request.place)).map(|entry| entry.request.clone()).collect()
    }

    pub fn find(&self, id: &str) -> Option<Request> {
        self.lock().1.values().find(|entry| entry.request.task.id() == id).map(|entry| entry.request.clone())
    }

    /// Terminates tasks; how many of them run. One that is about to start will not.
    pub fn stop(&self, wanted: impl Fn(&TaskRequest) -> bool) -> usize {
        let table = self.lock();
        let mut count = 0;
        for entry in table.1.values().filter(|entry| wanted(&entry.request.task)) {
            entry.terminate.cancel();
            if entry.request.place == Place::Active {
                let _ = entry.cause.set(StopCause::Terminated);
                entry.cancel.cancel();
                count += 1;
            }
        }
        count
    }
}

/// A task's place in the table, given up when dropped.
pub(crate) struct Tracked {
    requests: Arc<Requests>,
    key: u64,
    cancel: CancellationToken,
    cause: Arc<OnceLock<StopCause>>,
    terminate: CancellationToken,
}

impl Tracked {
    pub fn new(requests: Arc<Requests>, task: Arc<TaskRequest>, delivery: &Delivery) -> Self {
        let (cancel, cause) = (CancellationToken::new(), Arc::<OnceLock<StopCause>>::default());
        let terminate = CancellationToken::new();
        let request = Request {
            task,
            place: Place::Reserved,
            exchange: delivery.exchange.clone(),
            routing_key: delivery.routing_key.clone(),
            redelivered: delivery.redelivered,
            started: None,
            eta: None,
            acknowledged: false,
        };
        let mut table = requests.lock();
        table.0 += 1;
        let key = table.0;
        let entry = Entry { request, cancel: cancel.clone(), cause: cause.clone(), terminate: terminate.clone() };
        table.1.insert(key, entry);
        drop(table);
        Self { requests, key, cancel, cause, terminate }
    }

    fn change(&self, change: impl FnOnce(&mut Request)) {
        if let Some(entry) = self.requests.lock().1.get_mut(&self.key) {
            change(&mut entry.request);
        }
    }

    pub fn waits_until(&self, eta: Timestamp) {
        self.change(|request| {
            request.place = Place::Scheduled;
            request.eta = Some(eta);
        });
    }

    pub fn waits_its_turn(&self) {
        self.change(|request| request.place = Place::Reserved);
    }

    pub fn runs(&self) {
        self.change(|request| {
            request.place = Place::Active;
            request.started = Some(clock::now());
        });
    }

    /// Cancelled when the task is told to stop, for whatever reason.
    pub fn token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Cancelled when the task is terminated, be it while it runs or shortly before.
    pub fn terminated(&self) -> &CancellationToken {
        &self.terminate
    }

    /// Tells the task to stop; the first cause stands.
    pub fn stop(&self, cause: StopCause) {
        let _ = self.cause.set(cause);
        self.cancel.cancel();
    }

    /// Why it was told to stop, if it was. To be terminated comes before whatever else.
    pub fn cause(&self) -> Option<StopCause> {
        if self.terminate.is_cancelled() { Some(StopCause::Terminated) } else { self.cause.get().copied() }
    }

    pub fn cause_cell(&self) -> Arc<OnceLock<StopCause>> {
        self.cause.clone()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.requests.lock().1.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        Delivery::new(Default::default(), String::new(), "q".into(), true, 1, None)
    }

    #[test]
    fn a_task_is_seen_in_one_place_at_a_time_and_is_gone_with_its_handle() {
        let requests = Arc::new(Requests::default());
        let task = Arc::new(TaskRequest::builder("t", "a").build());
        let tracked = Tracked::new(requests.clone(), task, &delivery());
        let place = || requests.find("a").map(|request| request.place);
        assert_eq!(place(), Some(Place::Reserved));
        tracked.waits_until(clock::now());
        assert_eq!(place(), Some(Place::Scheduled));
        assert_eq!(requests.stop(|_| true), 0, "only what runs can be stopped");
        tracked.runs();
        assert_eq!(place(), Some(Place::Active));
        assert_eq!(requests.stop(|task| task.id() == "a"), 1);
        tracked.stop(StopCause::Shutdown);
        assert_eq!(tracked.cause(), Some(StopCause::Terminated), "the first cause stands");
        assert!(tracked.token().is_cancelled());
        drop(tracked);
        assert_eq!(place(), None);
    }
}
