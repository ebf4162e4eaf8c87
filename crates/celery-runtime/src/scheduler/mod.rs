//! Doing things at their time, as Celery's beat does: intervals and crontabs, with jitter, over restarts, and by one of
//! several replicas.
//!
//! What holds:
//!
//! - what was due while nobody was there is done once, as soon as somebody is; an entry that was never dealt with begins to
//!   count when it is first seen;
//! - a task is sent with a confirm before its run is noted, under an id derived from the time it was due. A crash between the
//!   two sends the same task again, under the same id: never no task, and never two that cannot be told to be one;
//! - with [`exclusive`](Scheduler::exclusive) only who holds the lock ([`Broker::try_lock`](crate::broker::Broker::try_lock))
//!   does anything. A lock held over a network can be held by two for a moment; the ids are what then tells them apart;
//! - a replica without the lock believes that what was due was done once it has seen the lock held for longer than one
//!   that was left behind is, and then only of what was to be done more than a minute ago: losing the lock for a moment
//!   changes nothing;
//! - a clock that is set back delays an interval by one interval at most, and a crontab until its next match.

mod clock;
mod crontab;
mod entry;
mod field;
mod last_runs;
mod schedule;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use self::entry::{Action, Sent};
pub use self::{
    clock::{Clock, ManualClock, SystemClock},
    crontab::{Crontab, CrontabError},
    entry::Entry,
    last_runs::{LastRuns, MemoryLastRuns},
    schedule::Schedule,
};
use crate::{
    broker::{Lock, PublishError},
    client::Client,
};

/// The longest sleep, so that a clock that is set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// The wait after something failed, and between two looks at a lock that another one holds.
const PAUSE: Duration = Duration::from_secs(5);
/// How late whoever is at work may be: what was to be done before that was done.
const LAG: Duration = Duration::from_secs(60);
/// How long a lock may outlive whoever held it, and more. Until then it may be what is left of our own, or of one who
/// died, and nobody is at work.
const LEFT_BEHIND: Duration = Duration::from_secs(120);

/// Does what its entries say until it is told to stop.
pub struct Scheduler {
    name: String,
    entries: Vec<Entry>,
    client: Option<Client>,
    exclusive: bool,
    last_runs: Arc<dyn LastRuns>,
    clock: Arc<dyn Clock>,
}

/// Why a scheduler was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// Two entries have one name.
    #[error("the schedule has two entries {0:?}")]
    Twice(String),
    /// An entry sends tasks, or the scheduler is to be exclusive, and there is no client.
    #[error("the schedule sends tasks and has no client to send them")]
    NoClient,
}

