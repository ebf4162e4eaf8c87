//! Conditions that an operator must look at, although the role goes on.

use std::collections::BTreeMap;

/// The present conditions, each under the name of its subject. A condition is logged once, when it begins or changes.
#[derive(Debug, Default)]
pub(crate) struct Notices(BTreeMap<String, String>);

impl Notices {
    /// Notes a condition: `subject` is the file or lock, `text` says what is wrong and what to do.
    pub(crate) fn set(&mut self, subject: &str, text: String) {
        if self.0.get(subject) == Some(&text) {
            return;
        }
        tracing::error!(subject, notice = text, "needs an operator; the role goes on");
        self.0.insert(subject.to_owned(), text);
    }

    /// Notes that the condition has ended.
    pub(crate) fn clear(&mut self, subject: &str) {
        if self.0.remove(subject).is_some() {
            tracing::info!(subject, "needs no operator any more");
        }
    }

    /// The texts.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}
