//! SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::CliError;
use crate::{exit_code, output};

/// A token that the first SIGINT or SIGTERM cancels; a second one ends the process at once.
///
/// # Errors
/// When signals cannot be listened to.
pub fn shutdown() -> Result<CancellationToken, CliError> {
    let listen =
        |kind| signal(kind).map_err(|error| CliError::infrastructure(format!("listening to signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                output::note("finishing what is under way; once more ends at once");
                cancelled.cancel();
            }
        }
        std::process::exit(exit_code::KILLED.into());
    });
    Ok(token)
}
