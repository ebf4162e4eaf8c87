//! From any JSON to canonical bytes in one pass, without a tree.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::encode::write_u64;
use super::error::{CanonicalError, MAX_DOCUMENT_BYTES};
use super::order::cmp_bytes;
use super::scanner::{BeyondOurs, JsonScanner};

/// The canonical form of one JSON document.
///
/// Bytes that already are canonical are borrowed: one scan, no allocation.
///
/// # Errors
/// [`CanonicalError`] for anything that is not JSON or has no canonical form.
pub fn canonicalize(raw: &[u8]) -> Result<Cow<'_, [u8]>, CanonicalError> {
    let text = checked_text(raw)?;
    let mut scanner = JsonScanner::new(text, false);
    if scanner.canonical_value().is_ok() && scanner.at_end() {
        return Ok(Cow::Borrowed(raw));
    }
    let mut scanner = JsonScanner::new(text, false);
    let mut out = Vec::with_capacity(raw.len());
    scanner.skip_space();
    scanner.emit_value(&mut out)?;
    scanner.skip_space();
    if !scanner.at_end() {
        return Err(scanner.syntax("characters after the end of the document"));
    }
    Ok(Cow::Owned(out))
}

/// The canonical form of a document of another origin, and whether it is one that [`canonicalize`] refuses: integers may have
/// any size, and nesting up to 400 levels is read.
///
/// # Errors
/// As [`canonicalize`], but for these.
pub(crate) fn canonicalize_foreign(raw: &[u8]) -> Result<(Vec<u8>, BeyondOurs), CanonicalError> {
    let mut scanner = JsonScanner::new(checked_text(raw)?, false);
    scanner.foreign = Some(BeyondOurs::default());
    let mut out = Vec::with_capacity(raw.len());
    scanner.skip_space();
    scanner.emit_value(&mut out)?;
    scanner.skip_space();
    if !scanner.at_end() {
        return Err(scanner.syntax("characters after the end of the document"));
    }
    Ok((out, scanner.foreign.unwrap_or_default()))
}

/// Whether `bytes` are the canonical form of a document (control characters unescaped, see the module).
#[must_use]
pub fn is_canonical(bytes: &[u8]) -> bool {
    checked_text(bytes).is_ok_and(|text| {
        let mut scanner = JsonScanner::new(text, true);
        scanner.canonical_value().is_ok() && scanner.at_end()
    })
}

/// `raw` as text of a permitted size.
pub(crate) fn checked_text(raw: &[u8]) -> Result<&str, CanonicalError> {
    if raw.len() > MAX_DOCUMENT_BYTES {
        return Err(CanonicalError::TooLarge);
    }
    std::str::from_utf8(raw).map_err(|error| CanonicalError::Utf8 { at: error.valid_up_to() })
}

