//! Broker URLs. A password is readable by the transport alone: no `Debug`, log line or error contains it.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::redis::RedisUrl;

/// A parsed broker URL. `Display` and `Debug` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub enum BrokerUrl {
    /// `amqp://user:password@host:port/vhost`
    Amqp(AmqpUrl),
    /// `redis://user:password@host:port/db`, `rediss://` for TLS, or `redis+socket:///path?virtual_host=db`.
    Redis(RedisUrl),
    /// `memory://`: a fresh broker inside this process.
    Memory,
    /// `memory+unix:///path/broker.sock`: the in-process broker of another process on this machine.
    Socket(PathBuf),
}

/// The parts of an `amqp://` URL, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) vhost: String,
}

/// Why a broker URL was not understood. Names the part that is wrong and never quotes credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("broker url has no scheme (expected amqp://, redis://, memory:// or memory+unix://)")]
    NoScheme,
    /// A scheme this build cannot speak.
    #[error(
        "broker url scheme {0:?} is not supported (expected amqp, redis, rediss, redis+socket, memory or memory+unix)"
    )]
    Scheme(String),
    /// The part named cannot be read.
    #[error("broker url has an invalid {part}: {reason}")]
    Invalid {
        /// Which part of the URL.
        part: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

pub(crate) const fn invalid(part: &'static str, reason: &'static str) -> UrlError {
    UrlError::Invalid { part, reason }
}

/// The longest path a Unix socket address can hold, the terminating zero excluded.
const MAX_SOCKET_PATH: usize = 107;

impl FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::NoScheme)?;
        match scheme {
            "amqp" | "pyamqp" => parse_amqp(rest).map(Self::Amqp),
            "redis" | "rediss" => RedisUrl::parse_tcp(rest, scheme == "rediss").map(Self::Redis),
            "redis+socket" => RedisUrl::parse_socket(rest).map(Self::Redis),
            "memory" if rest.trim_end_matches('/').is_empty() => Ok(Self::Memory),
            "memory" => Err(invalid("memory:// url", "nothing may follow memory://")),
            "memory+unix" => {
                if !rest.starts_with('/') {
                    return Err(invalid("socket path", "it must be absolute (memory+unix:///path/broker.sock)"));
                }
                if rest.len() > MAX_SOCKET_PATH {
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

fn parse_amqp(rest: &str) -> Result<AmqpUrl, UrlError> {
    if rest.contains(['?', '#']) {
        return Err(invalid("query", "parameters are not supported (percent-encode ? and # in passwords)"));
    }
    // The last '@' ends the credentials, as Celery reads it.
    let (credentials, location) = match rest.rsplit_once('@') {
        Some((credentials, location)) => (Some(credentials), location),
        None => (None, rest),
    };
    let (user, password) = match credentials {
        Some(credentials) => {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            (decode(user, "user")?, decode(password, "password")?)
        }
        None => ("guest".to_owned(), "guest".to_owned()),
    };
    let (authority, vhost) = match location.split_once('/') {
        Some((authority, vhost)) => (authority, Some(vhost)),
        None => (location, None),
    };
    let (host, port) = split_port(authority, 5672)?;
    if host.is_empty() {
        return Err(invalid("host", "it is empty"));
    }
    if host.len() > 255 || host.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(invalid("host", "it holds characters a host name cannot"));
    }
    // As in Celery, a missing and an empty virtual host both mean "/".
    let vhost = match vhost {
        None | Some("") => "/".to_owned(),
        Some(vhost) => decode(vhost, "virtual host")?,
    };
    for (part, value) in [("user", &user), ("password", &password), ("virtual host", &vhost)] {
        if value.len() > 255 {
            return Err(invalid(part, "it is longer than 255 bytes"));
        }
    }
    Ok(AmqpUrl { user, password, host: host.to_owned(), port, vhost })
}

pub(crate) fn split_port(authority: &str, default: u16) -> Result<(&str, u16), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(invalid("host", "a [ has no ]"))?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(invalid("port", "expected : after ]")),
        }
    } else {
        match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    match port {
        None | Some("") => Ok((host, default)),
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port != 0 => Ok((host, port)),
            _ => Err(invalid("port", "it is not a number between 1 and 65535")),
        },
    }
}

pub(crate) fn decode(text: &str, part: &'static str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => {
                return Err(invalid(part, "a % is not followed by two hexadecimal digits"));
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid(part, "it is not UTF-8"))
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

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "amqp://{}@{open}{}{close}:{}/{}", self.user, self.host, self.port, self.vhost.replace('/', "%2f"))
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amqp(url: &str) -> AmqpUrl {
        match url.parse() {
            Ok(BrokerUrl::Amqp(url)) => url,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_amqp_url_is_read_whole() {
        let url = amqp("amqp://me:p%40ss%2Fw@rabbit.example:5673/team%2Fone");
        assert_eq!((url.user.as_str(), url.password.as_str()), ("me", "p@ss/w"));
        assert_eq!((url.host.as_str(), url.port, url.vhost.as_str()), ("rabbit.example", 5673, "team/one"));
    }

    #[test]
    fn the_defaults_are_those_of_celery() {
        for url in ["amqp://localhost", "amqp://localhost/", "amqp://localhost:5672/%2f", "amqp://localhost//"] {
            let url = amqp(url);
            assert_eq!((url.user.as_str(), url.port, url.vhost.as_str()), ("guest", 5672, "/"));
        }
        assert_eq!(amqp("amqp://[::1]:7/x").host, "::1");
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
        ] {
            let error = bad.parse::<BrokerUrl>().unwrap_err();
            if !bad.starts_with("s3cret://") {
                assert!(!format!("{error} {error:?}").contains("s3cret"), "{bad}");
            }
        }
    }

    #[test]
    fn other_schemes_are_refused_by_name() {
        assert_eq!("sqs://x".parse::<BrokerUrl>(), Err(UrlError::Scheme("sqs".into())));
        assert_eq!("localhost".parse::<BrokerUrl>(), Err(UrlError::NoScheme));
        assert!("memory://x".parse::<BrokerUrl>().is_err());
        assert!("memory+unix://relative".parse::<BrokerUrl>().is_err());
        assert_eq!("memory://".parse::<BrokerUrl>(), Ok(BrokerUrl::Memory));
    }
}
