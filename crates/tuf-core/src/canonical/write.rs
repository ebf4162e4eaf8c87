//! Writing canonical bytes, and the file form of them.

use std::borrow::Cow;
use std::iter::Peekable;

use serde_json::Value;

use super::json::{Extra, ExtraIter};
use super::{CanonicalError, INTEGER_LIMIT, Json, MAX_DEPTH};

/// Appends `text` as a canonical string: quoted, with `"` and `\` escaped and nothing else.
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b == b'"' || b == b'\\') {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends `number` in decimal.
pub(crate) fn write_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `true` or `false`.
pub(crate) fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends `bytes` in lower-case hexadecimal.
pub(crate) fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// The canonical form of a JSON value. Keys are sorted here, whatever order the value keeps them in.
///
/// # Errors
/// [`CanonicalError`] for floats, integers of 2^53 or more, and values nested too deep.
pub fn value_to_canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    write_value(&mut out, value, 0)?;
    Ok(out)
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), CanonicalError> {
    if depth > MAX_DEPTH {
        return Err(CanonicalError::TooDeep);
    }
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            if let Some(magnitude) = number.as_u64() {
                write_magnitude(out, magnitude)?;
            } else if let Some(negative) = number.as_i64() {
                out.push(b'-');
                write_magnitude(out, negative.unsigned_abs())?;
            } else {
                return Err(CanonicalError::Float { at: None });
            }
        }
        Value::String(text) => write_str(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(out, item, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_str(out, key);
                out.push(b':');
                write_value(out, value, depth + 1)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_magnitude(out: &mut Vec<u8>, magnitude: u64) -> Result<(), CanonicalError> {
    if magnitude >= INTEGER_LIMIT {
        return Err(CanonicalError::Integer { at: None });
    }
    write_u64(out, magnitude);
    Ok(())
}

/// Looks at a stretch at a time without leaving it early, which is what the compiler makes fast.
fn first_control(bytes: &[u8]) -> Option<usize> {
    const STRETCH: usize = 256;
    let control = |byte: &u8| *byte < 0x20;
    let clean = |stretch: &[u8]| !stretch.iter().fold(false, |found, byte| found | control(byte));
    let start = STRETCH * bytes.chunks(STRETCH).take_while(|stretch| clean(stretch)).count();
    Some(start + bytes.get(start..)?.iter().position(control)?)
}

/// The file form of canonical bytes: the same, with control characters escaped as JSON wants them.
///
/// Borrowed when there are none, which is so for everything without PEM keys.
#[must_use]
pub fn to_json(canonical: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = first_control(canonical) else {
        return Cow::Borrowed(canonical);
    };
    let mut out = Vec::with_capacity(canonical.len() + 64);
    let (mut rest, mut at) = (canonical, Some(first));
    while let Some(control) = at {
        out.extend_from_slice(&rest[..control]);
        match rest[control] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
        rest = &rest[control + 1..];
        at = first_control(rest);
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// Writes one object, merging unknown members into their sorted places.
///
/// Call [`ObjectWriter::field`] in sorted order, write the value into what it returns, and end with
/// [`ObjectWriter::finish`].
#[derive(Debug)]
pub(crate) struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    extra: Peekable<ExtraIter<'a>>,
    empty: bool,
    #[cfg(debug_assertions)]
    last: &'static str,
}

impl<'a> ObjectWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, extra: &'a Extra) -> Self {
        out.push(b'{');
        Self {
            out,
            extra: extra.iter().peekable(),
            empty: true,
            #[cfg(debug_assertions)]
            last: "",
        }
    }

    /// Writes the key of a known member; the caller appends its value to the returned buffer.
    pub(crate) fn field(&mut self, name: &'static str) -> &mut Vec<u8> {
        #[cfg(debug_assertions)]
        {
            debug_assert!(self.last < name, "fields are written in sorted order");
            self.last = name;
        }
        while let Some((key, value)) = self.extra.next_if(|(key, _)| *key < name) {
            self.write(key, value);
        }
        // A known member wins over an unknown one of its name.
        let _ = self.extra.next_if(|(key, _)| *key == name);
        self.key(name);
        self.out
    }

    pub(crate) fn finish(mut self) {
        while let Some((key, value)) = self.extra.next() {
            self.write(key, value);
        }
        self.out.push(b'}');
    }

    fn write(&mut self, key: &str, value: &Json) {
        self.key(key);
        self.out.extend_from_slice(value.as_canonical().as_bytes());
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        write_str(self.out, key);
        self.out.push(b':');
    }
}
