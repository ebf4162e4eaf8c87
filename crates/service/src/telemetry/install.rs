//! Starting the log of a process.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::filter::filter;
use super::format::LogFormat;
use super::layer::LineLayer;

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Starts logging for this process: `level` as the setting `log_level` takes it (`info` when it is malformed), one JSON
/// object per line when `json` is set. Only the first call has an effect: a worker inside another program logs as that
/// program decided.
pub fn init(level: &str, json: bool) {
    if INSTALLED.swap(true, Ordering::SeqCst) {
        return;
    }
    let format = if json {
        LogFormat::Json
    } else {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        LogFormat::Human { colour: !plain && std::io::stderr().is_terminal() }
    };
    let layer = LineLayer { format, write: |line: String| drop(std::io::stderr().lock().write_all(line.as_bytes())) };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter(level)));
    // Fails only when the program around the worker logs already; its log stays.
    drop(tracing::subscriber::set_global_default(subscriber));
}

/// Logs panics as one line each instead of letting them print.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(panic.location = place, "panic: {message}");
    }));
}

/// Whether this process logs.
#[must_use]
pub fn is_installed() -> bool {
    INSTALLED.load(Ordering::SeqCst)
}
