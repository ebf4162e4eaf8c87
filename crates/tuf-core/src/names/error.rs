//! Names that were refused.

/// A refused name, with the reason. The message quotes the name with control characters escaped, shortened to 80
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}` {reason}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    reason: &'static str,
}

impl NameError {
    pub(super) fn new(kind: &'static str, name: &str, reason: &'static str) -> Self {
        let mut quoted: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        if name.chars().nth(80).is_some() {
            quoted.push('…');
        }
        Self { kind, name: quoted, reason }
    }

    /// The reason without the name, for callers that show the name themselves.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}
