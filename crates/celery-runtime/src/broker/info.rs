//! What may be told about a broker connection.

use std::time::Duration;

/// Where a broker is and as whom it is used; never its password.
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
    /// The time after which a silent connection is given up, zero for never.
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
}
