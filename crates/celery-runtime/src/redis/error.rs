//! What an error of Redis means for whoever asked.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// No answer within the time allowed.
    #[error("redis cannot be reached: {reason}")]
    Unavailable {
        /// The last connection error.
        reason: String,
        /// Whether it may have been carried out.
        sent: bool,
    },
    /// Redis will not do it.
    #[error("redis refused: {reason}")]
    Refused {
        /// Redis's words.
        reason: String,
    },
    /// The connection was closed by this process.
    #[error("the connection was closed")]
    Closed,
}

/// What to do about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection is gone; try on the next.
    Lost,
    /// Redis is loading, full, a replica at the moment, or forgot a script; try again.
    NotNow,
    /// It will not do it however often it is asked.
    Refused,
}

pub(crate) fn judge(error: &RedisError) -> Failure {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::TryAgain
            | ServerErrorKind::NoScript,
        ) => Failure::NotNow,
        // No memory, no disk, no replica: for an administrator to mend, after which it goes on.
        _ if error.code().is_some_and(|code| ["OOM", "MISCONF", "NOREPLICAS"].contains(&code)) => Failure::NotNow,
        ErrorKind::Io | ErrorKind::Parse => Failure::Lost,
        _ if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() => Failure::Lost,
        _ => Failure::Refused,
    }
}

/// The error in words. Redis repeats no passwords; keys and arguments may be in it, cut to a sensible length.
pub(crate) fn words(error: &RedisError) -> String {
    let text = error.to_string();
    text.char_indices().nth(300).map_or(text.as_str(), |(at, _)| text.get(..at).unwrap_or_default()).to_owned()
}
