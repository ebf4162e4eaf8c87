//! Running a scheduler as one of several replicas: the lock, the last runs, and the runs of the other replicas.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    error::SchedulerError,
    periodic_scheduler::Scheduler,
    schedule_entry::{EntryAction, ScheduleEntry},
};

/// The wait after a failure, and between two attempts to take a lock that another replica holds.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How late the active replica may be: a run that was due before that is done.
const MAX_LAG: Duration = Duration::from_secs(60);
/// How long a lock may outlive its holder, and more. Until then it may be an abandoned one, our own or that of a replica that
/// died, and no replica is active.
const MAX_ABANDONED_LOCK: Duration = Duration::from_secs(120);

impl Scheduler {
    /// Runs until `shutdown`. Work of this process that is under way is dropped then.
    ///
    /// # Errors
    /// [`SchedulerError`], before anything is done.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), SchedulerError> {
        for (index, entry) in self.entries.iter().enumerate() {
            if self.entries.iter().take(index).any(|other| other.name == entry.name) {
                return Err(SchedulerError::DuplicateEntry(entry.name.clone()));
            }
        }
        let sends = self.entries.iter().any(|entry| matches!(entry.action, EntryAction::Send(_)));
        if self.client.is_none() && (sends || self.exclusive) {
            return Err(SchedulerError::NoClient);
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.take_turns() => {}
        }
        Ok(())
    }

    /// Waits for the lock, works while it is held, and again.
    async fn take_turns(&self) {
        let mut last = self.load().await;
        // The start of the time in which every attempt found the lock taken.
        let mut taken: Option<Instant> = None;
        loop {
            let lock = match &self.client {
                Some(client) if self.exclusive => match client.broker().try_lock(&self.name).await {
                    Ok(Some(lock)) => {
                        tracing::info!(scheduler = self.name, "scheduler is active");
                        taken = None;
                        if self.last_runs.is_shared() {
                            last = self.load().await;
                        }
                        Some(lock)
                    }
                    Ok(None) => {
                        let active = taken.get_or_insert_with(Instant::now).elapsed() >= MAX_ABANDONED_LOCK;
                        self.note_runs_of_others(&mut last, active).await;
                        tokio::time::sleep(RETRY_INTERVAL).await;
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(scheduler = self.name, %error, "cannot acquire the scheduler's lock");
                        taken = None;
                        tokio::time::sleep(RETRY_INTERVAL).await;
                        continue;
                    }
                },
                _ => None,
            };
            self.work(&mut last, lock.as_ref()).await;
            tracing::warn!(scheduler = self.name, "scheduler lost its lock");
        }
    }

    /// The last run of each entry, as soon as it can be read.
    async fn load(&self) -> HashMap<String, Timestamp> {
        let mut last = HashMap::new();
        for entry in &self.entries {
            let known = loop {
                match self.last_runs.load(&entry.name).await {
                    Ok(known) => break known,
                    Err(error) => {
                        tracing::warn!(entry = entry.name, %error, "last run not loaded; trying again");
                        tokio::time::sleep(RETRY_INTERVAL).await;
                    }
                }
            };
            let at = match known {
                Some(at) => at,
                None => {
                    // So that runs missed from now on are known after a restart.
                    let now = self.clock.now();
                    self.save(entry, now).await;
                    now
                }
            };
            last.insert(entry.name.clone(), at);
        }
        last
    }

    /// Notes a run. A failure is logged.
    pub(super) async fn save(&self, entry: &ScheduleEntry, at: Timestamp) {
        if let Err(error) = self.last_runs.save(&entry.name, at).await {
            tracing::warn!(entry = entry.name, %error, "last run not saved");
        }
    }

    /// Another replica holds the lock and, if it is surely `active`, did all runs that were due until lately. Entries without
    /// a last run here count from then on, so that a takeover does the runs due meanwhile.
    async fn note_runs_of_others(&self, last: &mut HashMap<String, Timestamp>, active: bool) {
        let Ok(until) = self.clock.now().checked_sub(MAX_LAG) else { return };
        if self.last_runs.is_shared() {
            return;
        }
        for entry in &self.entries {
            let known = last.entry(entry.name.clone()).or_insert(until);
            if !active {
                continue;
            }
            let at = entry.done_by_others(&self.name, *known, until);
            if *known < at {
                *known = at;
                self.save(entry, at).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        broker::{
            Lock, SharedBroker,
            memory::{FaultAction, MemoryBroker, Op},
        },
        client::Client,
        scheduler::{
            crontab::Crontab, last_runs::LastRuns as _, memory_last_runs::MemoryLastRuns,
            schedule_clock::ManualScheduleClock, schedule_entry::ScheduleEntry,
        },
    };

    const TEST_TIMEOUT: Duration = Duration::from_secs(60);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_run_delayed_by_jitter_is_done_after_a_takeover_and_a_run_of_another_replica_is_not() {
        let (sender, mut runs) = tokio::sync::mpsc::unbounded_channel();
        let entry = ScheduleEntry::run("report", Crontab::parse("0 4 * * *").unwrap(), move |due| {
            let sender = sender.clone();
            async move { sender.send(due).unwrap() }
        })
        .jitter(Duration::from_secs(3600));
        let (before, due) = (at("2026-11-24T05:00:00Z"), at("2026-11-25T04:00:00Z"));
        let delayed = entry.delayed("replicas", due);
        let second = Duration::from_secs(1);
        assert!(delayed > due + MAX_LAG + second, "the delay is too short for this test");
        let clock = Arc::new(ManualScheduleClock::at(delayed - second));
        let scheduler = Scheduler::new("replicas").clock(clock.clone()).entry(entry);
        let mut last = HashMap::from([("report".to_owned(), before)]);
        scheduler.note_runs_of_others(&mut last, true).await;
        assert_eq!(last.get("report"), Some(&before));
        // The other one is gone before the time came.
        clock.set(delayed);
        let mut ours = last.clone();
        let taking_over = async {
            tokio::select! {
                () = scheduler.work(&mut ours, None) => None,
                due = runs.recv() => due,
            }
        };
        assert_eq!(tokio::time::timeout(TEST_TIMEOUT, taking_over).await, Ok(Some(due)));
        // Or it was there for long enough to have done it.
        clock.set(delayed + MAX_LAG);
        scheduler.note_runs_of_others(&mut last, true).await;
        assert_eq!(last.get("report"), Some(&due));
        assert_eq!(scheduler.last_runs.load("report").await.unwrap(), Some(due));
    }

    #[tokio::test]
    async fn nothing_is_noted_once_the_lock_is_lost() {
        let memory = MemoryBroker::new();
        let broker: SharedBroker = Arc::new(memory.connect());
        broker.declare_task_queue(&"reports".into()).await.unwrap();
        let client = Client::new(broker).await.unwrap();
        let last_runs = Arc::new(MemoryLastRuns::default());
        let scheduler = Scheduler::new("replicas")
            .client(client)
            .clock(Arc::new(ManualScheduleClock::at(at("2026-11-25T04:01:00Z"))))
            .last_runs(last_runs.clone())
            .entry(ScheduleEntry::send("report", Duration::from_secs(60), "reports", "make"));
        let losing = CancellationToken::new();
        let lock = Lock::new(losing.clone(), ());
        // It goes while the task is sent.
        memory.set_fault_hook(Some(Arc::new(move |_: Op| {
            losing.cancel();
            FaultAction::Continue
        })));
        let before = at("2026-11-25T04:00:00Z");
        let mut last = HashMap::from([("report".to_owned(), before)]);
        tokio::time::timeout(TEST_TIMEOUT, scheduler.work(&mut last, Some(&lock))).await.unwrap();
        assert!(!lock.is_held(), "nothing was sent");
        assert_eq!(last.get("report"), Some(&before));
        assert_eq!(last_runs.load("report").await.unwrap(), None);
    }
}
