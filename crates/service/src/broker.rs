//! The broker of a worker: its addresses, its credentials and the files they come from.

use std::path::PathBuf;

use celery_runtime::broker::{BrokerUrl, ConnectOptions, TlsFiles, TlsOptions, parse_list};

use crate::config::{ConfigError, mask_url};

/// Schemes of brokers without TLS.
const PLAIN_SCHEMES: [&str; 4] = ["amqp://", "pyamqp://", "redis://", "redis+socket://"];

/// The one broker a worker takes its tasks from.
#[derive(Clone, Default)]
pub struct BrokerSettings {
    /// `broker_url`: one address, or several separated by `;`; may hold a password.
    pub url: String,
    /// The file `broker_url` comes from, if any; it is read again for every connection.
    pub url_file: Option<PathBuf>,
    /// `broker_tls.*`.
    pub tls: TlsFiles,
}

impl std::fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerSettings")
            .field("url", &self.shown_url())
            .field("url_file", &self.url_file)
            .field("tls", &self.tls)
            .finish()
    }
}

/// Broker settings that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerContradiction {
    /// A private key without its certificate.
    #[error("`broker_tls.key` is set, but `broker_tls.cert` is not: set both")]
    KeyWithoutCertificate,
    /// TLS is configured for a broker that is reached without it.
    #[error("`broker_tls` is set, but a `broker_url` does not use TLS: use amqps:// or rediss://")]
    TlsForPlainBroker,
}

impl BrokerSettings {
    /// The addresses without their passwords.
    #[must_use]
    pub fn shown_url(&self) -> String {
        mask_url(&self.url)
    }

    /// Whether the broker is in this process, so that no task from outside reaches the worker.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.url.starts_with("memory:")
    }

    /// How to connect, under a name that the broker's administrator sees.
    #[must_use]
    pub fn connect_options(&self, connection_name: String) -> ConnectOptions {
        ConnectOptions {
            connection_name,
            tls: TlsOptions { files: self.tls.clone(), ..TlsOptions::default() },
            url_file: self.url_file.clone(),
            ..ConnectOptions::default()
        }
    }

    /// The files that are read again for every connection.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let urls = parse_list(&self.url).unwrap_or_default();
        let TlsFiles { ca, cert, key } = self.tls.clone();
        let named = [self.url_file.clone(), ca, cert, key];
        named.into_iter().flatten().chain(urls.iter().flat_map(BrokerUrl::files)).collect()
    }

    /// Refuses TLS settings that would not be used: an administrator who configures TLS relies on it.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`] with a [`BrokerContradiction`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.tls.key.is_some() && self.tls.cert.is_none() {
            return Err(ConfigError::contradiction(BrokerContradiction::KeyWithoutCertificate));
        }
        let is_plain = |url: &str| PLAIN_SCHEMES.iter().any(|scheme| url.trim().starts_with(scheme));
        if self.tls != TlsFiles::default() && self.url.split(';').any(is_plain) {
            return Err(ConfigError::contradiction(BrokerContradiction::TlsForPlainBroker));
        }
        Ok(())
    }
}
