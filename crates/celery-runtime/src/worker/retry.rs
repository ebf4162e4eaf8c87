//! The retry policy of a task.

use std::{fmt, sync::Arc, time::Duration};

use crate::TaskError;

/// Which failures are retried without a request of the task.
type FailureFilter = Arc<dyn Fn(&TaskError) -> bool + Send + Sync>;

/// When and how often a task is retried. The default is Celery's: three times, after three minutes each, and only when
/// the task itself asks ([`TaskError::retry`]).
#[derive(Clone)]
pub struct RetryPolicy {
    max_retries: Option<u32>,
    delay: Duration,
    backoff: Option<Duration>,
    cap: Duration,
    jitter: bool,
    auto: Option<FailureFilter>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: Some(3),
            delay: Duration::from_secs(180),
            backoff: None,
            cap: Duration::from_secs(600),
            jitter: true,
            auto: None,
        }
    }
}

impl RetryPolicy {
    /// Every failure is retried (`autoretry_for=(Exception,)`), with a backoff from one second on: 1, 2, 4 … up to 600.
    #[must_use]
    pub fn auto() -> Self {
        Self::auto_for(|_| true).backoff(Duration::from_secs(1))
    }

    /// The failures for which `matches` returns true are retried (`autoretry_for`).
    #[must_use]
    pub fn auto_for(matches: impl Fn(&TaskError) -> bool + Send + Sync + 'static) -> Self {
        Self { auto: Some(Arc::new(matches)), ..Self::default() }
    }

    /// The most tries after the first; `None` for no limit.
    #[must_use]
    pub fn max_retries(mut self, max: impl Into<Option<u32>>) -> Self {
        self.max_retries = max.into();
        self
    }

    /// The wait before each try, without a backoff and unless the task names a wait (`default_retry_delay`).
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The wait before the first retry; it doubles with each further one (`retry_backoff`).
    #[must_use]
    pub fn backoff(mut self, first: Duration) -> Self {
        self.backoff = Some(first);
        self
    }

    /// The longest wait of a backoff (`retry_backoff_max`); 600 s by default.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// Whether the wait of a backoff is random, from zero to its full length (`retry_jitter`); it is by default.
    #[must_use]
    pub fn jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// How long to wait before a task that failed for the `retries + 1`th time is retried; `None` if it is not.
    /// `random` is between 0 and 1.
    pub(super) fn next(&self, error: &TaskError, retries: u32, random: f64) -> Option<Duration> {
        let asked = error.retry.as_ref();
        if asked.is_none() && !self.auto.as_ref().is_some_and(|matches| matches(error)) {
            return None;
        }
        let max = asked.and_then(|asked| asked.max_retries).or(self.max_retries);
        if max.is_some_and(|max| retries >= max) {
            return None;
        }
        if let Some(countdown) = asked.and_then(|asked| asked.countdown) {
            return Some(countdown);
        }
        let Some(first) = self.backoff else { return Some(self.delay) };
        let wait = first.saturating_mul(2_u32.saturating_pow(retries.min(31))).min(self.cap);
        Some(if self.jitter { wait.mul_f64(random.clamp(0.0, 1.0)) } else { wait })
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("max_retries", &self.max_retries)
            .field("delay", &self.delay)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// A number between 0 and 1.
#[allow(clippy::cast_precision_loss, reason = "53 bits are kept")]
pub(super) fn random() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    // The version is in the low bits; the high ones are random.
    (high >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(wait: Option<Duration>) -> Option<u64> {
        wait.map(|wait| wait.as_secs())
    }

    #[test]
    fn a_failure_is_final_unless_the_task_or_the_policy_says_otherwise() {
        let error = TaskError::value_error("x");
        assert_eq!(RetryPolicy::default().next(&error, 0, 0.5), None);
        assert_eq!(seconds(RetryPolicy::default().next(&error.clone().retry(), 0, 0.5)), Some(180));
        let asked = error.clone().retry_in(Duration::from_secs(7));
        assert_eq!(seconds(RetryPolicy::default().next(&asked, 2, 0.5)), Some(7));
        assert_eq!(RetryPolicy::default().next(&asked, 3, 0.5), None, "three times");
        let picky = RetryPolicy::auto_for(|error| error.exc_type == "OSError");
        assert_eq!(picky.next(&error, 0, 0.5), None);
        assert_eq!(seconds(picky.next(&TaskError::custom("builtins", "OSError", "x"), 0, 0.5)), Some(180));
    }

    #[test]
    fn a_backoff_doubles_up_to_its_cap() {
        let error = TaskError::value_error("x");
        let policy = RetryPolicy::auto().max_retries(None).jitter(false);
        let waits: Vec<_> = [0, 1, 2, 9, 10, 4_000_000].map(|n| seconds(policy.next(&error, n, 0.5)).unwrap()).into();
        assert_eq!(waits, [1, 2, 4, 512, 600, 600]);
        let policy = policy.jitter(true);
        assert_eq!(seconds(policy.next(&error, 20, 0.0)), Some(0));
        assert_eq!(seconds(policy.next(&error, 20, 0.5)), Some(300));
        assert!((0.0..=1.0).contains(&random()));
    }
}
