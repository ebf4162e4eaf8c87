//! How to connect.

use std::{path::PathBuf, time::Duration};

use crate::tls::TlsOptions;

/// How to connect. The defaults suit a worker.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The name in the broker's list of connections.
    pub connection_name: String,
    /// The AMQP heartbeat; on Redis the interval between two `PING`s. A connection that is silent for about twice this time
    /// is given up. At least one second.
    pub heartbeat: Duration,
    /// The time limit of one connection attempt.
    pub connect_timeout: Duration,
    /// How long a publish or a declaration waits for a connection and for the broker's answer.
    pub operation_timeout: Duration,
    /// The wait before the first reconnect; each failure doubles it, with jitter.
    pub first_retry: Duration,
    /// The longest wait between two reconnects.
    pub max_retry: Duration,
    /// The authorities that `amqps://` and `rediss://` trust, and our own certificate.
    pub tls: TlsOptions,
    /// The file that holds the broker's URL, if any. Each connection attempt reads it again, so that passwords and servers can
    /// be replaced under a running process. Result backends do not read it.
    pub url_file: Option<PathBuf>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connection_name: "celery-runtime".to_owned(),
            heartbeat: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(30),
            first_retry: Duration::from_millis(50),
            max_retry: Duration::from_secs(5),
            tls: TlsOptions::default(),
            url_file: None,
        }
    }
}
