//! What kinds of value there are, and how their text is read.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::schedule;
use crate::policy::PathPatterns;

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
    /// 0, or a power of two from 2 to 16384.
    Bins,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of names; in an environment variable separated by commas.
    Names,
    /// A list of patterns of target paths; in an environment variable separated by commas.
    Patterns,
    /// `IP:PORT`, or empty.
    Address,
    /// A log level with exceptions per module.
    LogFilter,
    /// A mapping of names to tasks and their times; in an environment variable as JSON.
    Schedule,
}

/// A value as it was written, before its kind is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Text(String),
    List(Vec<String>),
}

/// A value after its kind was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Bool(bool),
    Count(u64),
    Duration(Duration),
    Names(Vec<String>),
    Address(Option<SocketAddr>),
}

/// The most addresses in a list.
const MAX_URLS: usize = 32;

impl Kind {
    /// Whether values may hold secrets.
    #[must_use]
    pub fn is_secret(self) -> bool {
        self == Self::Url
    }

    /// What is expected, as it reads after "expected".
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
            Self::Bins => "0 or a power of two from 2 to 16384".into(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Names => "a list of names of letters, digits, `.`, `_` and `-`".into(),
            Self::Patterns => "a list of patterns of target paths such as `packages/*/*.zip` or `**`".into(),
            Self::Address => "an IP address and a port such as `127.0.0.1:9440`, or nothing".into(),
            Self::Schedule => {
                "a mapping of names to `task`, `queue`, one of `crontab` (five fields) and `every` (seconds, 1 at \
                               least), and maybe `kwargs` (JSON), `expires` and `jitter` (seconds)"
                    .into()
            }
            Self::LogFilter => "a level such as `info`, with exceptions such as `info,lapin=debug`".into(),
        }
    }

    /// Applies the kind; `None` when the value is not of it.
    pub(super) fn parse(self, raw: &Raw) -> Option<Value> {
        let text = match (self, raw) {
            (Self::Names, Raw::List(names)) => {
                return parse_names(names.iter().map(String::as_str));
            }
            (Self::Url, Raw::List(urls)) => {
                let fit = (1..=MAX_URLS).contains(&urls.len()) && urls.iter().all(|url| !url.contains(';'));
                return fit.then(|| self.parse(&Raw::Text(urls.join(";"))))?;
            }
            (Self::Patterns, Raw::List(patterns)) => {
                return parse_patterns(patterns.iter().map(String::as_str));
            }
            (_, Raw::List(_)) => return None,
            (_, Raw::Text(text)) => text.trim(),
        };
        if text.chars().any(char::is_control) {
            return None;
        }
        match self {
            Self::Optional => (text.chars().count() <= 255).then(|| Value::Text(text.to_owned())),
            Self::Url => text.split(';').all(is_url).then(|| Value::Text(text.to_owned())),
            Self::Path => (!text.is_empty()).then(|| Value::Text(text.to_owned())),
            Self::OptionalPath => Some(Value::Text(text.to_owned())),
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(Value::Bool(true)),
                "false" | "no" | "off" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Count { min, max } => text.parse().ok().filter(|count| (min..=max).contains(count)).map(Value::Count),
            Self::Seconds { min_millis, max_millis } => {
                let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0)?;
                let duration = Duration::try_from_secs_f64(seconds).ok()?;
                let range = Duration::from_millis(min_millis)..=Duration::from_millis(max_millis);
                range.contains(&duration).then_some(Value::Duration(duration))
            }
            Self::Bins => {
                let bins: u64 = text.parse().ok()?;
                let fits = bins == 0 || (bins.is_power_of_two() && (2..=16_384).contains(&bins));
                fits.then_some(Value::Count(bins))
            }
            Self::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Self::Names => parse_names(text.split(',').filter(|name| !name.trim().is_empty())),
            Self::Patterns => parse_patterns(text.split(',').filter(|pattern| !pattern.trim().is_empty())),
            Self::Schedule => schedule::parse(text).map(|_| Value::Text(text.to_owned())),
            Self::Address if text.is_empty() => Some(Value::Address(None)),
            Self::Address => text.parse().ok().map(|address| Value::Address(Some(address))),
            Self::LogFilter => {
                let filter = tracing_subscriber::filter::Targets::from_str(text);
                (filter.is_ok() && !text.is_empty()).then(|| Value::Text(text.to_owned()))
            }
        }
    }
}

fn parse_names<'a>(names: impl Iterator<Item = &'a str>) -> Option<Value> {
    let mut parsed = Vec::new();
    for name in names {
        let name = name.trim();
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !plain || parsed.len() >= 1024 {
            return None;
        }
        parsed.push(name.to_owned());
    }
    Some(Value::Names(parsed))
}

fn parse_patterns<'a>(patterns: impl Iterator<Item = &'a str>) -> Option<Value> {
    let patterns: Vec<String> = patterns.map(|pattern| pattern.trim().to_owned()).collect();
    let fit = patterns.len() <= 1024 && patterns.iter().all(|pattern| PathPatterns::is_pattern(pattern));
    fit.then_some(Value::Names(patterns))
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

    fn parse(kind: Kind, text: &str) -> Option<Value> {
        kind.parse(&Raw::Text(text.into()))
    }

    #[test]
    fn bins_are_powers_of_two_within_bounds() {
        for good in ["0", "2", "256", "16384"] {
            assert!(parse(Kind::Bins, good).is_some(), "{good}");
        }
        for bad in ["1", "3", "32768", "-2", "", "2.0"] {
            assert!(parse(Kind::Bins, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn seconds_take_decimals_and_refuse_what_is_no_duration() {
        let kind = Kind::Seconds { min_millis: 1, max_millis: 10_000 };
        assert_eq!(parse(kind, "0.25"), Some(Value::Duration(Duration::from_millis(250))));
        for bad in ["0", "-1", "NaN", "inf", "11", "5s", "1e400"] {
            assert!(parse(kind, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["../root", "a/b", ".hidden", "a b", "ä"] {
            assert!(parse(Kind::Names, bad).is_none(), "{bad}");
        }
        assert_eq!(parse(Kind::Names, "root, root1,"), Some(Value::Names(vec!["root".into(), "root1".into()])));
    }

    #[test]
    fn control_characters_are_refused_everywhere() {
        for kind in [Kind::Optional, Kind::Url, Kind::Path, Kind::OptionalPath] {
            assert!(parse(kind, "memory://\u{1b}[31m").is_none(), "{kind:?}");
        }
    }
}
