//! When a role deletes files out of use.

use std::time::Duration;

use tokio::time::Instant;

/// Time from the start to the first deletion: waiting releases come first.
const FIRST_TIDY_DELAY: Duration = Duration::from_secs(300);
const TIDY_INTERVAL: Duration = Duration::from_secs(3_600);

/// Some minutes after the start, then once an hour. While more is to do, at every turn of the loop.
#[derive(Debug)]
pub(super) struct TidySchedule {
    next: Instant,
}

impl TidySchedule {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now + FIRST_TIDY_DELAY }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// With `more` to do the next turn of the loop continues.
    pub(super) fn done(&mut self, now: Instant, more: bool) {
        self.next = if more { now } else { now + TIDY_INTERVAL };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_tidies_some_minutes_after_the_start_then_hourly_and_immediately_when_more_is_to_do() {
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut schedule = TidySchedule::new(start);
        assert!(!schedule.is_due(at(4)) && schedule.is_due(at(5)));
        schedule.done(at(5), true);
        assert!(schedule.is_due(at(5)));
        schedule.done(at(6), false);
        assert!(!schedule.is_due(at(65)) && schedule.is_due(at(66)));
    }
}
