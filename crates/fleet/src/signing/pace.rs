//! When a role tidies up.

use std::time::Duration;

use tokio::time::Instant;

/// After the start releases that waited come first.
const FIRST: Duration = Duration::from_secs(300);
const BETWEEN: Duration = Duration::from_secs(3_600);

/// Some minutes after the start, then once an hour; sooner while there is more to do.
#[derive(Debug)]
pub(super) struct Pace {
    next: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now + FIRST }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// With `more` to do the next turn of the loop is as good.
    pub(super) fn done(&mut self, now: Instant, more: bool) {
        self.next = if more { now } else { now + BETWEEN };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_tidies_some_minutes_after_the_start_then_hourly_and_at_once_when_there_is_more() {
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut pace = Pace::new(start);
        assert!(!pace.is_due(at(4)) && pace.is_due(at(5)));
        pace.done(at(5), true);
        assert!(pace.is_due(at(5)));
        pace.done(at(6), false);
        assert!(!pace.is_due(at(65)) && pace.is_due(at(66)));
    }
}
