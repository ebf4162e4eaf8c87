//! Broker URLs. A password is readable by the transport alone: no `Debug`, log line or error contains it.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::{credentials, redis::RedisUrl, servers::ServerUrl, tls::TlsFiles};

/// A parsed broker URL. `Display` and `Debug` leave the password out.
#[derive(Clone, PartialEq, Eq)]
pub enum BrokerUrl {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS.
    Amqp(AmqpUrl),
    /// `redis://user:password@host:port/db`, `rediss://` for TLS, or `redis+socket:///path?virtual_host=db`.
    Redis(RedisUrl),
    /// `memory://`: a fresh broker inside this process.
    Memory,
    /// `memory+unix:///path/broker.sock`: the in-process broker of another process on this machine.
    Socket(PathBuf),
}

/// The parts of an `amqp://` or `amqps://` URL, percent-decoded.
///
/// Options follow a `?`: `password_file`, and for TLS `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` ([`TlsFiles`]).
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) vhost: String,
}

/// Why a broker URL was not understood. Names the part that is wrong and never quotes credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("broker url has no scheme (expected amqp://, amqps://, redis://, rediss://, memory:// or memory+unix://)")]
    NoScheme,
    /// A scheme this build cannot speak.
    #[error(
        "broker url scheme {0:?} is not supported (expected amqp, amqps, redis, rediss, redis+socket, memory or memory+unix)"
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

impl BrokerUrl {
    /// The files it names, each read anew for every connection.
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
            "amqp" | "pyamqp" => parse_amqp(rest, false).map(Self::Amqp),
            "amqps" => parse_amqp(rest, true).map(Self::Amqp),
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

/// The most servers one URL may name.
const MAX_SERVERS: usize = 32;

/// One URL, or several separated by `;` as Celery writes them. They are of one kind, and of one mind about everything but
/// where the server is and who we are there.
///
/// # Errors
/// If any of them is not understood, or they do not fit together.
pub fn parse_list(text: &str) -> Result<Vec<BrokerUrl>, UrlError> {
    let mut urls: Vec<BrokerUrl> = Vec::new();
    for url in text.split(';') {
        let url: BrokerUrl = url.trim().parse()?;
        let fits = match (urls.first(), &url) {
            (None, _) | (Some(BrokerUrl::Amqp(_)), BrokerUrl::Amqp(_)) => true,
            (Some(BrokerUrl::Redis(first)), BrokerUrl::Redis(url)) => first.agrees_with(url),
            _ => false,
        };
        if !fits {
            return Err(invalid("list of servers", "they differ in kind, database or options"));
        }
        if urls.len() == MAX_SERVERS {
            return Err(invalid("list of servers", "there are more than 32"));
        }
        urls.push(url);
    }
    Ok(urls)
}

/// What `amqp` and `redis` URLs have in common behind the `?`, with the names kombu gives them.
#[derive(Default)]
pub(crate) struct CommonOptions {
    pub password_file: Option<PathBuf>,
    pub files: TlsFiles,
    secured: bool,
}

impl CommonOptions {
    /// Whether it was one of them.
    pub fn take(&mut self, name: &str, value: &str) -> Result<bool, UrlError> {
        let path = || match value.starts_with('/') {
            true => Ok(Some(PathBuf::from(value))),
            false => Err(invalid("query", "a file is not named by its absolute path")),
        };
        self.secured |= name.starts_with("ssl_");
        match name {
            "password_file" => self.password_file = path()?,
            "ssl_ca_certs" => self.files.ca = path()?,
            "ssl_certfile" => self.files.cert = path()?,
            "ssl_keyfile" => self.files.key = path()?,
            // Python clients have to say so.
            "ssl_cert_reqs" if matches!(value, "required" | "CERT_REQUIRED") => {}
            "ssl_cert_reqs" => return Err(invalid("query", "certificates are always checked")),
            "ssl_check_hostname" if value.eq_ignore_ascii_case("true") => {}
            "ssl_check_hostname" => return Err(invalid("query", "the name in a certificate is always checked")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The files of a connection with TLS.
    pub fn tls(self, tls: bool) -> Result<Option<TlsFiles>, UrlError> {
        match (tls, self.secured) {
            (true, _) => Ok(Some(self.files)),
            (false, false) => Ok(None),
            (false, true) => Err(invalid("query", "options of TLS need amqps:// or rediss://")),
        }
    }
}

/// The password to use now: that of the file, if there is one.
pub(crate) async fn present_password(password: &str, file: Option<&PathBuf>) -> Result<String, String> {
    match file {
        Some(path) => credentials::password(path).await,
        None => Ok(password.to_owned()),
    }
}

impl ServerUrl for AmqpUrl {
    fn of(url: BrokerUrl) -> Option<Self> {
        match url {
            BrokerUrl::Amqp(url) => Some(url),
            _ => None,
        }
    }

    fn agrees_with(&self, _other: &Self) -> bool {
        true
    }
}

fn parse_amqp(rest: &str, tls: bool) -> Result<AmqpUrl, UrlError> {
    if rest.contains('#') {
        return Err(invalid("fragment", "there is none (percent-encode ? and # in passwords)"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
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
    let (host, port) = split_port(authority, if tls { 5671 } else { 5672 })?;
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
    let mut options = CommonOptions::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !options.take(name, &decode(value, "query")?)? {
            return Err(invalid("query", "an option is not known (percent-encode ? and # in passwords)"));
        }
    }
    let password_file = options.password_file.take();
    if password_file.is_some() && credentials.is_some_and(|credentials| credentials.contains(':')) {
        return Err(invalid("password", "it is in the URL and in a file"));
    }
    Ok(AmqpUrl { user, password, password_file, tls: options.tls(tls)?, host: host.to_owned(), port, vhost })
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
        let scheme = if self.tls.is_some() { "amqps" } else { "amqp" };
        write!(
            f,
            "{scheme}://{}@{open}{}{close}:{}/{}",
            self.user,
            self.host,
            self.port,
            self.vhost.replace('/', "%2f")
        )
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
    fn tls_is_asked_for_as_in_celery() {
        let url = amqp(
            "amqps://me@rabbit/v?ssl_ca_certs=/ca.pem&ssl_certfile=/my.pem&ssl_keyfile=/my%20key.pem&ssl_cert_reqs=CERT_REQUIRED&password_file=/p",
        );
        assert_eq!((url.port, url.password.as_str(), url.password_file), (5671, "", Some("/p".into())));
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!(url.tls, Some(TlsFiles { ca: path("/ca.pem"), cert: path("/my.pem"), key: path("/my key.pem") }));
        assert_eq!(amqp("amqps://rabbit").to_string(), "amqps://guest@rabbit:5671/%2f");
        for bad in [
            "amqps://rabbit?ssl_cert_reqs=CERT_NONE",
            "amqps://rabbit?ssl_check_hostname=false",
            "amqps://rabbit?ssl_ca_certs=ca.pem",
            "amqp://rabbit?ssl_ca_certs=/ca.pem",
            "amqps://rabbit?heartbeat=5",
        ] {
            assert!(bad.parse::<BrokerUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn several_servers_are_of_one_kind() {
        assert_eq!(parse_list("amqp://a; amqps://b;amqp://c/v").unwrap().len(), 3);
        assert_eq!(parse_list("redis://a/1;rediss://b/1").unwrap().len(), 2);
        for bad in ["amqp://a;", "amqp://a;redis://b", "redis://a/1;redis://b/2", "memory://;memory://", ""] {
            assert!(parse_list(bad).is_err(), "{bad}");
        }
        assert!(parse_list(&["amqp://a"; 33].join(";")).is_err());
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
