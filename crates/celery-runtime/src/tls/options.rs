//! How a connection is secured.

use std::{fmt, path::PathBuf};

/// How a connection is secured. The server's certificate is always checked, its name included.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// Certificates of the authorities to trust, in PEM. Without it, and without [`TlsFiles::ca`], the system's authorities are
    /// trusted, which `SSL_CERT_FILE` and `SSL_CERT_DIR` may place elsewhere.
    pub authorities: Option<Vec<u8>>,
    /// Our own certificate, those between it and its authority, and its private key, in PEM: for servers that ask for one.
    pub identity: Option<Vec<u8>>,
    /// The same in files, which win over the bytes.
    pub files: TlsFiles,
}

/// The files of certificates and keys, in PEM.
///
/// Each connection reads them again, so that they can be replaced under a running process. Files in a URL win over those in
/// [`TlsOptions`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities to trust: `ssl_ca_certs` in a URL.
    pub ca: Option<PathBuf>,
    /// Our own certificate and those between it and its authority: `ssl_certfile` in a URL.
    pub cert: Option<PathBuf>,
    /// The certificate's private key: `ssl_keyfile` in a URL; without it the key is in the file of the certificate. A key that
    /// other users can read is refused, except below `/run/secrets` and `/run/credentials`, where it is only logged.
    pub key: Option<PathBuf>,
}

/// Keys are not shown.
impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("authorities", &self.authorities.is_some())
            .field("identity", &self.identity.is_some())
            .field("files", &self.files)
            .finish()
    }
}
