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
