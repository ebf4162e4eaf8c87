//! `amqp://` and `amqps://` URLs.

use std::{fmt, path::PathBuf};

use super::{
    error::{UrlError, invalid},
    options::CommonOptions,
    parts::{bracketed, check_host, decode, query_options, split_credentials, split_port, split_query},
};
use crate::tls::TlsFiles;

/// The parts of an `amqp://` or `amqps://` URL, percent-decoded. `Display` and `Debug` leave the password out.
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

impl AmqpUrl {
    /// Parses the text behind `amqp://`, or `amqps://` with `tls`.
    pub(super) fn parse(rest: &str, tls: bool) -> Result<Self, UrlError> {
        if rest.contains('#') {
            return Err(invalid("fragment", "a broker url has none (percent-encode ? and # in passwords)"));
        }
        let (rest, query) = split_query(rest);
        let (credentials, location) = split_credentials(rest);
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
        check_host(host)?;
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
        for option in query_options(query) {
            let (name, value) = option?;
            if !options.take(name, &value)? {
                return Err(invalid("query", "an option is not known (percent-encode ? and # in passwords)"));
            }
        }
        let password_file = options.password_file.take();
        if password_file.is_some() && credentials.is_some_and(|credentials| credentials.contains(':')) {
            return Err(invalid("password", "it is in the URL and in a file"));
        }
        Ok(Self { user, password, password_file, tls: options.tls(tls)?, host: host.to_owned(), port, vhost })
    }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "amqps" } else { "amqp" };
        let (host, vhost) = (bracketed(&self.host), self.vhost.replace('/', "%2f"));
        write!(f, "{scheme}://{}@{host}:{}/{vhost}", self.user, self.port)
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

    fn parse(url: &str) -> Result<AmqpUrl, UrlError> {
        let (scheme, rest) = url.split_once("://").unwrap();
        AmqpUrl::parse(rest, scheme == "amqps")
    }

    fn amqp(url: &str) -> AmqpUrl {
        parse(url).unwrap()
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
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
