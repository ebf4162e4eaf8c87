//! An entry of a schedule.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::schedule::Schedule;
use crate::client::SendOptions;

/// A task that is sent, or work that is run, at the times of a schedule.
#[derive(Clone)]
pub struct ScheduleEntry {
    pub(super) name: String,
    pub(super) schedule: Schedule,
    pub(super) jitter: Duration,
    pub(super) action: EntryAction,
}

#[derive(Clone)]
pub(super) enum EntryAction {
    Send(Box<TaskToSend>),
    Run(Arc<dyn Fn(Timestamp) -> WorkFuture + Send + Sync>),
}

pub(super) type WorkFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone)]
pub(super) struct TaskToSend {
    pub queue: String,
    pub task: String,
    pub args: Vec<Value>,
    pub kwargs: Map<String, Value>,
    pub options: SendOptions,
}

impl ScheduleEntry {
    /// Sends `task` to `queue`. Without an expiry among its options the task expires when the entry is due again, so that
    /// tasks do not pile up in a queue without a worker. Its id is derived from the entry and the time it was due: a task sent
    /// again after a crash is the same task.
    #[must_use]
    pub fn send(
        name: impl Into<String>,
        schedule: impl Into<Schedule>,
        queue: impl Into<String>,
        task: impl Into<String>,
    ) -> Self {
        let (queue, task) = (queue.into(), task.into());
        let options = SendOptions { ignore_result: true, drop_expired: true, ..SendOptions::default() };
        let sent = TaskToSend { queue, task, args: Vec::new(), kwargs: Map::new(), options };
        Self {
            name: name.into(),
            schedule: schedule.into(),
            jitter: Duration::ZERO,
            action: EntryAction::Send(Box::new(sent)),
        }
    }

    /// Runs `work` in this process, with the time it was due. While it runs it is not started again.
    #[must_use]
    pub fn run<F, Fut>(name: impl Into<String>, schedule: impl Into<Schedule>, work: F) -> Self
    where
        F: Fn(Timestamp) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let action = EntryAction::Run(Arc::new(move |due| Box::pin(work(due))));
        Self { name: name.into(), schedule: schedule.into(), jitter: Duration::ZERO, action }
    }

    /// Positional arguments of the task.
    #[must_use]
    pub fn args(mut self, args: Vec<Value>) -> Self {
        if let EntryAction::Send(sent) = &mut self.action {
            sent.args = args;
        }
        self
    }

    /// Keyword arguments of the task.
    #[must_use]
    pub fn kwargs(mut self, kwargs: Map<String, Value>) -> Self {
        if let EntryAction::Send(sent) = &mut self.action {
            sent.kwargs = kwargs;
        }
        self
    }

    /// How the task is sent; the scheduler sets its id. By default no result is wanted.
    #[must_use]
    pub fn options(mut self, options: SendOptions) -> Self {
        if let EntryAction::Send(sent) = &mut self.action {
            sent.options = options;
        }
        self
    }

    /// Delays each run by up to that long, by an amount derived from the entry and the time: the same for all replicas and
    /// after a restart.
    #[must_use]
    pub fn jitter(mut self, at_most: Duration) -> Self {
        self.jitter = at_most;
        self
    }

    /// The task id for the time `due`.
    pub(super) fn id(&self, scheduler: &str, due: Timestamp) -> uuid::Uuid {
        let text = format!("celery-runtime:{scheduler}:{}:{}", self.name, due.as_nanosecond());
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, text.as_bytes())
    }

    /// When the run due at `due` is done, with its jitter.
    pub(super) fn delayed(&self, scheduler: &str, due: Timestamp) -> Timestamp {
        let part = u32::try_from(self.id(scheduler, due).as_u128() % 1024).unwrap_or(0);
        due.checked_add(self.jitter.saturating_mul(part) / 1024).unwrap_or(due)
    }

    /// The last run to note when another replica has done all runs until `until`. A run that jitter may have delayed beyond
    /// that is not skipped: all replicas delay the times of a crontab alike, but each has a beat of its own for an interval, so
    /// there the longest delay counts.
    pub(super) fn done_by_others(&self, scheduler: &str, last: Timestamp, until: Timestamp) -> Timestamp {
        let Ok(early) = until.checked_sub(self.jitter) else { return last };
        let mut last = self.schedule.last_run_of_others(last, early);
        if let Schedule::Crontab(crontab) = &self.schedule {
            while let Some(due) = crontab.next_after(last)
                && self.delayed(scheduler, due) <= until
            {
                last = due;
            }
        }
        last
    }
}

impl fmt::Debug for ScheduleEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match &self.action {
            EntryAction::Send(sent) => format!("{} to {}", sent.task, sent.queue),
            EntryAction::Run(_) => "work of this process".to_owned(),
        };
        f.debug_struct("ScheduleEntry")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .field("action", &action)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::crontab::Crontab;

    fn seconds(count: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + count).unwrap()
    }

    fn entry(schedule: impl Into<Schedule>, jitter: u64) -> ScheduleEntry {
        ScheduleEntry::send("report", schedule, "reports", "make").jitter(Duration::from_secs(jitter))
    }

    #[test]
    fn an_interval_done_by_another_replica_keeps_its_beat() {
        let daily = |jitter| entry(Duration::from_secs(86_400), jitter);
        for (jitter, until, expected) in [
            (0, -5, 0),
            (0, 86_399, 0),
            (0, 86_400, 86_400),
            (0, 3 * 86_400 + 70, 3 * 86_400),
            (600, 86_999, 0),
            (600, 87_000, 86_400),
        ] {
            let last = daily(jitter).done_by_others("s", seconds(0), seconds(until));
            assert_eq!(last, seconds(expected), "until {until} with a jitter of {jitter}");
        }
    }

    #[test]
    fn a_crontab_done_by_another_replica_waits_for_its_jitter() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let before = at("2026-11-23T12:00:00Z");
        let due = at("2026-11-24T04:00:00Z");
        let daily = entry(Crontab::parse("0 4 * * *").unwrap(), 3600);
        let delayed = daily.delayed("s", due);
        let second = Duration::from_secs(1);
        assert_eq!(daily.done_by_others("s", before, due - second), before);
        assert_eq!(daily.done_by_others("s", before, delayed - Duration::from_nanos(1)), before);
        assert_eq!(daily.done_by_others("s", before, delayed), due);
        // Long after that the next time is still the next one.
        let last = daily.done_by_others("s", before, at("2026-11-25T03:59:59Z"));
        assert_eq!(daily.schedule.next_after(last), Some(at("2026-11-25T04:00:00Z")));
    }
}
