//! A position in JSON text, and steps over values that must be canonical.

use std::cmp::Ordering;

use super::error::{CanonicalError, INTEGER_LIMIT, MAX_FOREIGN_NESTING, MAX_NESTING};
use super::order::cmp_escaped;

/// The bytes are not canonical; they may still be JSON.
#[derive(Debug)]
pub(crate) struct NotCanonical;

/// A position in a JSON text.
#[derive(Debug)]
pub(crate) struct JsonScanner<'a> {
    text: &'a str,
    pub(super) bytes: &'a [u8],
    pub(crate) pos: usize,
    pub(super) depth: usize,
    /// Strings may hold control characters as they are: canonical bytes rather than a file.
    pub(super) raw_controls: bool,
    /// A document of another origin: integers of any size and deeper nesting are read, and noted here.
    pub(super) foreign: Option<BeyondOurs>,
}

/// Properties of a document that have a canonical form, but not one that this project signs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BeyondOurs {
    /// An integer of 2^53 or more in magnitude.
    pub(crate) large_integer: bool,
    /// Nested deeper than [`MAX_NESTING`].
    pub(crate) deep: bool,
}

impl<'a> JsonScanner<'a> {
    pub(crate) fn new(text: &'a str, raw_controls: bool) -> Self {
        Self { text, bytes: text.as_bytes(), pos: 0, depth: 0, raw_controls, foreign: None }
    }

    /// Goes back to a position outside of any object or array entered since.
    pub(crate) fn rewind(&mut self, pos: usize) {
        self.pos = pos;
        self.depth = 0;
    }

    pub(crate) fn at_end(&self) -> bool {
        self.pos == self.bytes.len()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    pub(crate) fn syntax(&self, problem: &'static str) -> CanonicalError {
        CanonicalError::Syntax { at: self.pos, problem }
    }

    pub(crate) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.pos += 1;
        }
    }

    /// Steps over `byte`, or fails.
    pub(crate) fn expect(&mut self, byte: u8, problem: &'static str) -> Result<(), CanonicalError> {
        if self.peek() == Some(byte) {
            self.pos += 1;
            return Ok(());
        }
        Err(self.syntax(problem))
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.pos += usize::from(found);
        found
    }

    /// Steps over one value, which must be canonical.
    pub(crate) fn canonical_value(&mut self) -> Result<(), NotCanonical> {
        match self.peek() {
            Some(b'"') => self.canonical_string().map(|_| ()),
            Some(b'{') => self.canonical_object(),
            Some(b'[') => self.canonical_array(),
            Some(b't') => self.literal("true").ok_or(NotCanonical),
            Some(b'f') => self.literal("false").ok_or(NotCanonical),
            Some(b'n') => self.literal("null").ok_or(NotCanonical),
            Some(b'-' | b'0'..=b'9') => {
                let start = self.pos;
                let (negative, magnitude) = self.integer().map_err(|_| NotCanonical)?;
                // "-0" is the integer 0, which is written "0".
                if negative && magnitude == 0 {
                    self.pos = start;
                    return Err(NotCanonical);
                }
                Ok(())
            }
            _ => Err(NotCanonical),
        }
    }

    fn canonical_object(&mut self) -> Result<(), NotCanonical> {
        self.enter().map_err(|_| NotCanonical)?;
        let mut previous: Option<&'a str> = None;
        if !self.eat(b'}') {
            loop {
                let key = self.canonical_string()?;
                if previous.is_some_and(|previous| cmp_escaped(previous, key) != Ordering::Less) {
                    return Err(NotCanonical);
                }
                previous = Some(key);
                if !self.eat(b':') {
                    return Err(NotCanonical);
                }
                self.canonical_value()?;
                if self.eat(b'}') {
                    break;
                }
                if !self.eat(b',') {
                    return Err(NotCanonical);
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn canonical_array(&mut self) -> Result<(), NotCanonical> {
        self.enter().map_err(|_| NotCanonical)?;
        if !self.eat(b']') {
            loop {
                self.canonical_value()?;
                if self.eat(b']') {
                    break;
                }
                if !self.eat(b',') {
                    return Err(NotCanonical);
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Steps over a canonical string and returns the text between the quotes, still escaped.
    fn canonical_string(&mut self) -> Result<&'a str, NotCanonical> {
        if !self.eat(b'"') {
            return Err(NotCanonical);
        }
        let start = self.pos;
        loop {
            let rest = &self.bytes[self.pos..];
            let plain = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).ok_or(NotCanonical)?;
            self.pos += plain;
            match rest[plain] {
                b'"' => {
                    let inside = &self.text[start..self.pos];
                    self.pos += 1;
                    return Ok(inside);
                }
                b'\\' if matches!(rest.get(plain + 1), Some(b'"' | b'\\')) => self.pos += 2,
                b if b < 0x20 && self.raw_controls => self.pos += 1,
                _ => return Err(NotCanonical),
            }
        }
    }

    pub(super) fn enter(&mut self) -> Result<(), CanonicalError> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            match &mut self.foreign {
                Some(beyond) if self.depth <= MAX_FOREIGN_NESTING => beyond.deep = true,
                _ => return Err(CanonicalError::TooDeep),
            }
        }
        self.pos += 1;
        Ok(())
    }

    pub(super) fn literal(&mut self, word: &'static str) -> Option<()> {
        self.bytes[self.pos..].starts_with(word.as_bytes()).then(|| self.pos += word.len())
    }

    /// Steps over an integer: its sign and magnitude.
    pub(super) fn integer(&mut self) -> Result<(bool, u64), CanonicalError> {
        let start = self.pos;
        let negative = self.eat(b'-');
        let digits = self.pos;
        let mut magnitude: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            // Saturating keeps every too large number too large.
            magnitude = magnitude.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
            self.pos += 1;
        }
        if self.pos == digits {
            return Err(self.syntax("expected a digit"));
        }
        if self.bytes[digits] == b'0' && self.pos - digits > 1 {
            return Err(CanonicalError::Syntax { at: digits, problem: "a number with a leading zero" });
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(CanonicalError::Float { at: Some(start) });
        }
        if magnitude >= INTEGER_LIMIT {
            return Err(CanonicalError::Integer { at: Some(start) });
        }
        Ok((negative, magnitude))
    }
}
