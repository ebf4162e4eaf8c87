//! The kinds of values that only the fleet has.

use service::config::{CustomKind, SettingKind, SettingValue, WrittenValue};

use super::schedule;
use crate::policy::PathPatterns;

/// The most patterns in one list.
const MAX_PATTERNS: usize = 1024;

/// 0, or a power of two from 2 to 16384.
pub(super) const BIN_COUNT: SettingKind = SettingKind::Custom(&CustomKind {
    expected: "0 or a power of two from 2 to 16384",
    parse: parse_bin_count,
    takes_mapping: false,
});

/// A list of patterns of target paths; in an environment variable separated by commas.
pub(super) const PATTERNS: SettingKind = SettingKind::Custom(&CustomKind {
    expected: "a list of patterns of target paths such as `packages/*/*.zip` or `**`",
    parse: parse_patterns,
    takes_mapping: false,
});

/// A mapping of names to tasks and their times; in an environment variable as JSON.
pub(super) const SCHEDULE: SettingKind = SettingKind::Custom(&CustomKind {
    expected: "a mapping of names to `task`, `queue`, either `crontab` (five fields) or `every` (seconds, at least 1), \
               and optionally `kwargs` (JSON), `expires` and `jitter` (seconds)",
    parse: parse_schedule,
    takes_mapping: true,
});

fn parse_bin_count(written: &WrittenValue) -> Option<SettingValue> {
    let WrittenValue::Text(text) = written else { return None };
    let bins: u64 = text.parse().ok()?;
    let fits = bins == 0 || (bins.is_power_of_two() && (2..=16_384).contains(&bins));
    fits.then_some(SettingValue::Count(bins))
}

fn parse_patterns(written: &WrittenValue) -> Option<SettingValue> {
    let patterns: Vec<String> = match written {
        WrittenValue::List(patterns) => patterns.iter().map(|pattern| pattern.trim().to_owned()).collect(),
        WrittenValue::Text(text) => {
            text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect()
        }
    };
    let fit = patterns.len() <= MAX_PATTERNS && patterns.iter().all(|pattern| PathPatterns::is_pattern(pattern));
    fit.then_some(SettingValue::Names(patterns))
}

fn parse_schedule(written: &WrittenValue) -> Option<SettingValue> {
    let WrittenValue::Text(text) = written else { return None };
    schedule::parse(text).map(|_| SettingValue::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_powers_of_two_within_bounds() {
        let parse = |text: &str| parse_bin_count(&WrittenValue::Text(text.into()));
        for good in ["0", "2", "256", "16384"] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in ["1", "3", "32768", "-2", "", "2.0"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
