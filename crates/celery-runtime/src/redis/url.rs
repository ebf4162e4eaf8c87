//! Where a Redis is. A password is readable by the transport alone: no `Debug`, log line or error contains it.

use std::{fmt, path::PathBuf, time::Duration};

use celery_protocol::redis::keys::{RESULT_SECONDS, VISIBILITY_TIMEOUT_SECONDS};

use crate::{
    broker::{
        BrokerInfo, BrokerUrl, UrlError,
        url::{CommonOptions, decode, invalid, split_port},
    },
    servers::ServerUrl,
    tls::TlsFiles,
};

/// The parts of a `redis://`, `rediss://` or `redis+socket://` URL, percent-decoded. `Display` and `Debug` leave the password out.
///
/// Options follow a `?`: `visibility_timeout` (seconds, [`VISIBILITY_TIMEOUT_SECONDS`] by default; as everywhere in a Celery
/// estate, all workers should have the same), `result_expires` (seconds, 0 for never, a day by default), `global_keyprefix`,
/// `result_chord_ordered` (`false` where Python workers have it so in their `result_backend_transport_options`; the results of a
/// chord then come in the order its members ended in), `virtual_host` (the database of a socket), `password_file`, and for TLS
/// `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` ([`TlsFiles`]).
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) address: Address,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) db: i64,
    pub(crate) prefix: String,
    pub(crate) visibility_timeout: Duration,
    pub(crate) result_expires: Duration,
    pub(crate) chord_ordered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp { host: String, port: u16, tls: Option<TlsFiles> },
    Socket(PathBuf),
}

