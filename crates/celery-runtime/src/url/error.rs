//! Errors of broker URLs.

/// Why a broker URL could not be parsed. Names the invalid part and never quotes credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The URL does not start with `scheme://`.
    #[error("broker url has no scheme (expected amqp://, amqps://, redis://, rediss://, memory:// or memory+unix://)")]
    NoScheme,
    /// This build does not support the scheme.
    #[error(
        "broker url scheme {0:?} is not supported (expected amqp, amqps, redis, rediss, redis+socket, memory or memory+unix)"
    )]
    Scheme(String),
    /// A part of the URL is invalid.
    #[error("broker url has an invalid {part}: {reason}")]
    Invalid {
        /// The part of the URL.
        part: &'static str,
        /// Why it is invalid.
        reason: &'static str,
    },
}

pub(super) const fn invalid(part: &'static str, reason: &'static str) -> UrlError {
    UrlError::Invalid { part, reason }
}