impl Scheduler {
    /// One without entries. Replicas have the same name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            entries: Vec::new(),
            client: None,
            exclusive: false,
            last_runs: Arc::new(MemoryLastRuns::default()),
            clock: Arc::new(SystemClock),
        }
    }

    /// Adds an entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Who sends the tasks.
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Only one of the replicas on the client's broker does anything at a time.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    /// Where last runs are kept; by default in this process.
    #[must_use]
    pub fn last_runs(mut self, last_runs: Arc<dyn LastRuns>) -> Self {
        self.last_runs = last_runs;
        self
    }

    /// The time it goes by; by default the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Runs until `shutdown`. Work of this process that is under way is dropped then.
    ///
    /// # Errors
    /// [`SchedulerError`], before anything is done.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), SchedulerError> {
        for (index, entry) in self.entries.iter().enumerate() {
            if self.entries.iter().take(index).any(|other| other.name == entry.name) {
                return Err(SchedulerError::Twice(entry.name.clone()));
            }
        }
        let sends = self.entries.iter().any(|entry| matches!(entry.action, Action::Send(_)));
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
        // Since when every look found the lock taken.
        let mut taken: Option<Instant> = None;
        loop {
            let lock = match &self.client {
                Some(client) if self.exclusive => match client.broker().try_lock(&self.name).await {
                    Ok(Some(lock)) => {
                        tracing::info!(scheduler = self.name, "the scheduler is the active one");
                        taken = None;
                        if self.last_runs.is_shared() {
                            last = self.load().await;
                        }
                        Some(lock)
                    }
                    Ok(None) => {
                        let at_work = taken.get_or_insert_with(Instant::now).elapsed() >= LEFT_BEHIND;
                        self.note_what_others_do(&mut last, at_work).await;
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(scheduler = self.name, %error, "the scheduler cannot ask for its turn");
                        taken = None;
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
                _ => None,
            };
            self.work(&mut last, lock.as_ref()).await;
            tracing::warn!(scheduler = self.name, "the scheduler lost its turn");
        }
    }

    /// When each entry was last dealt with, as soon as that can be known.
    async fn load(&self) -> HashMap<String, Timestamp> {
        let mut last = HashMap::new();
        for entry in &self.entries {
            let known = loop {
                match self.last_runs.load(&entry.name).await {
                    Ok(known) => break known,
                    Err(reason) => {
                        tracing::warn!(entry = entry.name, reason, "it is not known when this was last done");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            };
            let at = match known {
                Some(at) => at,
                None => {
                    // So that what is missed from now on is known after a restart.
                    let now = self.clock.now();
                    self.save(entry, now).await;
                    now
                }
            };
            last.insert(entry.name.clone(), at);
        }
        last
    }

    async fn save(&self, entry: &Entry, at: Timestamp) {
        if let Err(reason) = self.last_runs.save(&entry.name, at).await {
            tracing::warn!(entry = entry.name, reason, "it cannot be noted when this was done");
        }
    }

    /// Another one is the active one and, if it is surely `at_work`, did what was due until lately. What was never done here
    /// counts from then on, so that a takeover does what is due meanwhile.
    async fn note_what_others_do(&self, last: &mut HashMap<String, Timestamp>, at_work: bool) {
        let Ok(until) = self.clock.now().checked_sub(LAG) else { return };
        if self.last_runs.is_shared() {
            return;
        }
        for entry in &self.entries {
            let known = last.entry(entry.name.clone()).or_insert(until);
            if !at_work {
                continue;
            }
            let at = entry.done_by_others(&self.name, *known, until);
            if *known < at {
                *known = at;
                self.save(entry, at).await;
            }
        }
    }

    /// Does what is due until the lock is lost.
    async fn work(&self, last: &mut HashMap<String, Timestamp>, lock: Option<&Lock>) {
        let mut running = JoinSet::new();
        let mut busy: HashMap<tokio::task::Id, &str> = HashMap::new();
        loop {
            let now = self.clock.now();
            let mut wake = now.checked_add(LONGEST_SLEEP).unwrap_or(Timestamp::MAX);
            for entry in &self.entries {
                if busy.values().any(|name| *name == entry.name) {
                    continue;
                }
                if is_lost(lock) {
                    return;
                }
                let since = last.entry(entry.name.clone()).or_insert(now);
                // The clock was set back: the time it went back is not waited for.
                *since = (*since).min(now);
                let Some(due) = entry.schedule.next_after(*since) else { continue };
                let at = entry.delayed(&self.name, due);
                if at > now {
                    wake = wake.min(at);
                    continue;
                }
                let done = match &entry.action {
                    Action::Send(sent) => {
                        let done = tokio::select! {
                            biased;
                            () = lost(lock) => return,
                            done = self.send(entry, sent, due, now) => done,
                        };
                        // What is noted now would be about another one's turn. It may be sent again, under the same id.
                        if is_lost(lock) {
                            return;
                        }
                        done
                    }
                    Action::Run(work) => {
                        busy.insert(running.spawn(work(due)).id(), entry.name.as_str());
                        true
                    }
                };
                if done {
                    let at = entry.schedule.dealt_with(due, now);
                    *since = at;
                    self.save(entry, at).await;
                    if let Some(next) = entry.schedule.next_after(at) {
                        wake = wake.min(entry.delayed(&self.name, next));
                    }
                } else {
                    wake = wake.min(now.checked_add(PAUSE).unwrap_or(Timestamp::MAX));
                }
            }
            tokio::select! {
                () = self.clock.sleep_until(wake) => {}
                ended = running.join_next_with_id(), if !running.is_empty() => match ended {
                    Some(Ok((id, ()))) => drop(busy.remove(&id)),
                    Some(Err(error)) => {
                        let name = busy.remove(&error.id());
                        tracing::error!(entry = name, %error, "scheduled work ended before its time");
                    }
                    None => {}
                },
                () = lost(lock) => return,
            }
        }
    }

    /// Whether it was dealt with.
    async fn send(&self, entry: &Entry, sent: &Sent, due: Timestamp, now: Timestamp) -> bool {
        let Some(client) = &self.client else { return false };
        let mut options = sent.options.clone();
        options.task_id = Some(entry.id(&self.name, due).to_string());
        if options.expires_in.is_none() {
            let next = entry.schedule.next_after(now);
            options.expires_in = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        }
        match client.send(&sent.queue, &sent.task, sent.args.clone(), sent.kwargs.clone(), options).await {
            Ok(_) => {
                tracing::debug!(entry = entry.name, "sent a scheduled task");
                true
            }
            Err(
                error @ (PublishError::Unroutable { .. } | PublishError::Refused { .. } | PublishError::Invalid { .. }),
            ) => {
                tracing::warn!(entry = entry.name, %error, "a scheduled task cannot be sent, it is left out this time");
                true
            }
            Err(error) => {
                tracing::warn!(entry = entry.name, %error, "a scheduled task could not be sent, trying again");
                false
            }
        }
    }
}

fn is_lost(lock: Option<&Lock>) -> bool {
    lock.is_some_and(|lock| !lock.is_held())
}

async fn lost(lock: Option<&Lock>) {
    match lock {
        Some(lock) => lock.lost().await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("name", &self.name).field("entries", &self.entries).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{
        SharedBroker,
        memory::{FaultAction, MemoryBroker, Op},
    };

    const SOON: Duration = Duration::from_secs(60);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn what_jitter_delays_is_done_after_a_takeover_and_what_others_did_is_not() {
        let (sender, mut runs) = tokio::sync::mpsc::unbounded_channel();
        let entry = Entry::run("report", Crontab::parse("0 4 * * *").unwrap(), move |due| {
            let sender = sender.clone();
            async move { sender.send(due).unwrap() }
        })
        .jitter(Duration::from_secs(3600));
        let (before, due) = (at("2026-11-24T05:00:00Z"), at("2026-11-25T04:00:00Z"));
        let delayed = entry.delayed("replicas", due);
        let second = Duration::from_secs(1);
        assert!(delayed > due + LAG + second, "the delay is too short for this test");
        let clock = Arc::new(ManualClock::at(delayed - second));
        let scheduler = Scheduler::new("replicas").clock(clock.clone()).entry(entry);
        let mut last = HashMap::from([("report".to_owned(), before)]);
        scheduler.note_what_others_do(&mut last, true).await;
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
        assert_eq!(tokio::time::timeout(SOON, taking_over).await, Ok(Some(due)));
        // Or it was there for long enough to have done it.
        clock.set(delayed + LAG);
        scheduler.note_what_others_do(&mut last, true).await;
        assert_eq!(last.get("report"), Some(&due));
        assert_eq!(scheduler.last_runs.load("report").await, Ok(Some(due)));
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
            .clock(Arc::new(ManualClock::at(at("2026-11-25T04:01:00Z"))))
            .last_runs(last_runs.clone())
            .entry(Entry::send("report", Duration::from_secs(60), "reports", "make"));
        let losing = CancellationToken::new();
        let lock = Lock::new(losing.clone(), ());
        // It goes while the task is sent.
        memory.set_fault_hook(Some(Arc::new(move |_: Op| {
            losing.cancel();
            FaultAction::Continue
        })));
        let before = at("2026-11-25T04:00:00Z");
        let mut last = HashMap::from([("report".to_owned(), before)]);
        tokio::time::timeout(SOON, scheduler.work(&mut last, Some(&lock))).await.unwrap();
        assert!(!lock.is_held(), "nothing was sent");
        assert_eq!(last.get("report"), Some(&before));
        assert_eq!(last_runs.load("report").await, Ok(None));
    }
}
