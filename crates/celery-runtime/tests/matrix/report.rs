//! The outcome of each feature, compared with the expected one.

use serde_json::{Map, Value};

use super::lab::Cell;

/// Collects all differences, so that one run tells about every feature.
pub struct Report {
    cell: Cell,
    seen: Map<String, Value>,
    wrong: Vec<String>,
}

impl Report {
    pub fn new(cell: Cell, seen: Value) -> Self {
        let Value::Object(seen) = seen else { panic!("{cell:?}: not an object: {seen}") };
        Self { cell, seen, wrong: Vec::new() }
    }

    pub fn expect(&mut self, feature: &str, expected: impl Into<Value>) {
        let (seen, expected) = (self.seen.remove(feature), expected.into());
        if seen.as_ref() != Some(&expected) {
            let seen = seen.map_or_else(|| "nothing".to_owned(), |seen| seen.to_string());
            self.wrong.push(format!("{feature}: {seen} instead of {expected}"));
        }
    }

    /// # Panics
    /// If anything differed, or a feature was not looked at.
    #[track_caller]
    pub fn end(mut self) {
        self.wrong.extend(self.seen.iter().map(|(feature, seen)| format!("{feature}: {seen}, which nobody expected")));
        assert!(self.wrong.is_empty(), "{:?}:\n{}", self.cell, self.wrong.join("\n"));
    }
}
