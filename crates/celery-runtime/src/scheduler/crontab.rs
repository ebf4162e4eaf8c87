//! Celery's crontab notation, in UTC.

use std::fmt;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{crontab_error::CrontabError, crontab_field};

/// Minutes, hours and days, as `celery.schedules.crontab` understands them: lists, ranges that may
/// go over the end (`fri-mon`), steps of a range or of `*`, and names of months and days. A day has to match all of month,
/// day of the month and day of the week, unlike in Unix cron.
#[derive(Clone, PartialEq, Eq)]
pub struct Crontab {
    minutes: u64,
    hours: u64,
    days_of_week: u64,
    days_of_month: u64,
    months: u64,
    text: String,
}

/// The most days of each month.
const DAYS_OF_MONTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/// How many years ahead a match is searched: a 29th of February on a given day of the week recurs after 40 at most.
const MAX_YEARS_AHEAD: i16 = 41;

impl Crontab {
    /// Reads the five fields, in Celery's order.
    ///
    /// # Errors
    /// [`CrontabError`] for the first field that is not understood, or days that no month has.
    pub fn new(
        minute: &str,
        hour: &str,
        day_of_week: &str,
        day_of_month: &str,
        month_of_year: &str,
    ) -> Result<Self, CrontabError> {
        let crontab = Self {
            minutes: crontab_field::parse("minute", minute, 0, 59)?,
            hours: crontab_field::parse("hour", hour, 0, 23)?,
            days_of_week: crontab_field::parse("day_of_week", day_of_week, 0, 6)?,
            days_of_month: crontab_field::parse("day_of_month", day_of_month, 1, 31)?,
            months: crontab_field::parse("month_of_year", month_of_year, 1, 12)?,
            text: format!("{minute} {hour} {day_of_month} {month_of_year} {day_of_week}"),
        };
        let possible = DAYS_OF_MONTHS
            .iter()
            .zip(1..)
            .any(|(longest, month)| has(crontab.months, month) && crontab.days_of_month.trailing_zeros() <= *longest);
        if !possible {
            return Err(CrontabError { field: "day_of_month", reason: "no month in month_of_year has such a day" });
        }
        Ok(crontab)
    }

    /// Reads a line in the order of Unix: minute, hour, day of the month, month, day of the week.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if there are not five fields.
    pub fn parse(line: &str) -> Result<Self, CrontabError> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields.as_slice() {
            [minute, hour, day, month, weekday] => Self::new(minute, hour, weekday, day, month),
            _ => Err(CrontabError { field: "line", reason: "expected five fields" }),
        }
    }

    /// The first full minute after `last` that matches; `None` if there is none within reach of the calendar.
    #[must_use]
    pub fn next_after(&self, last: Timestamp) -> Option<Timestamp> {
        let last = last.to_zoned(TimeZone::UTC).datetime();
        let (mut date, last_year) = (last.date(), last.year().saturating_add(MAX_YEARS_AHEAD));
        let (mut hour, mut minute) = (i32::from(last.hour()), i32::from(last.minute()) + 1);
        while date.year() <= last_year {
            if self.matches(date) {
                // In the hour of the last run, else at the first minute of a later hour.
                let in_hour = (hour >= 0 && has(self.hours, u32::try_from(hour).ok()?))
                    .then(|| from(self.minutes, minute))
                    .flatten()
                    .map(|minute| (hour, minute));
                let later = || Some((from(self.hours, hour + 1)?, from(self.minutes, 0)?));
                if let Some((hour, minute)) = in_hour.or_else(later) {
                    let at = date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
                    return at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
                }
            }
            date = if has(self.months, u32::try_from(date.month()).ok()?) {
                date.tomorrow().ok()?
            } else {
                date.last_of_month().tomorrow().ok()?
            };
            (hour, minute) = (-1, 0);
        }
        None
    }

    fn matches(&self, date: Date) -> bool {
        let of = |bits, number: i8| u32::try_from(number).is_ok_and(|number| has(bits, number));
        of(self.months, date.month())
            && of(self.days_of_month, date.day())
            && of(self.days_of_week, date.weekday().to_sunday_zero_offset())
    }
}

fn has(bits: u64, number: u32) -> bool {
    bits >> number & 1 == 1
}

/// The smallest number of `bits` that is not below `least`.
fn from(bits: u64, least: i32) -> Option<i32> {
    let least = u32::try_from(least).ok()?;
    let above = if least < u64::BITS { bits >> least << least } else { 0 };
    (above != 0).then(|| above.trailing_zeros()).and_then(|number| i32::try_from(number).ok())
}

/// A line in the order of Unix.
impl fmt::Display for Crontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Crontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crontab({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(line: &str, last: &str) -> Option<String> {
        Crontab::parse(line).unwrap().next_after(last.parse().unwrap()).map(|at| at.to_string())
    }

    #[test]
    fn the_next_match_is_found_across_hours_months_and_leap_years() {
        for (line, last, expected) in [
            ("* * * * *", "2026-11-25T04:00:30Z", "2026-11-25T04:01:00Z"),
            ("*/15 * * * *", "2026-11-25T04:45:00Z", "2026-11-25T05:00:00Z"),
            ("30 3 * * mon", "2026-11-23T03:30:00Z", "2026-11-30T03:30:00Z"),
            ("0 0 1 jan *", "2026-11-25T04:00:00Z", "2027-01-01T00:00:00Z"),
            ("59 23 31 * fri-sun", "2026-11-25T04:00:00Z", "2027-01-31T23:59:00Z"),
            ("0 12 29 2 *", "2096-02-29T12:00:00Z", "2104-02-29T12:00:00Z"),
            ("0 0 29 feb mon", "2072-03-01T00:00:00Z", "2112-02-29T00:00:00Z"),
        ] {
            assert_eq!(next(line, last).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn a_crontab_that_never_matches_is_refused() {
        for line in [
            "* * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "*/0 * * * *",
            "5/2 * * * *",
            "1,, * * * *",
            "x * * * *",
            "-1 * * * *",
            "* * 30 2 *",
            "* * 31 4,6,9,11 *",
            "1-2-3 * * * *",
            "*/ * * * *",
        ] {
            assert!(Crontab::parse(line).is_err(), "{line}");
        }
    }
}