impl RedisUrl {
    /// What follows `redis://`, or `rediss://`.
    pub(crate) fn parse_tcp(rest: &str, tls: bool) -> Result<Self, UrlError> {
        let (rest, query) = split_query(rest);
        // The last '@' ends the credentials, as Celery reads it.
        let (credentials, location) = match rest.rsplit_once('@') {
            Some((credentials, location)) => (Some(credentials), location),
            None => (None, rest),
        };
        let (authority, db) = location.split_once('/').unwrap_or((location, ""));
        let (host, port) = split_port(authority, 6379)?;
        let host = if host.is_empty() { "localhost" } else { host };
        if host.len() > 255 || host.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/') {
            return Err(invalid("host", "it holds characters a host name cannot"));
        }
        let mut url = Self::at(Address::Tcp { host: host.to_owned(), port, tls: None });
        url.db = database(db)?;
        url.credentials(credentials)?;
        let files = url.query(query, tls)?;
        url.address = Address::Tcp { host: host.to_owned(), port, tls: files };
        Ok(url)
    }

    /// What follows `redis+socket://`.
    pub(crate) fn parse_socket(rest: &str) -> Result<Self, UrlError> {
        let (rest, query) = split_query(rest);
        let (credentials, path) = match rest.rsplit_once('@') {
            Some((credentials, path)) => (Some(credentials), path),
            None => (None, rest),
        };
        if !path.starts_with('/') {
            return Err(invalid("socket path", "it must be absolute (redis+socket:///path/redis.sock)"));
        }
        let mut url = Self::at(Address::Socket(PathBuf::from(decode(path, "socket path")?)));
        url.credentials(credentials)?;
        url.query(query, false)?;
        Ok(url)
    }

    pub(crate) fn tls(&self) -> Option<&TlsFiles> {
        match &self.address {
            Address::Tcp { tls, .. } => tls.as_ref(),
            Address::Socket(_) => None,
        }
    }

    /// Where it is and as whom it is used, as kombu tells it.
    pub(crate) fn info(&self) -> BrokerInfo {
        let (transport, hostname, port) = match &self.address {
            Address::Tcp { host, port, tls } => {
                (if tls.is_some() { "rediss" } else { "redis" }, host.clone(), Some(*port))
            }
            Address::Socket(path) => ("redis+socket", path.display().to_string(), None),
        };
        BrokerInfo {
            transport: transport.to_owned(),
            hostname,
            port,
            user: self.user.clone().unwrap_or_default(),
            vhost: self.db.to_string(),
            heartbeat: Duration::ZERO,
        }
    }

    fn at(address: Address) -> Self {
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

    /// Takes the options; returns the files of TLS.
    fn query(&mut self, query: &str, tls: bool) -> Result<Option<TlsFiles>, UrlError> {
        let mut common = CommonOptions::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value, "query")?;
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

fn split_query(rest: &str) -> (&str, &str) {
    rest.split_once('?').unwrap_or((rest, ""))
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

impl ServerUrl for RedisUrl {
    fn of(url: BrokerUrl) -> Option<Self> {
        match url {
            BrokerUrl::Redis(url) => Some(url),
            _ => None,
        }
    }

    /// They hold the same under the same names.
    fn agrees_with(&self, other: &Self) -> bool {
        let kept = |url: &Self| (url.db, url.prefix.clone(), url.visibility_timeout, url.result_expires);
        kept(self) == kept(other)
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        match &self.address {
            Address::Tcp { host, port, tls } => {
                let scheme = if tls.is_some() { "rediss" } else { "redis" };
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{scheme}://{user}{open}{host}{close}:{port}/{}", self.db)
            }
            Address::Socket(path) => {
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

    fn redis(url: &str) -> RedisUrl {
        match url.parse() {
            Ok(BrokerUrl::Redis(url)) => url,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_redis_url_is_read_whole() {
        let url = redis(
            "redis://me:p%40ss@cache.example:6380/3?visibility_timeout=60&global_keyprefix=a%3A&result_expires=0",
        );
        assert_eq!(url.address, Address::Tcp { host: "cache.example".into(), port: 6380, tls: None });
        assert_eq!((url.user.as_deref(), url.password.as_deref(), url.db), (Some("me"), Some("p@ss"), 3));
        assert_eq!(
            (url.visibility_timeout.as_secs(), url.result_expires.as_secs(), url.prefix.as_str()),
            (60, 0, "a:")
        );
        assert!(url.chord_ordered && !redis("redis://h/0?result_chord_ordered=False").chord_ordered);
        assert!("redis://h/0?result_chord_ordered=maybe".parse::<BrokerUrl>().is_err());
        let url = redis("rediss://cache.example/0?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/ca.pem&password_file=/p");
        let tls = Some(TlsFiles { ca: Some("/ca.pem".into()), ..TlsFiles::default() });
        assert_eq!(url.address, Address::Tcp { host: "cache.example".into(), port: 6379, tls });
        assert_eq!(url.password_file, Some("/p".into()));
        assert_eq!(url.to_string(), "rediss://cache.example:6379/0");
        for bad in ["rediss://h?ssl_cert_reqs=none", "redis://h?ssl_ca_certs=/ca.pem", "redis://:p@h?password_file=/p"]
        {
            assert!(bad.parse::<BrokerUrl>().is_err(), "{bad}");
        }
        let url = redis("redis+socket:///run/redis.sock?virtual_host=2");
        assert_eq!((url.address, url.db), (Address::Socket("/run/redis.sock".into()), 2));
    }

    #[test]
    fn what_is_told_of_it_is_what_python_tells() {
        let info = redis("redis://:s3cret@127.0.0.1:26998/2").info();
        assert_eq!((info.transport.as_str(), info.hostname.as_str(), info.port), ("redis", "127.0.0.1", Some(26998)));
        assert_eq!((info.user.as_str(), info.vhost.as_str()), ("", "2"));
        assert_eq!(info.masked_url(), "redis://127.0.0.1:26998/2");
        assert_eq!(redis("redis://me:s3cret@host").info().masked_url(), "redis://me:********@host:6379/0");
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

    #[test]
    fn a_password_is_in_no_text_and_what_is_not_understood_is_refused() {
        let url = redis("redis://me:s3cret@host/1");
        assert_eq!(format!("{url} {url:?}"), "redis://me@host:6379/1 redis://me@host:6379/1");
        for bad in [
            "redis://me:s3cret@host:port",
            "redis://me:s3cret@host/x",
            "redis://me:s3cret@host/0?s3cret=1",
            "redis://me:s3cret@host/0?visibility_timeout=s3cret",
            "redis+socket://me:s3cret@relative",
        ] {
            let error = bad.parse::<BrokerUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{bad}");
        }
    }
}
