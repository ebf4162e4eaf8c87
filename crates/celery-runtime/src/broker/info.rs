//! Where a broker is, as remote control shows it.

use std::time::Duration;

use crate::url::{AmqpUrl, RedisAddress, RedisUrl};

/// Where a broker is and which user connects to it; never its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerInfo {
    /// The transport, as in the URL: `amqp`, `redis`, `memory`.
    pub transport: String,
    /// The server's host.
    pub hostname: String,
    /// The server's port, if it has one.
    pub port: Option<u16>,
    /// The user, empty if there is none.
    pub user: String,
    /// The virtual host, or the number of the database.
    pub vhost: String,
    /// The time after which a silent connection is given up; zero for never.
    pub heartbeat: Duration,
}

impl BrokerInfo {
    /// A broker inside this process.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            transport: "memory".to_owned(),
            hostname: "localhost".to_owned(),
            port: None,
            user: String::new(),
            vhost: "/".to_owned(),
            heartbeat: Duration::ZERO,
        }
    }

    /// The broker of an `amqp://` URL.
    pub(crate) fn of_amqp(url: AmqpUrl, heartbeat: Duration) -> Self {
        Self {
            transport: if url.tls.is_some() { "amqps" } else { "amqp" }.to_owned(),
            hostname: url.host,
            port: Some(url.port),
            user: url.user,
            vhost: url.vhost,
            heartbeat,
        }
    }

    /// The server of a `redis://` URL, with kombu's names.
    pub(crate) fn of_redis(url: &RedisUrl) -> Self {
        let (transport, hostname, port) = match &url.address {
            RedisAddress::Tcp { host, port, tls } => {
                (if tls.is_some() { "rediss" } else { "redis" }, host.clone(), Some(*port))
            }
            RedisAddress::Socket(path) => ("redis+socket", path.display().to_string(), None),
        };
        Self {
            transport: transport.to_owned(),
            hostname,
            port,
            user: url.user.clone().unwrap_or_default(),
            vhost: url.db.to_string(),
            heartbeat: Duration::ZERO,
        }
    }

    /// The URL with stars where the password is, as Python shows it.
    #[must_use]
    pub fn masked_url(&self) -> String {
        let user = if self.user.is_empty() { String::new() } else { format!("{}:********@", self.user) };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{user}{}{port}/{}", self.transport, self.hostname, self.vhost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_stars_as_in_python() {
        let info = BrokerInfo {
            transport: "amqp".into(),
            hostname: "127.0.0.1".into(),
            port: Some(25_673),
            user: "guest".into(),
            ..BrokerInfo::in_process()
        };
        assert_eq!(info.masked_url(), "amqp://guest:********@127.0.0.1:25673//");
        assert_eq!(BrokerInfo::in_process().masked_url(), "memory://localhost//");
    }

    fn redis(url: &str) -> BrokerInfo {
        match url.parse() {
            Ok(crate::url::BrokerUrl::Redis(url)) => BrokerInfo::of_redis(&url),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_redis_server_is_shown_as_python_shows_it() {
        let info = redis("redis://:s3cret@127.0.0.1:26998/2");
        assert_eq!((info.transport.as_str(), info.hostname.as_str(), info.port), ("redis", "127.0.0.1", Some(26998)));
        assert_eq!((info.user.as_str(), info.vhost.as_str()), ("", "2"));
        assert_eq!(info.masked_url(), "redis://127.0.0.1:26998/2");
        assert_eq!(redis("redis://me:s3cret@host").masked_url(), "redis://me:********@host:6379/0");
    }
}
