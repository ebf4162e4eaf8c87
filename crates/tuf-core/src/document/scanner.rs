//! A walk over canonical JSON that finds where members stand.

use std::borrow::Cow;
use std::ops::Range;

use super::error::DocumentError;

/// Walks canonical JSON (compact: no white space) without building anything.
pub(super) struct DocumentScanner<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> DocumentScanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn malformed(&self, reason: &'static str) -> DocumentError {
        DocumentError::Malformed { offset: self.at, reason }
    }

    fn take(&mut self, byte: u8, reason: &'static str) -> Result<(), DocumentError> {
        if self.bytes.get(self.at) == Some(&byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.malformed(reason))
        }
    }

    /// Reads a string; its span includes the quotes.
    fn string(&mut self) -> Result<Range<usize>, DocumentError> {
        let start = self.at;
        self.take(b'"', "a string")?;
        loop {
            match memchr::memchr2(b'"', b'\\', &self.bytes[self.at..]) {
                Some(skip) if self.bytes[self.at + skip] == b'"' => {
                    self.at += skip + 1;
                    return Ok(start..self.at);
                }
                Some(skip) if self.at + skip + 2 <= self.bytes.len() => self.at += skip + 2,
                _ => return Err(self.malformed("the end of a string")),
            }
        }
    }

    /// Walks an object; `member` is called behind each `"key":` and must walk the value.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, [u8]>, Range<usize>) -> Result<(), DocumentError>,
    ) -> Result<(), DocumentError> {
        self.take(b'{', "an object")?;
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let span = self.string()?;
            self.take(b':', "a colon")?;
            let bytes = self.bytes;
            member(self, unescape(&bytes[span.start + 1..span.end - 1]), span)?;
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.malformed("a comma or the end of an object")),
            }
        }
    }

    pub(super) fn skip_value(&mut self) -> Result<(), DocumentError> {
        let mut depth = 0usize;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                    while matches!(self.bytes.get(self.at), Some(b'-' | b'0'..=b'9' | b'a'..=b'z')) {
                        self.at += 1;
                    }
                }
                _ => return Err(self.malformed("a value")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// The text of a canonical JSON string.
pub(super) fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    match unescape(inner) {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// Canonical JSON escapes only `"` and `\`, each by a `\` before it.
pub(super) fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        out.push(if byte == b'\\' { bytes.next().copied().unwrap_or(b'\\') } else { byte });
    }
    Cow::Owned(out)
}