impl JsonScanner<'_> {
    /// Steps over one value and appends its canonical form to `out`.
    pub(crate) fn emit_value(&mut self, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        match self.peek() {
            Some(b'"') => self.emit_string(out),
            Some(b'{') => self.emit_object(out),
            Some(b'[') => self.emit_array(out),
            Some(b't') => self.emit_literal("true", out),
            Some(b'f') => self.emit_literal("false", out),
            Some(b'n') => self.emit_literal("null", out),
            Some(b'-' | b'0'..=b'9') => self.emit_integer(out),
            None => Err(self.syntax("the document ends too early")),
            Some(_) => Err(self.syntax("expected a value")),
        }
    }

    fn emit_integer(&mut self, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        let start = self.pos;
        match (self.integer(), &mut self.foreign) {
            (Ok((negative, magnitude)), _) => {
                if negative && magnitude != 0 {
                    out.push(b'-');
                }
                write_u64(out, magnitude);
            }
            (Err(CanonicalError::Integer { .. }), Some(beyond)) => {
                beyond.large_integer = true;
                out.extend_from_slice(&self.bytes[start..self.pos]);
            }
            (Err(error), _) => return Err(error),
        }
        Ok(())
    }

    fn emit_literal(&mut self, word: &'static str, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        self.literal(word).ok_or_else(|| self.syntax("expected a value"))?;
        out.extend_from_slice(word.as_bytes());
        Ok(())
    }

    fn emit_array(&mut self, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        self.enter()?;
        out.push(b'[');
        self.skip_space();
        if !self.eat(b']') {
            loop {
                self.skip_space();
                self.emit_value(out)?;
                self.skip_space();
                if self.eat(b']') {
                    break;
                }
                self.expect(b',', "expected `,` or `]`")?;
                out.push(b',');
            }
        }
        out.push(b']');
        self.depth -= 1;
        Ok(())
    }

    fn emit_object(&mut self, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        self.enter()?;
        out.push(b'{');
        let body = out.len();
        // Where each member and the key in it were written.
        let mut members: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        let mut sorted = true;
        self.skip_space();
        if !self.eat(b'}') {
            loop {
                self.skip_space();
                if self.peek() != Some(b'"') {
                    return Err(self.syntax("expected an object key"));
                }
                let start = out.len();
                self.emit_string(out)?;
                let key = start + 1..out.len() - 1;
                if let Some((_, previous)) = members.last() {
                    sorted &= cmp_bytes(&out[previous.clone()], &out[key.clone()]) == Ordering::Less;
                }
                self.skip_space();
                self.expect(b':', "expected `:`")?;
                out.push(b':');
                self.skip_space();
                self.emit_value(out)?;
                members.push((start..out.len(), key));
                self.skip_space();
                if self.eat(b'}') {
                    break;
                }
                self.expect(b',', "expected `,` or `}`")?;
                out.push(b',');
            }
        }
        if !sorted {
            members.sort_by(|(_, a), (_, b)| cmp_bytes(&out[a.clone()], &out[b.clone()]));
            for pair in members.windows(2) {
                let (first, second) = (&out[pair[0].1.clone()], &out[pair[1].1.clone()]);
                if first == second {
                    let key = String::from_utf8_lossy(first).chars().take(80).collect();
                    return Err(CanonicalError::DuplicateKey { key });
                }
            }
            let mut rewritten = Vec::with_capacity(out.len() - body);
            for (member, _) in members {
                if !rewritten.is_empty() {
                    rewritten.push(b',');
                }
                rewritten.extend_from_slice(&out[member]);
            }
            out.truncate(body);
            out.extend_from_slice(&rewritten);
        }
        out.push(b'}');
        self.depth -= 1;
        Ok(())
    }

    /// Steps over a string and appends it in canonical form, quotes included.
    pub(crate) fn emit_string(&mut self, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        self.expect(b'"', "expected a string")?;
        out.push(b'"');
        loop {
            let rest = &self.bytes[self.pos..];
            let Some(plain) = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20) else {
                return Err(self.syntax("a string without an end"));
            };
            out.extend_from_slice(&rest[..plain]);
            self.pos += plain;
            match rest[plain] {
                b'"' => {
                    self.pos += 1;
                    out.push(b'"');
                    return Ok(());
                }
                b'\\' => {
                    self.pos += 1;
                    self.emit_escape(out)?;
                }
                control if self.raw_controls => {
                    self.pos += 1;
                    out.push(control);
                }
                _ => return Err(self.syntax("a control character in a string")),
            }
        }
    }

    /// After a backslash.
    fn emit_escape(&mut self, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
        let Some(byte) = self.peek() else {
            return Err(self.syntax("a string without an end"));
        };
        self.pos += 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.push(b'/'),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let mut unit = self.hex4()?;
                if (0xd800..0xdc00).contains(&unit) {
                    if !(self.eat(b'\\') && self.eat(b'u')) {
                        return Err(self.syntax("half of a surrogate pair"));
                    }
                    let low = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(self.syntax("half of a surrogate pair"));
                    }
                    unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                }
                let Some(character) = char::from_u32(unit) else {
                    return Err(self.syntax("half of a surrogate pair"));
                };
                if matches!(character, '"' | '\\') {
                    out.push(b'\\');
                }
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return Err(self.syntax("an unknown escape")),
        }
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, CanonicalError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.syntax("expected four hexadecimal digits"));
            };
            unit = unit * 16 + digit;
            self.pos += 1;
        }
        Ok(unit)
    }
}
