//! The kinds of values, and how their text is read.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::value::{SettingValue, WrittenValue};

/// A kind of value that only one system has.
#[derive(Clone, Copy)]
pub struct CustomKind {
    /// The form of a value, as it reads after "expected".
    pub expected: &'static str,
    /// Applies the kind; `None` when the value is not of it. Text comes trimmed and without control characters.
    pub parse: fn(&WrittenValue) -> Option<SettingValue>,
    /// Whether a mapping is a value too: `parse` then gets it as JSON text, every scalar as a string.
    pub takes_mapping: bool,
}

impl fmt::Debug for CustomKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomKind").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// The values a key takes.
#[derive(Clone, Copy, Debug)]
pub enum SettingKind {
    /// Text that may be empty.
    Optional,
    /// An address, or a list of them, that may hold a password: masked wherever it is shown, and settable through a `*_FILE` variable.
    Url,
    /// A path.
    Path,
    /// A path that may be empty.
    OptionalPath,
    /// True or false.
    Bool,
    /// A whole number.
    Count {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// Seconds, with decimals.
    Seconds {
        /// Shortest, in milliseconds.
        min_millis: u64,
        /// Longest, in milliseconds.
        max_millis: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of names; in an environment variable separated by commas.
    Names,
    /// `IP:PORT`, or empty.
    Address,
    /// A log level with exceptions per module.
    LogFilter,
    /// A kind of the system's own.
    Custom(&'static CustomKind),
}

/// The most addresses in a list.
const MAX_URLS: usize = 32;

impl SettingKind {
    /// Whether values may hold secrets.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Url)
    }

    /// The form of a value, as it reads after "expected".
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Optional => "text of at most 255 characters".into(),
            Self::Url => "an address such as `amqp://user:password@host:5672/vhost`".into(),
            Self::Path | Self::OptionalPath => "a path".into(),
            Self::Bool => "`true` or `false`".into(),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::Seconds { min_millis, max_millis } => {
                format!("seconds from {} to {}", decimal(min_millis), decimal(max_millis))
            }
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Names => "a list of names of letters, digits, `.`, `_` and `-`".into(),
            Self::Address => "an IP address and a port such as `127.0.0.1:9440`, or nothing".into(),
            Self::Custom(custom) => custom.expected.into(),
            Self::LogFilter => "a level such as `info`, with exceptions such as `info,lapin=debug`".into(),
        }
    }

    /// Applies the kind; `None` when the value is not of it.
    pub(crate) fn parse(self, raw: &WrittenValue) -> Option<SettingValue> {
        let text = match (self, raw) {
            (Self::Names, WrittenValue::List(names)) => {
                return parse_names(names.iter().map(String::as_str));
            }
            (Self::Url, WrittenValue::List(urls)) => {
                let fit = (1..=MAX_URLS).contains(&urls.len()) && urls.iter().all(|url| !url.contains(';'));
                return fit.then(|| self.parse(&WrittenValue::Text(urls.join(";"))))?;
            }
            (Self::Custom(custom), WrittenValue::List(_)) => return (custom.parse)(raw),
            (_, WrittenValue::List(_)) => return None,
            (_, WrittenValue::Text(text)) => text.trim(),
        };
        if text.chars().any(char::is_control) {
            return None;
        }
        match self {
            Self::Optional => (text.chars().count() <= 255).then(|| SettingValue::Text(text.to_owned())),
            Self::Url => text.split(';').all(is_url).then(|| SettingValue::Text(text.to_owned())),
            Self::Path => (!text.is_empty()).then(|| SettingValue::Text(text.to_owned())),
            Self::OptionalPath => Some(SettingValue::Text(text.to_owned())),
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(SettingValue::Bool(true)),
                "false" | "no" | "off" | "0" => Some(SettingValue::Bool(false)),
                _ => None,
            },
            Self::Count { min, max } => {
                text.parse().ok().filter(|count| (min..=max).contains(count)).map(SettingValue::Count)
            }
            Self::Seconds { min_millis, max_millis } => {
                let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0)?;
                let duration = Duration::try_from_secs_f64(seconds).ok()?;
                let range = Duration::from_millis(min_millis)..=Duration::from_millis(max_millis);
                range.contains(&duration).then_some(SettingValue::Duration(duration))
            }
            Self::Choice(words) => words.contains(&text).then(|| SettingValue::Text(text.to_owned())),
            Self::Names => parse_names(text.split(',').filter(|name| !name.trim().is_empty())),
            Self::Custom(custom) => (custom.parse)(&WrittenValue::Text(text.to_owned())),
            Self::Address if text.is_empty() => Some(SettingValue::Address(None)),
            Self::Address => text.parse().ok().map(|address| SettingValue::Address(Some(address))),
            Self::LogFilter => {
                let filter = tracing_subscriber::filter::Targets::from_str(text);
                (filter.is_ok() && !text.is_empty()).then(|| SettingValue::Text(text.to_owned()))
            }
        }
    }
}

fn parse_names<'a>(names: impl Iterator<Item = &'a str>) -> Option<SettingValue> {
    let mut parsed = Vec::new();
    for name in names {
        let name = name.trim();
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !plain || parsed.len() >= 1024 {
            return None;
        }
        parsed.push(name.to_owned());
    }
    Some(SettingValue::Names(parsed))
}

fn is_url(text: &str) -> bool {
    text.trim().split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

fn decimal(millis: u64) -> String {
    Duration::from_millis(millis).as_secs_f64().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: SettingKind, text: &str) -> Option<SettingValue> {
        kind.parse(&WrittenValue::Text(text.into()))
    }

    #[test]
    fn seconds_take_decimals_and_refuse_what_is_no_duration() {
        let kind = SettingKind::Seconds { min_millis: 1, max_millis: 10_000 };
        assert_eq!(parse(kind, "0.25"), Some(SettingValue::Duration(Duration::from_millis(250))));
        for bad in ["0", "-1", "NaN", "inf", "11", "5s", "1e400"] {
            assert!(parse(kind, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["../root", "a/b", ".hidden", "a b", "ä"] {
            assert!(parse(SettingKind::Names, bad).is_none(), "{bad}");
        }
        assert_eq!(
            parse(SettingKind::Names, "root, root1,"),
            Some(SettingValue::Names(vec!["root".into(), "root1".into()]))
        );
    }

    #[test]
    fn control_characters_are_refused_everywhere() {
        for kind in [SettingKind::Optional, SettingKind::Url, SettingKind::Path, SettingKind::OptionalPath] {
            assert!(parse(kind, "memory://\u{1b}[31m").is_none(), "{kind:?}");
        }
    }
}
