//! The targets of a delegation: shell-style patterns and hash prefixes (specification §4.5 PATHPATTERN).

use crate::names::{MAX_TARGET_PATH_BYTES, TargetPath};

/// A shell-style pattern of target paths: `*`, `?` and `[…]` within one component, never across a `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Validates a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`] with the rule that was broken.
    pub fn new(pattern: &str) -> Result<Self, InvalidPattern> {
        if pattern.len() > MAX_TARGET_PATH_BYTES {
            return Err(InvalidPattern::TooLong);
        }
        if pattern.chars().any(char::is_control) {
            return Err(InvalidPattern::ControlCharacter);
        }
        Ok(Self(pattern.to_owned()))
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern matches `path`: as many components, each matched by the pattern in its place.
    #[must_use]
    pub fn matches(&self, path: &TargetPath) -> bool {
        let mut components = path.as_str().split('/');
        let mut patterns = self.0.split('/');
        loop {
            match (patterns.next(), components.next()) {
                (None, None) => return true,
                (Some(pattern), Some(component)) if glob(pattern, component) => {}
                _ => return false,
            }
        }
    }
}

/// A text is not a pattern of target paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Longer than [`MAX_TARGET_PATH_BYTES`].
    #[error("a path pattern is at most 4096 bytes long")]
    TooLong,
    /// A control character.
    #[error("a path pattern has no control characters")]
    ControlCharacter,
}

/// One element of a pattern.
#[derive(Debug, Clone, Copy)]
enum Element<'a> {
    Star,
    Any,
    Set { negated: bool, inside: &'a str },
    Character(char),
}

/// The first element of a pattern and the rest. As in Python's `fnmatch`, a `[` without its `]` is itself.
fn element(pattern: &str) -> Option<(Element<'_>, &str)> {
    let first = pattern.chars().next()?;
    let rest = &pattern[first.len_utf8()..];
    let element = match first {
        '*' => Element::Star,
        '?' => Element::Any,
        '[' => {
            let negated = rest.starts_with('!');
            let body = if negated { &rest[1..] } else { rest };
            // A `]` that comes first is a member.
            let from = usize::from(body.starts_with(']'));
            match body[from..].find(']') {
                Some(end) => {
                    let (inside, after) = (&body[..from + end], &body[from + end + 1..]);
                    return Some((Element::Set { negated, inside }, after));
                }
                None => Element::Character('['),
            }
        }
        other => Element::Character(other),
    };
    Some((element, rest))
}

fn in_set(inside: &str, character: char) -> bool {
    let members: Vec<char> = inside.chars().collect();
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            if (members[at]..=members[at + 2]).contains(&character) {
                return true;
            }
            at += 3;
        } else {
            if members[at] == character {
                return true;
            }
            at += 1;
        }
    }
    false
}

/// Matches one component in time at most the product of both lengths: only the last `*` is ever retried.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let step = match (element(pattern), text.chars().next()) {
            (Some((Element::Star, after)), _) => {
                retry = Some((after, text));
                pattern = after;
                continue;
            }
            (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => None,
            (Some((element, after)), Some(character)) => {
                let matched = match element {
                    Element::Set { negated, inside } => in_set(inside, character) != negated,
                    Element::Character(expected) => expected == character,
                    Element::Any | Element::Star => true,
                };
                matched.then(|| (after, &text[character.len_utf8()..]))
            }
        };
        match (step, retry) {
            (Some(next), _) => (pattern, text) = next,
            (None, Some((after, from))) => {
                let Some(character) = from.chars().next() else {
                    return false;
                };
                let shorter = &from[character.len_utf8()..];
                retry = Some((after, shorter));
                (pattern, text) = (after, shorter);
            }
            (None, None) => return false,
        }
    }
}

/// A text is not a hash prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash prefix is 1 to 64 lower-case hexadecimal digits")]
pub struct InvalidHashPrefix;

/// The first digits of a hexadecimal sha256: 1 to 64, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashPrefix(String);

impl HashPrefix {
    /// Validates a prefix.
    ///
    /// # Errors
    /// [`InvalidHashPrefix`].
    pub fn new(prefix: &str) -> Result<Self, InvalidHashPrefix> {
        let hex = prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || !(1..=64).contains(&prefix.len()) {
            return Err(InvalidHashPrefix);
        }
        Ok(Self(prefix.to_owned()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
