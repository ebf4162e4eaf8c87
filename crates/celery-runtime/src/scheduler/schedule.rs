//! The schedule of an entry.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::crontab::Crontab;

/// When an entry is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// That long after the last run, and after the start if there was none.
    Interval(Duration),
    /// At minutes of the calendar, in UTC.
    Crontab(Crontab),
}

/// The shortest interval, so that a scheduler never spins.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

impl Schedule {
    /// The first time after `last`; `None` if there will be none.
    #[must_use]
    pub fn next_after(&self, last: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Interval(every) => last.checked_add((*every).max(MIN_INTERVAL)).ok(),
            Self::Crontab(crontab) => crontab.next_after(last),
        }
    }

    /// The last run to note once the run due at `due` was done at `now`. An interval keeps its beat unless it fell behind.
    pub(super) fn last_run_after(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        match self {
            Self::Interval(_) if self.next_after(due).is_some_and(|next| next > now) => due,
            _ => now,
        }
    }

    /// The last run to note when another replica has done all runs due until `until`: `last` if none was. An interval moves
    /// on by whole lengths, so that this does not delay it each time.
    pub(super) fn last_run_of_others(&self, last: Timestamp, until: Timestamp) -> Timestamp {
        match self {
            Self::Interval(every) => {
                let Ok(behind) = Duration::try_from(until.duration_since(last)) else { return last };
                let rest = behind.as_nanos() % (*every).max(MIN_INTERVAL).as_nanos();
                let Ok(rest) = u64::try_from(rest) else { return last };
                until.checked_sub(Duration::from_nanos(rest)).unwrap_or(last)
            }
            Self::Crontab(crontab) if crontab.next_after(last).is_some_and(|due| due <= until) => until,
            Self::Crontab(_) => last,
        }
    }
}

impl From<Crontab> for Schedule {
    fn from(crontab: Crontab) -> Self {
        Self::Crontab(crontab)
    }
}

impl From<Duration> for Schedule {
    fn from(every: Duration) -> Self {
        Self::Interval(every)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interval(every) => write!(f, "every {every:?}"),
            Self::Crontab(crontab) => crontab.fmt(f),
        }
    }
}
