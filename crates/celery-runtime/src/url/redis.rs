//! `redis://`, `rediss://` and `redis+socket://` URLs.

use std::{fmt, path::PathBuf, time::Duration};

use celery_protocol::redis::keys::{RESULT_SECONDS, VISIBILITY_TIMEOUT_SECONDS};

use super::{
    error::{UrlError, invalid},
    options::CommonOptions,
    parts::{bracketed, check_host, decode, query_options, split_credentials, split_port, split_query},
};
use crate::tls::TlsFiles;

/// The parts of a `redis://`, `rediss://` or `redis+socket://` URL, percent-decoded. `Display` and `Debug` leave the password out.
///
/// Options follow a `?`: `visibility_timeout` (seconds, [`VISIBILITY_TIMEOUT_SECONDS`] by default; as everywhere in a Celery
/// estate, all workers should have the same), `result_expires` (seconds, 0 for never, a day by default), `global_keyprefix`,
/// `result_chord_ordered` (`false` where Python workers have it so in their `result_backend_transport_options`; the results of a
/// chord then come in the order its members ended in), `virtual_host` (the database of a socket), `password_file`, and for TLS
/// `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` ([`TlsFiles`]).
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(crate) address: RedisAddress,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) db: i64,
    pub(crate) prefix: String,
    pub(crate) visibility_timeout: Duration,
    pub(crate) result_expires: Duration,
    pub(crate) chord_ordered: bool,
}

/// Where a Redis listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedisAddress {
    Tcp { host: String, port: u16, tls: Option<TlsFiles> },
    Socket(PathBuf),
}

impl RedisUrl {
    /// Parses the text behind `redis://`, or `rediss://` with `tls`.
    pub(super) fn parse_tcp(rest: &str, tls: bool) -> Result<Self, UrlError> {
        let (rest, query) = split_query(rest);
        let (credentials, location) = split_credentials(rest);
        let (authority, db) = location.split_once('/').unwrap_or((location, ""));
        let (host, port) = split_port(authority, 6379)?;
        let host = if host.is_empty() { "localhost" } else { host };
        check_host(host)?;
        let mut url = Self::with_defaults(RedisAddress::Tcp { host: host.to_owned(), port, tls: None });
        url.db = database(db)?;
        url.credentials(credentials)?;
        let files = url.query(query, tls)?;
        url.address = RedisAddress::Tcp { host: host.to_owned(), port, tls: files };
        Ok(url)
    }

    /// Parses the text behind `redis+socket://`.
    pub(super) fn parse_socket(rest: &str) -> Result<Self, UrlError> {
        let (rest, query) = split_query(rest);
        let (credentials, path) = split_credentials(rest);
        if !path.starts_with('/') {
            return Err(invalid("socket path", "it must be absolute (redis+socket:///path/redis.sock)"));
        }
        let mut url = Self::with_defaults(RedisAddress::Socket(PathBuf::from(decode(path, "socket path")?)));
        url.credentials(credentials)?;
        url.query(query, false)?;
        Ok(url)
    }

    pub(crate) fn tls(&self) -> Option<&TlsFiles> {
        match &self.address {
            RedisAddress::Tcp { tls, .. } => tls.as_ref(),
            RedisAddress::Socket(_) => None,
        }
    }

    /// Whether both URLs name the same database with the same options, so that either server can serve the queues.
    pub(super) fn holds_the_same_as(&self, other: &Self) -> bool {
        let kept = |url: &Self| (url.db, url.prefix.clone(), url.visibility_timeout, url.result_expires);
        kept(self) == kept(other)
    }

    fn with_defaults(address: RedisAddress) -> Self {
        Self {
            address,
            user: None,
            password: None,
            password_file: None,
            db: 0,
            prefix: String::new(),
            visibility_timeout: Duration::from_secs(VISIBILITY_TIMEOUT_SECONDS),
            result_expires: Duration::from_secs(RESULT_SECONDS),
            chord_ordered: true,
        }
    }

    fn credentials(&mut self, credentials: Option<&str>) -> Result<(), UrlError> {
        let Some(credentials) = credentials else {
            return Ok(());
        };
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let some = |text: String| (!text.is_empty()).then_some(text);
        self.user = some(decode(user, "user")?);
        self.password = some(decode(password, "password")?);
        Ok(())
    }

