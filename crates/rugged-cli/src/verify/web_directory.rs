//! A directory of a repository on an HTTP server.

use std::io::{self, Read};
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};
use url::Url;

/// Longest time to resolve a host name, and longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time until a server begins its answer, and longest pause within it.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Lowest rate of a body, in bytes per second, so that a slow server cannot hold the command for ever.
const MIN_BYTES_PER_SECOND: u64 = 16 << 10;
const MAX_REDIRECTS: u32 = 5;
/// Pause before the one retry of a failed request.
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// A directory on an HTTP server. Requests carry no credentials and no cookies, and never follow a redirect from https
/// to http.
#[derive(Clone, Debug)]
pub struct WebDirectory {
    agent: Agent,
    base: Url,
}

impl WebDirectory {
    /// The directory at `base`, with or without a `/` at its end. Certificates are verified against the system's
    /// authorities.
    #[must_use]
    pub fn new(base: &Url) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(base.scheme() == "https")
            .max_redirects(MAX_REDIRECTS)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .timeout_per_write(Some(SILENCE_TIMEOUT))
            .user_agent(concat!("rugged/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build()
            .into();
        Self { agent, base: base.clone() }
    }

    /// Opens the file at `path`; `None` when the server answers that it does not exist (404 or 410). A 403 counts as
    /// well: Amazon S3 answers it for a missing file in a directory that may not be listed.
    ///
    /// The time limit grows with `max`, the expected size in bytes. The caller bounds how much of the body it reads.
    ///
    /// # Errors
    /// When the server cannot be reached, answers with another status, or redirects too often.
    pub fn open(&self, path: &str, max: u64) -> io::Result<Option<Box<dyn Read + Send>>> {
        let url = self.url(path)?;
        match self.ask(&url, max) {
            Err(_) => {
                std::thread::sleep(RETRY_DELAY);
                self.ask(&url, max)
            }
            answered => answered,
        }
    }

    fn ask(&self, url: &Url, max: u64) -> io::Result<Option<Box<dyn Read + Send>>> {
        let whole = SILENCE_TIMEOUT + Duration::from_secs(max.min(1 << 50) / MIN_BYTES_PER_SECOND);
        let request = self.agent.get(url.as_str()).config().timeout_recv_body(Some(whole)).build();
        let answer = request.call().map_err(io::Error::other)?;
        match answer.status().as_u16() {
            200 => Ok(Some(Box::new(answer.into_body().into_reader()))),
            403 | 404 | 410 => Ok(None),
            status => Err(io::Error::other(format!("the server answered with status {status}"))),
        }
    }

    fn url(&self, path: &str) -> io::Result<Url> {
        let mut url = self.base.clone();
        // URL parsers resolve dots. Validated names have none; hashes in foreign metadata might.
        if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the path {path:?} leaves the directory")));
        }
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path.split('/')),
            Err(()) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the URL does not name a directory")),
        };
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_percent_encoded_below_the_directory() {
        for base in ["http://host/repo/metadata", "http://host/repo/metadata/"] {
            let web = WebDirectory::new(&Url::parse(base).unwrap());
            let url = |path: &str| web.url(path).map(String::from).ok();
            assert_eq!(url("1.root.json").as_deref(), Some("http://host/repo/metadata/1.root.json"));
            assert_eq!(url("a b/é?#%.x").as_deref(), Some("http://host/repo/metadata/a%20b/%C3%A9%3F%23%25.x"));
            assert_eq!(url("../secret"), None);
            assert_eq!(url("a//b"), None);
        }
    }
}
