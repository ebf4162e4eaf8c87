//! Standard output and standard error: one JSON document with `--json`, text for people without it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::CliError;

/// The form of a command's results.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON documents or text.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a command's result: `document` as JSON, or as the text that `text` makes of it.
    ///
    /// # Errors
    /// When standard output cannot be written. A closed pipe is no error.
    pub fn result<T: Serialize>(self, document: &T, text: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        let printed = if self.json {
            let mut printed = serde_json::to_string_pretty(document)
                .map_err(|error| CliError::local_failure(error).during("cannot write the result as JSON"))?;
            printed.push('\n');
            printed
        } else {
            text(document)
        };
        write(&printed)
    }

    /// Prints one of many results as it arrives: a line of JSON, or the text that `text` makes of it.
    ///
    /// # Errors
    /// As [`Output::result`].
    pub fn item<T: Serialize>(self, document: &T, text: impl FnOnce(&T) -> String) -> Result<(), CliError> {
        let printed = if self.json {
            let mut line = serde_json::to_string(document)
                .map_err(|error| CliError::local_failure(error).during("cannot write the result as JSON"))?;
            line.push('\n');
            line
        } else {
            text(document)
        };
        write(&printed)
    }

    /// Prints text before the result; nothing with `--json`.
    ///
    /// # Errors
    /// As [`Output::result`].
    pub fn text(self, text: &str) -> Result<(), CliError> {
        if self.json { Ok(()) } else { write(text) }
    }

    /// Shows an error with its sources and its hint on standard error: a line of JSON, or `error: …` and `hint: …`, one line
    /// each.
    pub fn error(self, error: &CliError) {
        let message = one_line(&error.message());
        let hint = error.next_step().map(one_line);
        let mut text = if self.json {
            let exit_code = error.exit_code().code();
            serde_json::json!({ "error": message, "hint": hint, "exit_code": exit_code }).to_string()
        } else {
            hint.map_or_else(|| format!("error: {message}"), |hint| format!("error: {message}\nhint: {hint}"))
        };
        text.push('\n');
        // Without standard error the exit code still says that the command failed.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// A progress bar on standard error that counts bytes; hidden with `--json`, and unless standard error is a terminal.
    #[must_use]
    pub fn bytes_bar(self, label: &'static str, bytes: u64) -> ProgressBar {
        self.bar(label, bytes, "{msg} [{bar:30}] {bytes}/{total_bytes} {eta}")
    }

    /// A progress bar like [`Output::bytes_bar`] that counts items.
    #[must_use]
    pub fn count_bar(self, label: &'static str, count: u64) -> ProgressBar {
        self.bar(label, count, "{msg} [{bar:30}] {pos}/{len} {eta}")
    }

    fn bar(self, label: &'static str, length: u64, template: &str) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        // A few draws a second, so that short work draws nothing.
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr_with_hz(4));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.with_message(label)
    }
}

fn write(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::local_failure(error).during("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

/// Shows a note on standard error.
pub fn note(text: &str) {
    // As for an error.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Text from outside as one line, with control characters escaped.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Columns padded to their widest cell, two spaces between; the last one is not padded.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A number with its noun: `1 file`, `2 files`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A number of bytes with a binary unit: `3.00 KiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_end_in_spaces() {
        let rows = [vec!["a".into(), "bb".into(), "c".into()], vec!["aaa".into(), String::new(), String::new()]];
        assert_eq!(table(&rows), "a    bb  c\naaa\n");
    }

    #[test]
    fn text_from_outside_stays_on_its_line() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    }
}
