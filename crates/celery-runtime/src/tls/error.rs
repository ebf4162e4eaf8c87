//! Why TLS cannot be set up.

use std::path::PathBuf;

use rustls::pki_types::pem;

use crate::credentials::CredentialsError;

/// Why certificates and keys cannot be used. Never quotes them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A private key is configured without its certificate.
    #[error("TLS: there is a private key ({}) without a certificate", key.display())]
    KeyWithoutCertificate {
        /// The file of the key.
        key: PathBuf,
    },
    /// rustls cannot be configured.
    #[error("TLS: {0}")]
    Configuration(#[source] rustls::Error),
    /// No authority can be read.
    #[error("TLS: there is no certificate authority to trust")]
    NoAuthority,
    /// Certificates cannot be read.
    #[error("TLS: certificates are not in PEM")]
    NotPem(#[source] pem::Error),
    /// Our identity holds no certificate.
    #[error("TLS: the file of the client certificate holds no certificate")]
    NoCertificate,
    // Without a source: it would add nothing, and must not hold a key.
    /// Our identity holds no private key.
    #[error("TLS: the file of the private key holds no private key")]
    NoPrivateKey,
    /// Our private key belongs to another certificate.
    #[error("TLS: the client certificate and its private key do not match")]
    KeyMismatch(#[source] rustls::Error),
}
