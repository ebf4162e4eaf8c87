//! What an error of Redis means for whoever asked.

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

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
    /// Redis is loading, busy, full, a replica at the moment, or forgot a script; try again.
    NotNow,
    /// It will not do it however often it is asked.
    Refused,
}

pub(crate) fn judge(error: &RedisError) -> Failure {
    // What was sent together is as bad as the worst of its errors.
    if let Some(errors) = error.clone().into_server_errors() {
        return if errors.iter().all(|(_, error)| passes(error)) { Failure::NotNow } else { Failure::Refused };
    }
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => Failure::Lost,
        _ if error.is_io_error() || error.is_connection_dropped() || error.is_timeout() => Failure::Lost,
        _ => Failure::Refused,
    }
}

/// Whether it may be otherwise the next time.
fn passes(error: &ServerError) -> bool {
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
                // A command of the transaction was refused. Where it is told which and why, that is judged as well.
                | ServerErrorKind::ExecAbort
        );
    }
    let code = error.code();
    // No memory, no disk, no replica: for an administrator to mend, after which it goes on. Another's script ends.
    if ["OOM", "MISCONF", "NOREPLICAS", "BUSY"].contains(&code) {
        return true;
    }
    // Redis 6.2 and older wrap what befalls a script: `ERR Error running script (…): @user_script:3: … -OOM …`.
    (code == "ERR" || code.starts_with("@user_script"))
        && error.details().is_some_and(|details| {
            [": -OOM", ": -MISCONF", ": -NOREPLICAS", ": -BUSY", ": -READONLY", ": -MASTERDOWN"]
                .iter()
                .any(|wrapped| details.contains(wrapped))
        })
}

/// The error in words. Redis repeats no passwords; keys and arguments may be in it, cut to a sensible length.
pub(crate) fn words(error: &RedisError) -> String {
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
    fn what_passes_by_itself_is_tried_again() {
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
            assert_eq!(judge(&answered(line)), Failure::NotNow, "{line}");
        }
    }

    #[test]
    fn what_stays_as_it_is_is_refused() {
        for line in [
            "ERR unknown command 'BLMOVE'",
            "ERR Error running script (call to f_ab): @user_script:9: WRONGTYPE Operation against a key",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "NOPERM this user has no permissions to run the 'zadd' command",
            "NOAUTH Authentication required.",
            "BUSYGROUP Consumer Group name already exists",
        ] {
            assert_eq!(judge(&answered(line)), Failure::Refused, "{line}");
        }
    }

    #[test]
    fn a_connection_that_ends_is_lost() {
        for kind in [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::TimedOut] {
            assert_eq!(judge(&RedisError::from(std::io::Error::from(kind))), Failure::Lost, "{kind}");
        }
    }
}
