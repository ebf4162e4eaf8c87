//! When an entry is due.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::Crontab;

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// That long after the last time, and after the start where there was none.
    Interval(Duration),
    /// At minutes of the calendar, in UTC.
    Crontab(Crontab),
}

/// The shortest interval, so that a scheduler never spins.
const SHORTEST: Duration = Duration::from_millis(1);

impl Schedule {
    /// The first time after `last`; `None` if there will be none.
    #[must_use]
    pub fn next_after(&self, last: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Interval(every) => last.checked_add((*every).max(SHORTEST)).ok(),
            Self::Crontab(crontab) => crontab.next_after(last),
        }
    }

    /// What counts as the last time once `due` was dealt with at `now`. An interval keeps its beat unless it fell behind.
    pub(super) fn dealt_with(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        match self {
            Self::Interval(_) if self.next_after(due).is_some_and(|next| next > now) => due,
            _ => now,
        }
    }

    /// What counts as the last time where another one has done what was due until `until`: `last` if nothing was. An
    /// interval goes on by whole lengths, so that it is not put off each time this is asked.
    pub(super) fn passed(&self, last: Timestamp, until: Timestamp) -> Timestamp {
        match self {
            Self::Interval(every) => {
                let Ok(behind) = Duration::try_from(until.duration_since(last)) else { return last };
                let begun = behind.as_nanos() % (*every).max(SHORTEST).as_nanos();
                let Ok(begun) = u64::try_from(begun) else { return last };
                until.checked_sub(Duration::from_nanos(begun)).unwrap_or(last)
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
