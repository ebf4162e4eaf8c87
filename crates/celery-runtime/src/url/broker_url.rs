//! A broker URL of any scheme.

use std::{fmt, path::PathBuf, str::FromStr};

use super::{
    amqp::AmqpUrl,
    error::{UrlError, invalid},
    redis::RedisUrl,
};
use crate::tls::TlsFiles;

/// A parsed broker URL. `Display` and `Debug` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub enum BrokerUrl {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS.
    Amqp(AmqpUrl),
    /// `redis://user:password@host:port/db`, `rediss://` for TLS, or `redis+socket:///path?virtual_host=db`.
    Redis(RedisUrl),
    /// `memory://`: a new broker inside this process.
    Memory,
    /// `memory+unix:///path/broker.sock`: the in-process broker of another process on this machine.
    Socket(PathBuf),
}

/// The longest path a Unix socket address can hold, the terminating zero excluded.
const MAX_SOCKET_PATH_BYTES: usize = 107;

impl BrokerUrl {
    /// The files that the URL names. Each connection reads them again.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let (password, tls) = match self {
            Self::Amqp(url) => (&url.password_file, url.tls.as_ref()),
            Self::Redis(url) => (&url.password_file, url.tls()),
            Self::Memory | Self::Socket(_) => return Vec::new(),
        };
        let TlsFiles { ca, cert, key } = tls.cloned().unwrap_or_default();
        [password.clone(), ca, cert, key].into_iter().flatten().collect()
    }
}

impl FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::NoScheme)?;
        match scheme {
            "amqp" | "pyamqp" => AmqpUrl::parse(rest, false).map(Self::Amqp),
            "amqps" => AmqpUrl::parse(rest, true).map(Self::Amqp),
            "redis" | "rediss" => RedisUrl::parse_tcp(rest, scheme == "rediss").map(Self::Redis),
            "redis+socket" => RedisUrl::parse_socket(rest).map(Self::Redis),
            "memory" if rest.trim_end_matches('/').is_empty() => Ok(Self::Memory),
            "memory" => Err(invalid("memory:// url", "nothing may follow memory://")),
            "memory+unix" => {
                if !rest.starts_with('/') {
                    return Err(invalid("socket path", "it must be absolute (memory+unix:///path/broker.sock)"));
                }
                if rest.len() > MAX_SOCKET_PATH_BYTES {
                    return Err(invalid("socket path", "it is longer than the 107 bytes a socket address can hold"));
                }
                Ok(Self::Socket(PathBuf::from(rest)))
            }
            // Anything else in front of "://" could be a password pasted in the wrong place.
            other if other.len() <= 16 && other.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
                Err(UrlError::Scheme(other.to_owned()))
            }
            _ => Err(UrlError::NoScheme),
        }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amqp(url) => url.fmt(f),
            Self::Redis(url) => url.fmt(f),
            Self::Memory => f.write_str("memory://"),
            Self::Socket(path) => write!(f, "memory+unix://{}", path.display()),
        }
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_schemes_are_refused_by_name() {
        assert_eq!("sqs://x".parse::<BrokerUrl>(), Err(UrlError::Scheme("sqs".into())));
        assert_eq!("localhost".parse::<BrokerUrl>(), Err(UrlError::NoScheme));
        assert!("memory://x".parse::<BrokerUrl>().is_err());
        assert!("memory+unix://relative".parse::<BrokerUrl>().is_err());
        assert_eq!("memory://".parse::<BrokerUrl>(), Ok(BrokerUrl::Memory));
    }

    #[test]
    fn a_password_is_in_no_text() {
        let url: BrokerUrl = "amqp://me:s3cret@host/v".parse().unwrap();
        assert_eq!(format!("{url}"), "amqp://me@host:5672/v");
        assert!(!format!("{url:?}").contains("s3cret"));
        for bad in [
            "amqp://me:s3cret@host:port",
            "s3cret://x",
            "amqp://me:s3cret%zz@host",
            "amqp://me:s3cret?@host",
            "me:s3cret@host",
            "amqp://me:s3cret@",
            "amqp://me:s3cret@host/v?s3cret=1",
            "amqps://me:s3cret@host/v?ssl_ca_certs=s3cret",
            "amqps://me:s3cret@host/v?password_file=/s3cret",
            "amqp://me:s3cret@host/v#s3cret",
        ] {
            let error = bad.parse::<BrokerUrl>().unwrap_err();
            if !bad.starts_with("s3cret://") {
                assert!(!format!("{error} {error:?}").contains("s3cret"), "{bad}");
            }
        }
    }

    #[test]
    fn a_redis_password_is_in_no_text_and_invalid_urls_are_refused() {
        let url = "redis://me:s3cret@host/1".parse::<BrokerUrl>().unwrap();
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
