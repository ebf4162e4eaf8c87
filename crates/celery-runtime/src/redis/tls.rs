//! TLS by rustls and ring. The provider is named, because the process may hold another one as well.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::broker::TlsOptions;

/// Shakes hands with the server of this name.
pub(super) async fn secured(
    stream: TcpStream,
    host: &str,
    options: &TlsOptions,
) -> Result<TlsStream<TcpStream>, String> {
    let config = config(options)?;
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| "the host is no name a certificate can have".to_owned())?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| format!("TLS: {error}"))
}

fn config(options: &TlsOptions) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(authorities(options)?);
    let Some(identity) = &options.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(identity)?;
    // The reason would name nothing of use, and a key must not be in it.
    let key = PrivateKeyDer::from_pem_slice(identity).map_err(|_| "our identity holds no private key".to_owned())?;
    builder.with_client_auth_cert(chain, key).map_err(|_| "our certificate and private key do not fit".to_owned())
}

fn authorities(options: &TlsOptions) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let found = match &options.authorities {
        Some(pem) => certificates(pem)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (added, _) = store.add_parsable_certificates(found);
    if added == 0 {
        return Err("there is no certificate authority to trust".to_owned());
    }
    Ok(store)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| "certificates are not in PEM".to_owned())
}
