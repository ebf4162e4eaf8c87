//! Periodic tasks, as Celery's beat sends them: intervals and crontabs, with jitter, over restarts, and by one of several
//! replicas.
//!
//! Guarantees:
//!
//! - a run that was missed while no replica was there is done once, as soon as one is; an entry without a last run counts from
//!   when it is first seen;
//! - a task is sent with a confirm before its run is noted, under an id derived from the time it was due. A crash between the
//!   two sends the same task again, under the same id: never no task, and never two with different ids;
//! - with [`exclusive`](Scheduler::exclusive) only the replica that holds the lock
//!   ([`Broker::try_lock`](crate::broker::Broker::try_lock)) does anything. Two replicas can hold a lock over a network for a
//!   moment; then the ids show that their tasks are the same;
//! - a replica without the lock takes a run for done by another only after it has seen the lock held for longer than an
//!   abandoned one is, and then only a run that was due more than a minute ago: losing the lock for a moment changes nothing;
//! - a clock that is set back delays an interval by one interval at most, and a crontab until its next match.

mod crontab;
mod crontab_error;
mod crontab_field;
mod error;
mod last_runs;
mod memory_last_runs;
mod periodic_scheduler;
mod replica;
mod schedule;
mod schedule_clock;
mod schedule_entry;
mod work;

pub use self::{
    crontab::Crontab,
    crontab_error::CrontabError,
    error::SchedulerError,
    last_runs::{LastRuns, LastRunsError},
    memory_last_runs::MemoryLastRuns,
    periodic_scheduler::Scheduler,
    schedule::Schedule,
    schedule_clock::{ManualScheduleClock, ScheduleClock, SystemScheduleClock},
    schedule_entry::ScheduleEntry,
};
