//! One field of a crontab, in Celery's syntax.

use super::crontab_error::CrontabError;

/// The most characters of a field.
const MAX_FIELD_CHARS: usize = 1024;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The numbers of a field, as bits: bit `n` is `n`. No field goes beyond 59.
pub(super) fn parse(name: &'static str, text: &str, min: u32, max: u32) -> Result<u64, CrontabError> {
    let bad = |reason: &'static str| CrontabError { field: name, reason };
    if text.len() > MAX_FIELD_CHARS {
        return Err(bad("longer than 1024 characters"));
    }
    let mut bits = 0;
    for part in text.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, Some(step)),
            None => (part, None),
        };
        let step = match step {
            Some(step) => number_only(step).filter(|step| *step > 0).ok_or(bad("a step is not a number above 0"))?,
            None => 1,
        };
        let numbers: Vec<u32> = match (span, span.split_once('-')) {
            ("*", _) => (min..=max).collect(),
            (_, Some((from, to))) => {
                let (from, to) = (number(from, min, max).map_err(bad)?, number(to, min, max).map_err(bad)?);
                // Over the end to the beginning, as in fri-mon.
                if to < from { (from..=max).chain(min..=to).collect() } else { (from..=to).collect() }
            }
            (_, None) if part.contains('/') => return Err(bad("a step follows neither * nor a range")),
            (one, None) => vec![number(one, min, max).map_err(bad)?],
        };
        for number in numbers.into_iter().step_by(step as usize) {
            bits |= 1 << number;
        }
    }
    Ok(bits)
}

fn number_only(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// A number, or the name of a month or a day: its first three letters count, as in Celery.
fn number(text: &str, min: u32, max: u32) -> Result<u32, &'static str> {
    let number = match number_only(text) {
        Some(number) => number,
        None => {
            let start = text.get(..3).unwrap_or_default().to_ascii_lowercase();
            let index = |names: &[&str]| names.iter().position(|name| *name == start);
            let found = index(&MONTHS).map(|month| month + 1).or_else(|| index(&WEEKDAYS));
            found.and_then(|found| u32::try_from(found).ok()).ok_or("neither a number nor a name of a month or day")?
        }
    };
    if (min..=max).contains(&number) { Ok(number) } else { Err("a number is out of range") }
}
