//! Times as people think of them: "in 3 h", "2 min ago".

use tuf_core::time::UtcTime;

/// `time` as seen from `now`, in its largest whole unit: `in 23 h`, `5 min ago`, `now`.
#[must_use]
pub fn relative(time: UtcTime, now: UtcTime) -> String {
    let seconds = time.seconds_since(now);
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {}", span(seconds)),
        _ => format!("{} ago", span(seconds.saturating_neg())),
    }
}

/// A duration in its largest whole unit: `45 s`, `12 min`, `23 h`, `364 d`.
#[must_use]
pub fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    match seconds {
        ..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        // Lifetimes of a day are common, so hours go on for two.
        HOUR.. if seconds < 2 * DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} d", seconds / DAY),
    }
}

/// As [`relative`], for a time in a document of the fleet; the text itself where it is none.
#[must_use]
pub fn relative_text(text: &str, now: UtcTime) -> String {
    UtcTime::parse(text).map_or_else(|_| text.to_owned(), |time| relative(time, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_its_largest_whole_unit() {
        let now = UtcTime::from_unix(1_000_000);
        for (seconds, shown) in [
            (0, "now"),
            (1, "in 1 s"),
            (-59, "59 s ago"),
            (60, "in 1 min"),
            (-3_599, "59 min ago"),
            (3_600, "in 1 h"),
            (2 * 86_400 - 1, "in 47 h"),
            (2 * 86_400, "in 2 d"),
            (-365 * 86_400, "365 d ago"),
        ] {
            assert_eq!(relative(now.plus_seconds(seconds), now), shown);
        }
        assert_eq!(relative_text("no time", now), "no time");
        assert_eq!(relative_text("1970-01-12T13:46:40Z", now), "now");
    }
}
