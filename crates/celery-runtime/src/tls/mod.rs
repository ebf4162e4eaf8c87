//! TLS by rustls and ring. The provider is named explicitly, because the process may hold another one as well.

mod error;
mod handshake;
mod options;

pub use options::{TlsFiles, TlsOptions};

pub(crate) use error::TlsError;
pub(crate) use handshake::{TlsConnection, TlsHandshaker};
