//! TLS by rustls and ring. The provider is named, because the process may hold another one as well.

use std::{
    fmt, io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::credentials;

/// How a connection is secured. The server's certificate is always checked, its name included.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// Certificates of the authorities to trust, in PEM. Without it, and without [`TlsFiles::ca`], the system's, which
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` may put elsewhere.
    pub authorities: Option<Vec<u8>>,
    /// Our own certificate, those between it and its authority, and its private key, in PEM: for servers that ask for one.
    pub identity: Option<Vec<u8>>,
    /// The same in files, which win over the bytes.
    pub files: TlsFiles,
}

/// Where certificates and keys are, in PEM. Each is read anew for every connection, so that they can be replaced under a
/// running process. Those in a URL win over those in [`TlsOptions`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities to trust: `ssl_ca_certs` in a URL.
    pub ca: Option<PathBuf>,
    /// Our own certificate and those between it and its authority: `ssl_certfile` in a URL.
    pub cert: Option<PathBuf>,
    /// The certificate's private key: `ssl_keyfile` in a URL; without it the key is in the file of the certificate. It is
    /// refused if others can read it, with a warning only below `/run/secrets` and `/run/credentials`.
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

/// What a connection attempt uses: everything read.
pub(crate) struct Prepared(TlsConnector);

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

/// Reads what `url` and `options` name.
pub(crate) async fn prepare(url: &TlsFiles, options: &TlsOptions) -> Result<Prepared, String> {
    let authorities = match url.ca.as_ref().or(options.files.ca.as_ref()) {
        Some(path) => Some(credentials::public(path).await?),
        None => options.authorities.clone(),
    };
    // A certificate in the URL comes with its own key, or none.
    let files = if url.cert.is_some() || url.key.is_some() { url } else { &options.files };
    let identity = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let mut both = credentials::public(cert).await?;
            both.push(b'\n');
            both.extend(credentials::secret(key).await?);
            Some(both)
        }
        (Some(both), None) => Some(credentials::secret(both).await?),
        (None, Some(key)) => {
            return Err(format!("TLS: there is a private key ({}) without a certificate", key.display()));
        }
        (None, None) => options.identity.clone(),
    };
    let config = config(authorities.as_deref(), identity.as_deref())?;
    Ok(Prepared(TlsConnector::from(Arc::new(config))))
}

impl Prepared {
    /// Shakes hands with the server of this name.
    pub async fn secure(&self, stream: TcpStream, host: &str) -> io::Result<Secured> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other("TLS: the host is no name a certificate can have"))?;
        let stream = self.0.connect(name, stream).await.map_err(|error| explained(error, host))?;
        Ok(Secured { stream, host: host.into() })
    }
}

fn config(authorities: Option<&[u8]>, identity: Option<&[u8]>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(trusted(authorities)?);
    let Some(identity) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(identity)?;
    if chain.is_empty() {
        return Err("TLS: our identity holds no certificate".to_owned());
    }
    // The reason would name nothing of use, and a key must not be in it.
    let key =
        PrivateKeyDer::from_pem_slice(identity).map_err(|_| "TLS: our identity holds no private key".to_owned())?;
    builder.with_client_auth_cert(chain, key).map_err(|_| "TLS: our certificate and private key do not fit".to_owned())
}

fn trusted(authorities: Option<&[u8]>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let found = match authorities {
        Some(pem) => certificates(pem)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (added, _) = store.add_parsable_certificates(found);
    if added == 0 {
        return Err("TLS: there is no certificate authority to trust".to_owned());
    }
    Ok(store)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| "TLS: certificates are not in PEM".to_owned())
}

/// The words an administrator needs, for what can be mended by one.
fn explained(error: io::Error, host: &str) -> io::Error {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) else {
        return error;
    };
    let words = match cause {
        rustls::Error::InvalidCertificate(problem) => match problem {
            // The second is what an authority gives that has the name of a trusted one.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "no authority that is trusted here has signed the server's certificate".into()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet".into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the server's certificate is not for {host}")
            }
            other => format!("the server's certificate is refused: {other}"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server asks for a certificate of ours".into()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::DecryptError
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied),
        ) => format!("the server refuses our certificate ({alert:?})"),
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS on this port".into(),
        other => other.to_string(),
    };
    io::Error::new(error.kind(), format!("TLS: {words}"))
}

/// A secured connection. In TLS 1.3 a server refuses a client's certificate after the handshake, so errors are explained
/// here as well.
pub(crate) struct Secured {
    stream: TlsStream<TcpStream>,
    host: Box<str>,
}

impl Secured {
    fn explained<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        outcome.map_err(|error| explained(error, &self.host))
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.explained(outcome)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.explained(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.explained(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.explained(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.explained(outcome)
    }
}