    /// Takes the options. Returns the files of TLS, or `None` without TLS.
    fn query(&mut self, query: &str, tls: bool) -> Result<Option<TlsFiles>, UrlError> {
        let mut common = CommonOptions::default();
        for option in query_options(query) {
            let (name, value) = option?;
            if common.take(name, &value)? {
                continue;
            }
            let seconds = || {
                let seconds = value.parse::<u32>().map_err(|_| invalid("query", "a time is not a number of seconds"));
                seconds.map(|seconds| Duration::from_secs(seconds.into()))
            };
            match name {
                "visibility_timeout" => {
                    self.visibility_timeout = seconds()?;
                    if self.visibility_timeout.is_zero() {
                        return Err(invalid("query", "visibility_timeout is zero"));
                    }
                }
                "result_expires" => self.result_expires = seconds()?,
                "result_chord_ordered" => {
                    self.chord_ordered = match value.as_str() {
                        "true" | "True" | "1" => true,
                        "false" | "False" | "0" => false,
                        _ => return Err(invalid("query", "result_chord_ordered is neither true nor false")),
                    }
                }
                "global_keyprefix" => self.prefix = value,
                "virtual_host" => self.db = database(value.trim_start_matches('/'))?,
                _ => return Err(invalid("query", "an option is not known")),
            }
        }
        self.password_file = common.password_file.take();
        if self.password_file.is_some() && self.password.is_some() {
            return Err(invalid("password", "it is in the URL and in a file"));
        }
        common.tls(tls)
    }
}

fn database(text: &str) -> Result<i64, UrlError> {
    match text.trim_end_matches('/') {
        "" => Ok(0),
        text => match text.parse::<u16>() {
            Ok(db) => Ok(db.into()),
            Err(_) => Err(invalid("database", "it is not a number")),
        },
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        match &self.address {
            RedisAddress::Tcp { host, port, tls } => {
                let scheme = if tls.is_some() { "rediss" } else { "redis" };
                write!(f, "{scheme}://{user}{}:{port}/{}", bracketed(host), self.db)
            }
            RedisAddress::Socket(path) => {
                write!(f, "redis+socket://{user}{}?virtual_host={}", path.display(), self.db)
            }
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RedisUrl, UrlError> {
        let (scheme, rest) = url.split_once("://").unwrap();
        match scheme {
            "redis+socket" => RedisUrl::parse_socket(rest),
            scheme => RedisUrl::parse_tcp(rest, scheme == "rediss"),
        }
    }

    fn redis(url: &str) -> RedisUrl {
        parse(url).unwrap()
    }

    #[test]
    fn a_redis_url_is_read_whole() {
        let url = redis(
            "redis://me:p%40ss@cache.example:6380/3?visibility_timeout=60&global_keyprefix=a%3A&result_expires=0",
        );
        assert_eq!(url.address, RedisAddress::Tcp { host: "cache.example".into(), port: 6380, tls: None });
        assert_eq!((url.user.as_deref(), url.password.as_deref(), url.db), (Some("me"), Some("p@ss"), 3));
        assert_eq!(
            (url.visibility_timeout.as_secs(), url.result_expires.as_secs(), url.prefix.as_str()),
            (60, 0, "a:")
        );
        assert!(url.chord_ordered && !redis("redis://h/0?result_chord_ordered=False").chord_ordered);
        assert!(parse("redis://h/0?result_chord_ordered=maybe").is_err());
        let url = redis("rediss://cache.example/0?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/ca.pem&password_file=/p");
        let tls = Some(TlsFiles { ca: Some("/ca.pem".into()), ..TlsFiles::default() });
        assert_eq!(url.address, RedisAddress::Tcp { host: "cache.example".into(), port: 6379, tls });
        assert_eq!(url.password_file, Some("/p".into()));
        assert_eq!(url.to_string(), "rediss://cache.example:6379/0");
        for bad in ["rediss://h?ssl_cert_reqs=none", "redis://h?ssl_ca_certs=/ca.pem", "redis://:p@h?password_file=/p"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let url = redis("redis+socket:///run/redis.sock?virtual_host=2");
        assert_eq!((url.address, url.db), (RedisAddress::Socket("/run/redis.sock".into()), 2));
    }

    #[test]
    fn the_defaults_are_those_of_celery() {
        for url in ["redis://localhost", "redis://", "redis://localhost:6379/0", "redis://localhost/"] {
            let url = redis(url);
            assert_eq!(url, redis("redis://localhost:6379/0"));
            assert_eq!((url.user, url.password, url.visibility_timeout.as_secs()), (None, None, 3600));
        }
        assert_eq!(redis("redis://:secret@h").password.as_deref(), Some("secret"));
    }
}
