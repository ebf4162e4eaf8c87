//! Certificates for tests of TLS: an authority, and valid and invalid certificates that it signs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// An authority with a private directory of its certificates and keys in PEM: `ca.pem`, and `server.crt` and `server.key` for
/// servers on this machine. Dropping it removes the directory.
pub struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its private key, each a file; the key is readable by its owner alone.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority, which no client trusts yet.
    ///
    /// # Panics
    ///
    /// If files cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let mut params = params(&[], "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = must(CertifiedIssuer::self_signed(params, must(KeyPair::generate())));
        let authority = Self { dir: must(TempDir::new()), issuer };
        write(&authority.ca(), &authority.issuer.pem());
        let _ = authority.issue("server", &["localhost", "127.0.0.1"]);
        authority
    }

    /// The directory of its files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its own certificate, for clients that trust it.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir().join("ca.pem")
    }

    /// A certificate `FILE.crt` with `FILE.key` for these host names and addresses, with the common name `file`. It replaces
    /// an earlier one of that name.
    ///
    /// # Panics
    ///
    /// If files cannot be written.
    #[must_use]
    pub fn issue(&self, file: &str, names: &[&str]) -> Issued {
        self.sign(file, params(names, file))
    }

    /// A certificate that expired long ago.
    ///
    /// # Panics
    ///
    /// If files cannot be written.
    #[must_use]
    pub fn issue_expired(&self, file: &str, names: &[&str]) -> Issued {
        let mut params = params(names, file);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(file, params)
    }

    fn sign(&self, file: &str, params: CertificateParams) -> Issued {
        let issued =
            Issued { cert: self.dir().join(format!("{file}.crt")), key: self.dir().join(format!("{file}.key")) };
        let key = must(KeyPair::generate());
        write(&issued.cert, &must(params.signed_by(&key, &self.issuer)).pem());
        write(&issued.key, &key.serialize_pem());
        issued
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("dir", &self.dir.path()).finish_non_exhaustive()
    }
}

fn params(names: &[&str], common: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = must(CertificateParams::new(names));
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn write(path: &Path, text: &str) {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    must(file.and_then(|mut file| file.write_all(text.as_bytes())));
}

#[track_caller]
fn must<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("no certificates for tests: {error}"))
}
