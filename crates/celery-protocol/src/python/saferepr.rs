//! The bounded `repr` that Celery puts into `argsrepr` and `kwargsrepr`.
//!
//! It is not Python's `repr`: text is always in single quotes with only those escaped, containers
//! below the third level show as `[...]`, and output is cut after some 1024 characters in a way
//! that still closes open containers.

use serde_json::{Map, Value};

use super::{scalar_text, tagged};

/// Celery's `argsrepr_maxsize` and `kwargsrepr_maxsize`, in characters.
const MAX_REPR_CHARS: usize = 1024;
/// Celery's `task_repr_maxlevels`.
const MAX_REPR_LEVELS: usize = 3;

/// The `argsrepr` of Celery 5.7.
#[must_use]
pub fn args_repr(args: &[Value]) -> String {
    let mut repr = SafeRepr::new();
    let close = if args.len() == 1 { ",)" } else { ")" };
    repr.sequence("(", args, close);
    repr.out
}

/// The `kwargsrepr` of Celery 5.7.
#[must_use]
pub fn kwargs_repr(kwargs: &Map<String, Value>) -> String {
    let mut repr = SafeRepr::new();
    repr.mapping(kwargs);
    repr.out
}

struct SafeRepr {
    out: String,
    /// Characters that may still be written. A token is written whole when it starts within them.
    left: usize,
    level: usize,
    /// Whether a part was left out; from then on open containers are only closed.
    cut: bool,
}

impl SafeRepr {
    fn new() -> Self {
        Self { out: String::new(), left: MAX_REPR_CHARS, level: 0, cut: false }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Array(values) => self.sequence("[", values, "]"),
            Value::Object(map) => match tagged::repr(map) {
                Some(text) => self.cuttable(&text),
                None => self.mapping(map),
            },
            Value::String(text) => self.quoted(text),
            scalar => self.cuttable(&scalar_text(scalar)),
        }
    }

    fn sequence(&mut self, open: &str, values: &[Value], close: &str) {
        if !self.open(open, close) {
            return;
        }
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.token(", ");
            }
            if self.cut {
                break;
            }
            self.value(value);
        }
        self.close(close);
    }

    fn mapping(&mut self, map: &Map<String, Value>) {
        if !self.open("{", "}") {
            return;
        }
        for (index, (key, value)) in map.iter().enumerate() {
            if index > 0 {
                self.token(", ");
            }
            if self.cut {
                break;
            }
            self.quoted(key);
            self.token(": ");
            if self.cut {
                break;
            }
            self.value(value);
        }
        self.close("}");
    }

    /// Whether a container was opened, so that it is to be filled and closed.
    fn open(&mut self, open: &str, close: &str) -> bool {
        if self.level >= MAX_REPR_LEVELS {
            self.token(&format!("{open}...{close}"));
            return false;
        }
        self.token(open);
        self.level += 1;
        !self.cut
    }

    fn close(&mut self, close: &str) {
        self.level -= 1;
        self.out.push_str(close);
        self.left = self.left.saturating_sub(close.chars().count());
    }

    fn quoted(&mut self, text: &str) {
        let shown = truncate(text, self.left).replace('\'', "\\'");
        self.token(&format!("'{shown}'"));
    }

    fn cuttable(&mut self, text: &str) {
        let shown = truncate(text, self.left);
        self.token(&shown);
    }

    fn token(&mut self, text: &str) {
        if self.cut {
            return;
        }
        if self.left == 0 {
            self.out.push_str(", ...");
            self.cut = true;
            return;
        }
        self.out.push_str(text);
        self.left = self.left.saturating_sub(text.chars().count());
    }
}

/// Text of at least `longest` characters is cut there, back to the last space, and gets dots.
fn truncate(text: &str, longest: usize) -> String {
    // The first `longest` characters end where character number `longest`, if any, begins.
    let end = match text.char_indices().nth(longest) {
        Some((end, _)) => end,
        None if longest > 0 && text.chars().count() == longest => text.len(),
        None => return text.to_owned(),
    };
    let head = text.get(..end).unwrap_or_default();
    let head = head.rsplit_once(' ').map_or(head, |(before, _)| before);
    format!("{head}...")
}
