//! Rate limits: a token bucket per task.

use std::{fmt, str::FromStr, sync::Mutex, time::Duration};

use tokio::{sync::Notify, time::Instant};

use crate::sync::lock;

/// The longest time between two tasks; keeps times from overflowing.
const MAX_PERIOD: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many tasks may start in a time, evenly spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskRate {
    tasks: f64,
    /// As it was read: a number alone is of tasks a second, and is shown alone.
    unit: Option<char>,
}

/// The text is not a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a rate limit (expected a number above 0, or one followed by /s, /m or /h)")]
pub struct TaskRateError;

impl TaskRate {
    /// That many tasks a second.
    ///
    /// # Errors
    /// If the number is not above zero.
    pub fn per_second(tasks: f64) -> Result<Self, TaskRateError> {
        Self::new(tasks, None)
    }

    fn new(tasks: f64, unit: Option<char>) -> Result<Self, TaskRateError> {
        if tasks.is_finite() && tasks > 0.0 { Ok(Self { tasks, unit }) } else { Err(TaskRateError) }
    }

    /// The time between two tasks.
    #[must_use]
    pub fn period(&self) -> Duration {
        let unit = match self.unit {
            Some('h') => 3600.0,
            Some('m') => 60.0,
            _ => 1.0,
        };
        Duration::try_from_secs_f64(unit / self.tasks).unwrap_or(MAX_PERIOD).min(MAX_PERIOD)
    }
}

/// Celery's form: `10/s`, `10/m`, `10/h`, or a number of tasks a second. A rate of 0, which is Celery's form for no limit, is
/// an error here: the caller handles it.
impl FromStr for TaskRate {
    type Err = TaskRateError;

    fn from_str(text: &str) -> Result<Self, TaskRateError> {
        let (tasks, unit) = text.trim().split_once('/').unwrap_or((text.trim(), ""));
        let unit = match unit {
            "" => None,
            "s" => Some('s'),
            "m" => Some('m'),
            "h" => Some('h'),
            _ => return Err(TaskRateError),
        };
        Self::new(tasks.trim().parse().map_err(|_| TaskRateError)?, unit)
    }
}

/// The same text that was read, as Python keeps it, but for spaces and the way a number is written.
impl fmt::Display for TaskRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tasks)?;
        self.unit.map_or(Ok(()), |unit| write!(f, "/{unit}"))
    }
}

/// The bucket of one task: holds one token, refilled at the rate.
#[derive(Debug, Default)]
pub(crate) struct TokenBucket {
    state: Mutex<BucketState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct BucketState {
    limit: Option<TaskRate>,
    /// When there is a token again.
    next: Option<Instant>,
}

impl TokenBucket {
    pub fn limit(&self) -> Option<TaskRate> {
        lock(&self.state).limit
    }

    pub fn set(&self, limit: Option<TaskRate>) {
        *lock(&self.state) = BucketState { limit, next: None };
        self.changed.notify_waiters();
    }

    /// Takes a token if there is one; the error is the time when there may be one.
    fn take(&self, now: Instant) -> Result<(), Instant> {
        let mut state = lock(&self.state);
        let Some(limit) = state.limit else { return Ok(()) };
        match state.next {
            Some(next) if next > now => Err(next),
            _ => {
                state.next = Some(now + limit.period());
                Ok(())
            }
        }
    }

    /// Waits for a token. Safe to drop: a token is taken only by returning.
    pub async fn token(&self) {
        loop {
            let changed = self.changed.notified();
            match self.take(Instant::now()) {
                Ok(()) => return,
                Err(next) => tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = changed => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn celerys_forms_are_read() {
        let period = |text: &str| text.parse::<TaskRate>().map(|rate| rate.period());
        assert_eq!(period("10/m"), Ok(Duration::from_secs(6)));
        assert_eq!(period("2"), Ok(Duration::from_millis(500)));
        assert_eq!(period("0.5/s"), Ok(Duration::from_secs(2)));
        assert_eq!(period("1/h"), Ok(Duration::from_secs(3600)));
        for wrong in ["", "x", "1/d", "-1", "0", "nan", "inf/s", "1/m/s"] {
            assert_eq!(period(wrong), Err(TaskRateError), "{wrong}");
        }
        for text in ["10/m", "100", "0.5/s", "7/h"] {
            assert_eq!(text.parse::<TaskRate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn tokens_come_at_the_rate() {
        let (bucket, now) = (TokenBucket::default(), Instant::now());
        assert_eq!((bucket.take(now), bucket.take(now)), (Ok(()), Ok(())), "there is no limit");
        bucket.set(Some("1/m".parse().unwrap()));
        let minute = Duration::from_secs(60);
        assert_eq!(bucket.take(now), Ok(()));
        assert_eq!(bucket.take(now), Err(now + minute));
        assert_eq!(bucket.take(now + minute), Ok(()));
        assert_eq!(bucket.take(now + minute), Err(now + 2 * minute), "tokens are not saved up");
    }

    #[tokio::test]
    async fn a_lifted_limit_frees_waiting_tasks() {
        let bucket = std::sync::Arc::new(TokenBucket::default());
        bucket.set(Some("1/h".parse().unwrap()));
        bucket.token().await;
        let waiting = tokio::spawn({
            let bucket = bucket.clone();
            async move { bucket.token().await }
        });
        tokio::task::yield_now().await;
        bucket.set(None);
        waiting.await.unwrap();
    }
}
