//! The wall clock, as far as Celery messages need it: `eta`, `expires` and `date_done` are absolute times.

use jiff::Timestamp;

/// The current time, for stamping and comparing message times. Durations are measured with `tokio::time::Instant`.
#[must_use]
#[allow(
    clippy::disallowed_methods,
    reason = "Celery messages carry absolute times, so this crate has to know the time of day"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Seconds since 1970, as events and control messages carry times.
#[allow(clippy::cast_precision_loss, reason = "microseconds since 1970 fit for a century")]
pub(crate) fn unix_seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}
