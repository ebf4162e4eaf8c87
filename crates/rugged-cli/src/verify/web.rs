//! Files of a repository that is served over HTTP.

use std::io::{self, Read};
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};
use url::Url;

/// How long a name may take to be resolved and connected to.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a server may take to begin its answer, and how long nothing may come after that.
const SILENCE: Duration = Duration::from_secs(30);
/// The slowest a body may come, in bytes a second, so that a server cannot hold the command for ever.
const SLOWEST: u64 = 16 << 10;
const REDIRECTS: u32 = 5;
/// A server is asked again once after it failed, a moment later.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// A directory of an HTTP server. Never goes from https to http, and sends nothing but the request: no credentials, no
/// cookies.
#[derive(Clone, Debug)]
pub struct Web {
    agent: Agent,
    base: Url,
}

impl Web {
    /// The directory at `base`, with or without a `/` at its end. Certificates are verified as the system does.
    #[must_use]
    pub fn new(base: &Url) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(base.scheme() == "https")
            .max_redirects(REDIRECTS)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .user_agent(concat!("rugged/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build()
            .into();
        Self { agent, base: base.clone() }
    }

    /// Opens the file at `path`; `None` when the server says that there is none. Amazon's servers answer 403 where
    /// there is none and the directory may not be listed, so that counts too.
    ///
    /// `max` bounds how long the answer may take to arrive, in bytes; the caller bounds how much of it is read.
    ///
    /// # Errors
    /// When the server cannot be reached, answers otherwise, or redirects too often.
    pub fn open(&self, path: &str, max: u64) -> io::Result<Option<Box<dyn Read + Send>>> {
        let url = self.url(path)?;
        match self.ask(&url, max) {
            Err(_) => {
                std::thread::sleep(AGAIN_AFTER);
                self.ask(&url, max)
            }
            answered => answered,
        }
    }

    fn ask(&self, url: &Url, max: u64) -> io::Result<Option<Box<dyn Read + Send>>> {
        let whole = SILENCE + Duration::from_secs(max.min(1 << 50) / SLOWEST);
        let request = self.agent.get(url.as_str()).config().timeout_recv_body(Some(whole)).build();
        let answer = request.call().map_err(io::Error::other)?;
        match answer.status().as_u16() {
            200 => Ok(Some(Box::new(answer.into_body().into_reader()))),
            403 | 404 | 410 => Ok(None),
            status => Err(io::Error::other(format!("the server answers with status {status}"))),
        }
    }

    fn url(&self, path: &str) -> io::Result<Url> {
        let mut url = self.base.clone();
        // Dots would be resolved; validated names have none, foreign hashes might.
        if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path:?} leaves the directory")));
        }
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path.split('/')),
            Err(()) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a URL of a directory")),
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
            let web = Web::new(&Url::parse(base).unwrap());
            let url = |path: &str| web.url(path).map(String::from).ok();
            assert_eq!(url("1.root.json").as_deref(), Some("http://host/repo/metadata/1.root.json"));
            assert_eq!(url("a b/é?#%.x").as_deref(), Some("http://host/repo/metadata/a%20b/%C3%A9%3F%23%25.x"));
            assert_eq!(url("../secret"), None);
            assert_eq!(url("a//b"), None);
        }
    }
}
