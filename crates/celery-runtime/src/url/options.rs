//! The options that `amqp://` and `redis://` URLs have in common.

use std::path::PathBuf;

use super::error::{UrlError, invalid};
use crate::tls::TlsFiles;

/// The common options behind the `?`, under the names kombu gives them.
#[derive(Default)]
pub(super) struct CommonOptions {
    pub password_file: Option<PathBuf>,
    files: TlsFiles,
    /// Whether an option of TLS was given.
    secured: bool,
}

impl CommonOptions {
    /// Takes one option. Returns whether it is a common one.
    pub fn take(&mut self, name: &str, value: &str) -> Result<bool, UrlError> {
        let path = || match value.starts_with('/') {
            true => Ok(Some(PathBuf::from(value))),
            false => Err(invalid("query", "a file is not named by its absolute path")),
        };
        self.secured |= name.starts_with("ssl_");
        match name {
            "password_file" => self.password_file = path()?,
            "ssl_ca_certs" => self.files.ca = path()?,
            "ssl_certfile" => self.files.cert = path()?,
            "ssl_keyfile" => self.files.key = path()?,
            // Python clients have to ask for the check; here it cannot be turned off.
            "ssl_cert_reqs" if matches!(value, "required" | "CERT_REQUIRED") => {}
            "ssl_cert_reqs" => return Err(invalid("query", "certificates are always checked")),
            "ssl_check_hostname" if value.eq_ignore_ascii_case("true") => {}
            "ssl_check_hostname" => return Err(invalid("query", "the name in a certificate is always checked")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The files of a connection with TLS; `None` without TLS.
    pub fn tls(self, tls: bool) -> Result<Option<TlsFiles>, UrlError> {
        match (tls, self.secured) {
            (true, _) => Ok(Some(self.files)),
            (false, false) => Ok(None),
            (false, true) => Err(invalid("query", "options of TLS need amqps:// or rediss://")),
        }
    }
}
