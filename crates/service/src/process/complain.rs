//! Messages of a process that has no log yet.

use std::io::{self, Write as _};

/// Writes `text` to standard error.
pub(super) fn complain(text: &str) {
    // With standard error closed there is no other place for it.
    let _ = writeln!(io::stderr(), "{text}");
}
