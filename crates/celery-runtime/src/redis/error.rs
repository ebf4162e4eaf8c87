//! Errors of Redis: which of them pass, and which end a request.

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

/// Why a request to Redis failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// No answer within the time allowed.
    #[error("redis cannot be reached: {reason}")]
    Unavailable {
        /// The last connection error.
        reason: String,
        /// Whether Redis may have carried out the request.
        sent: bool,
    },
    /// Redis refused the request, and would refuse it again.
    #[error("redis refused: {reason}")]
    Refused {
        /// The text of Redis.
        reason: String,
    },
    /// This process closed the connection.
    #[error("the connection was closed")]
    Closed,
}

/// The consequence of a failed request for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The connection is gone: try on the next one.
    ConnectionLost,
    /// Redis is loading, busy, full, a replica at the moment, or forgot a script: try again.
    Temporary,
    /// Another attempt would be refused too.
    Refused,
}

pub(crate) fn classify(error: &RedisError) -> FailureKind {
    // A pipeline is as bad as the worst of its errors.
    if let Some(errors) = error.clone().into_server_errors() {
        return if errors.iter().all(|(_, error)| is_temporary(error)) {
            FailureKind::Temporary
        } else {
            FailureKind::Refused
        };
    }
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => FailureKind::ConnectionLost,
        _ if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() => FailureKind::ConnectionLost,
        _ => FailureKind::Refused,
    }
}

/// Whether the next attempt may succeed.
fn is_temporary(error: &ServerError) -> bool {
    if let Some(kind) = error.kind()
        && kind != ServerErrorKind::ResponseError
    {
        return matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain
                | ServerErrorKind::NoScript
                // A command of the transaction was refused. If Redis names it, its own error is checked as well.
                | ServerErrorKind::ExecAbort
        );
    }
    let code = error.code();
    // No memory, no disk, no replica: an administrator mends these. BUSY: the script of another client will end.
    if ["OOM", "MISCONF", "NOREPLICAS", "BUSY"].contains(&code) {
        return true;
    }
    // Redis 6.2 and older wrap the error of a script: `ERR Error running script (…): @user_script:3: … -OOM …`.
    (code == "ERR" || code.starts_with("@user_script"))
        && error.details().is_some_and(|details| {
            [": -OOM", ": -MISCONF", ": -NOREPLICAS", ": -BUSY", ": -READONLY", ": -MASTERDOWN"]
                .iter()
                .any(|wrapped| details.contains(wrapped))
        })
}

/// The error as text, cut to 300 characters: Redis may quote keys and arguments in it, but never passwords.
pub(crate) fn short_text(error: &RedisError) -> String {
    let text = error.to_string();
    text.char_indices().nth(300).map_or(text.as_str(), |(at, _)| text.get(..at).unwrap_or_default()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(line: &str) -> RedisError {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn temporary_errors_are_retried() {
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk.",
            "NOREPLICAS Not enough good replicas to write.",
            "READONLY You can't write against a read only replica.",
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "EXECABORT Transaction discarded because of previous errors.",
            "ERR Error running script (call to f_ab): @user_script:9: @user_script: 9: -OOM command not allowed.",
            "ERR Error running script (call to f_ab): @user_script:9: @user_script: 9: -READONLY You can't write.",
            "ERR Error running script (call to f_ab): @user_script:9: @user_script: 9: -MISCONF Redis is configured.",
            "@user_script: 9: -OOM command not allowed when used memory > 'maxmemory'.",
        ] {
            assert_eq!(classify(&answered(line)), FailureKind::Temporary, "{line}");
        }
    }

    #[test]
    fn lasting_errors_are_refused() {
        for line in [
            "ERR unknown command 'BLMOVE'",
            "ERR Error running script (call to f_ab): @user_script:9: WRONGTYPE Operation against a key",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "NOPERM this user has no permissions to run the 'zadd' command",
            "NOAUTH Authentication required.",
            "BUSYGROUP Consumer Group name already exists",
        ] {
            assert_eq!(classify(&answered(line)), FailureKind::Refused, "{line}");
        }
    }

    #[test]
    fn a_connection_that_ends_is_lost() {
        for kind in [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::TimedOut] {
            assert_eq!(classify(&RedisError::from(std::io::Error::from(kind))), FailureKind::ConnectionLost, "{kind}");
        }
    }
}
