//! Reading canonical text into types in one pass, without a tree.

use std::borrow::Cow;

use super::extra::Extra;
use super::json::Json;
use super::read_error::ReadError;

/// A position in canonical text. On text that is not canonical the methods fail or misread, but never panic.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    pos: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, pos: 0 }
    }

    pub(crate) fn finish(&self) -> Result<(), ReadError> {
        if self.pos == self.text.len() { Ok(()) } else { Err(ReadError::new("unexpected text at the end")) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.pos += usize::from(found);
        found
    }

    /// Reads an object; `member` is called for every key and must read its value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        if !self.eat(b'{') {
            return Err(ReadError::new("expected an object"));
        }
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            if !self.eat(b':') {
                return Err(ReadError::new("expected `:`"));
            }
            member(&key, self).map_err(|error| error.at(&key))?;
            if self.eat(b'}') {
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(ReadError::new("expected `,`").at(&key));
            }
        }
    }

    /// Reads an array; `item` must read one value.
    pub(crate) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), ReadError>) -> Result<(), ReadError> {
        if !self.eat(b'[') {
            return Err(ReadError::new("expected an array"));
        }
        if self.eat(b']') {
            return Ok(());
        }
        let mut index = 0usize;
        loop {
            item(self).map_err(|error| error.at(&index.to_string()))?;
            index += 1;
            if self.eat(b']') {
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(ReadError::new("expected `,`"));
            }
        }
    }

    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, ReadError> {
        let raw = self.raw_string()?;
        if !raw.contains('\\') {
            return Ok(Cow::Borrowed(raw));
        }
        let mut text = String::with_capacity(raw.len());
        let mut characters = raw.chars();
        while let Some(character) = characters.next() {
            let character = if character == '\\' { characters.next().unwrap_or('\\') } else { character };
            text.push(character);
        }
        Ok(Cow::Owned(text))
    }

    /// The text between the quotes, still escaped.
    fn raw_string(&mut self) -> Result<&'a str, ReadError> {
        if !self.eat(b'"') {
            return Err(ReadError::new("expected a string"));
        }
        let start = self.pos;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.pos..).and_then(|rest| rest.iter().position(|&b| b == b'"' || b == b'\\')) {
                None => return Err(ReadError::new("a string without an end")),
                Some(plain) => {
                    self.pos += plain;
                    if bytes[self.pos] == b'"' {
                        self.pos += 1;
                        return Ok(&self.text[start..self.pos - 1]);
                    }
                    self.pos += 2;
                }
            }
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ReadError> {
        let start = self.pos;
        let mut number: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
            self.pos += 1;
        }
        if self.pos == start {
            return Err(ReadError::new("expected a whole number, zero or more"));
        }
        Ok(number)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, ReadError> {
        for (word, value) in [("true", true), ("false", false)] {
            if self.text.as_bytes()[self.pos..].starts_with(word.as_bytes()) {
                self.pos += word.len();
                return Ok(value);
            }
        }
        Err(ReadError::new("expected true or false"))
    }

    /// Steps over any value and returns its canonical text.
    pub(crate) fn raw(&mut self) -> Result<&'a str, ReadError> {
        let start = self.pos;
        let mut depth = 0usize;
        loop {
            match self.peek() {
                None => return Err(ReadError::new("a value without an end")),
                Some(b'"') => {
                    self.raw_string()?;
                }
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.pos += 1;
                    continue;
                }
                Some(b'}' | b']') => {
                    if depth == 0 {
                        return Err(ReadError::new("expected a value"));
                    }
                    depth -= 1;
                    self.pos += 1;
                }
                Some(b',' | b':') if depth > 0 => {
                    self.pos += 1;
                    continue;
                }
                Some(_) => {
                    let rest = &self.text.as_bytes()[self.pos..];
                    let end = rest.iter().position(|b| b",:]}{[\"".contains(b)).unwrap_or(rest.len());
                    if end == 0 {
                        return Err(ReadError::new("expected a value"));
                    }
                    self.pos += end;
                }
            }
            if depth == 0 {
                return Ok(&self.text[start..self.pos]);
            }
        }
    }

    pub(crate) fn json(&mut self) -> Result<Json, ReadError> {
        self.raw().map(Json::trusted)
    }

    /// Reads a member that this project does not know into `extra`.
    pub(crate) fn keep(&mut self, key: &str, extra: &mut Extra) -> Result<(), ReadError> {
        let value = self.json()?;
        extra.insert(key, value);
        Ok(())
    }
}
