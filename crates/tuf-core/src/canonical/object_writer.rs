//! Objects with known members and members this project does not know, in sorted order.

use std::iter::Peekable;

use super::encode::write_str;
use super::extra::{Extra, ExtraIter};
use super::json::Json;

/// Writes one object, merging unknown members into their sorted places.
///
/// Call [`ObjectWriter::field`] in sorted order, append each value to the buffer it returns, and end with
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
