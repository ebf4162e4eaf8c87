//! The handshake, and the secured connection.

use std::{
    fmt, io,
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

use super::{
    error::TlsError,
    options::{TlsFiles, TlsOptions},
};
use crate::credentials::{read_public, read_secret};

/// The certificates and keys of one connection attempt, read and checked.
pub(crate) struct TlsHandshaker(TlsConnector);

impl fmt::Debug for TlsHandshaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsHandshaker")
    }
}

impl TlsHandshaker {
    /// Reads the files that `url` and `options` name.
    pub async fn prepare(url: &TlsFiles, options: &TlsOptions) -> Result<Self, TlsError> {
        let authorities = match url.ca.as_ref().or(options.files.ca.as_ref()) {
            Some(path) => Some(read_public(path).await?),
            None => options.authorities.clone(),
        };
        // A certificate in the URL comes with its own key, or none.
        let files = if url.cert.is_some() || url.key.is_some() { url } else { &options.files };
        let identity = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let mut both = read_public(cert).await?;
                both.push(b'\n');
                both.extend(read_secret(key).await?);
                Some(both)
            }
            (Some(both), None) => Some(read_secret(both).await?),
            (None, Some(key)) => return Err(TlsError::KeyWithoutCertificate { key: key.clone() }),
            (None, None) => options.identity.clone(),
        };
        let config = config(authorities.as_deref(), identity.as_deref())?;
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands with the server of this name.
    pub async fn secure(&self, stream: TcpStream, host: &str) -> io::Result<TlsConnection> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other("TLS: the host is not a name that a certificate can have"))?;
        let stream = self.0.connect(name, stream).await.map_err(|error| explained(error, host))?;
        Ok(TlsConnection { stream, host: host.into() })
    }
}

fn config(authorities: Option<&[u8]>, identity: Option<&[u8]>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Configuration)?
        .with_root_certificates(trusted(authorities)?);
    let Some(identity) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(identity)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(identity).map_err(|_| TlsError::NoPrivateKey)?;
    builder.with_client_auth_cert(chain, key).map_err(TlsError::KeyMismatch)
}

fn trusted(authorities: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let found = match authorities {
        Some(pem) => certificates(pem)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (added, _) = store.add_parsable_certificates(found);
    if added == 0 {
        return Err(TlsError::NoAuthority);
    }
    Ok(store)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(TlsError::NotPem)
}

/// Explains those errors of a handshake that an administrator can mend.
fn explained(error: io::Error, host: &str) -> io::Error {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) else {
        return error;
    };
    let explanation = match cause {
        rustls::Error::InvalidCertificate(problem) => match problem {
            // The second: an authority has the name of a trusted one, and another key.
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
    io::Error::new(error.kind(), format!("TLS: {explanation}"))
}

/// A secured connection.
///
/// In TLS 1.3 a server refuses a client's certificate after the handshake, so errors are explained here as well.
pub(crate) struct TlsConnection {
    stream: TlsStream<TcpStream>,
    host: Box<str>,
}

impl TlsConnection {
    fn explained<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        outcome.map_err(|error| explained(error, &self.host))
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.explained(outcome)
    }
}

impl AsyncWrite for TlsConnection {
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
