//! Times as Celery writes them: ISO 8601 text.

use jiff::{Timestamp, civil, tz::TimeZone};

/// A time, with the text as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireTime {
    text: String,
    at: Timestamp,
}

impl WireTime {
    /// The longest text that is parsed, in bytes; Python's are much shorter.
    const MAX_TEXT: usize = 64;

    /// Reads ISO 8601 text. Text without an offset is UTC.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::MAX_TEXT {
            return None;
        }
        let at = text.parse::<Timestamp>().ok().or_else(|| {
            let naive = text.parse::<civil::DateTime>().ok()?;
            naive.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        })?;
        Some(Self { text: text.to_owned(), at })
    }

    /// The text as received, or as Python's `isoformat` writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The time.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.at
    }
}

/// Python's `isoformat()` of an aware UTC datetime: microseconds (rounded down), left out when
/// zero, and `+00:00`.
impl From<Timestamp> for WireTime {
    fn from(at: Timestamp) -> Self {
        let micros = at.as_nanosecond().div_euclid(1000);
        let at = i64::try_from(micros).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok()).unwrap_or(at);
        let form = if micros.rem_euclid(1_000_000) == 0 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S.%6f" };
        let civil = TimeZone::UTC.to_datetime(at);
        Self { text: format!("{}+00:00", civil.strftime(form)), at }
    }
}
