//! A directory of a repository on an HTTP server.

use std::io::{self, Read};
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};

use super::fetch::{Fetch, FetchError};
use crate::names::{MetadataFileName, percent_encode};

/// Longest time to resolve a host name, and longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time until a server begins its answer, and longest pause within it.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Lowest rate of a body, in bytes per second, so that a slow server cannot hold a client for ever.
const MIN_BYTES_PER_SECOND: u64 = 16 << 10;
const MAX_REDIRECTS: u32 = 5;
/// Pause before the one retry of a failed request.
const RETRY_DELAY: Duration = Duration::from_millis(300);
/// Characters that stand for themselves in a segment of a path, beside letters, digits and `_.-~` (RFC 3986 §3.3).
const SEGMENT: &str = "!$&'()*+,;=:@";

/// A text is not the URL of a directory. Its message holds no part of the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHttpUrl {
    /// Not `http://…` or `https://…`.
    #[error("the URL of a repository begins with http:// or https:// and a host")]
    NotHttp,
    /// A user or a password.
    #[error("a URL with a user or a password is not supported, because logs would show it")]
    Credentials,
    /// A query or a fragment.
    #[error("the URL of a directory must not contain `?` or `#`")]
    QueryOrFragment,
}

/// A directory on an HTTP server. Requests carry no credentials and no cookies, and never follow a redirect from https to http.
/// Certificates are verified against the system's authorities. Every wait has a limit, and a request that failed is repeated
/// once.
#[derive(Clone, Debug)]
pub struct HttpDirectory {
    agent: Agent,
    /// Ends in `/`.
    base: String,
}

impl HttpDirectory {
    /// The directory at `url`, with or without a `/` at its end.
    ///
    /// # Errors
    /// [`InvalidHttpUrl`].
    pub fn new(url: &str, user_agent: &str) -> Result<Self, InvalidHttpUrl> {
        if url.contains(['?', '#']) {
            return Err(InvalidHttpUrl::QueryOrFragment);
        }
        let uri: Uri = url.parse().map_err(|_| InvalidHttpUrl::NotHttp)?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else { return Err(InvalidHttpUrl::NotHttp) };
        if authority.as_str().contains('@') {
            return Err(InvalidHttpUrl::Credentials);
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(scheme == "https")
            .max_redirects(MAX_REDIRECTS)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .timeout_per_write(Some(SILENCE_TIMEOUT))
            .user_agent(user_agent)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build()
            .into();
        let slash = if url.ends_with('/') { "" } else { "/" };
        Ok(Self { agent, base: format!("{url}{slash}") })
    }

    /// Opens the file at `path`, whose components are percent-encoded here; `None` when the server answers that it does not
    /// exist (404 or 410). A 403 counts as well: Amazon S3 answers it for a missing file in a directory that may not be listed.
    ///
    /// The time limit grows with `max`, the expected size in bytes. The caller bounds how much of the body it reads.
    ///
    /// # Errors
    /// When the server cannot be reached, answers with another status, or redirects too often.
    pub fn open(&self, path: &str, max: u64) -> io::Result<Option<Box<dyn Read + Send>>> {
        self.open_url(&self.url(path)?, max)
    }

    fn open_url(&self, url: &str, max: u64) -> io::Result<Option<Box<dyn Read + Send>>> {
        match self.ask(url, max) {
            Err(_) => {
                std::thread::sleep(RETRY_DELAY);
                self.ask(url, max)
            }
            answered => answered,
        }
    }

    fn ask(&self, url: &str, max: u64) -> io::Result<Option<Box<dyn Read + Send>>> {
        let whole = SILENCE_TIMEOUT + Duration::from_secs(max.min(1 << 50) / MIN_BYTES_PER_SECOND);
        let request = self.agent.get(url).config().timeout_recv_body(Some(whole)).build();
        let answer = request.call().map_err(io::Error::other)?;
        match answer.status().as_u16() {
            200 => Ok(Some(Box::new(answer.into_body().into_reader()))),
            403 | 404 | 410 => Ok(None),
            status => Err(io::Error::other(format!("the server answered with status {status}"))),
        }
    }

    fn url(&self, path: &str) -> io::Result<String> {
        // Servers resolve dots. Validated names have none.
        if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the path {path:?} leaves the directory")));
        }
        let segments: Vec<String> = path.split('/').map(|segment| percent_encode(segment, SEGMENT)).collect();
        Ok(format!("{}{}", self.base, segments.join("/")))
    }
}

impl Fetch for HttpDirectory {
    fn fetch(&self, path: &str, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        let file = self.open(path, max).map_err(FetchError::new)?;
        Ok(file.map(|file| file as Box<dyn Read>))
    }

    fn fetch_metadata(&self, name: &MetadataFileName, max: u64) -> Result<Option<Box<dyn Read + '_>>, FetchError> {
        let url = format!("{}{}", self.base, name.url_segment());
        let file = self.open_url(&url, max).map_err(FetchError::new)?;
        Ok(file.map(|file| file as Box<dyn Read>))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_percent_encoded_below_the_directory() {
        for base in ["http://host/repo/metadata", "http://host/repo/metadata/"] {
            let http = HttpDirectory::new(base, "test").unwrap();
            let url = |path: &str| http.url(path).ok();
            assert_eq!(url("1.root.json").as_deref(), Some("http://host/repo/metadata/1.root.json"));
            assert_eq!(url("a b/é?#%.x").as_deref(), Some("http://host/repo/metadata/a%20b/%C3%A9%3F%23%25.x"));
            assert_eq!(url("../secret"), None);
            assert_eq!(url("a//b"), None);
        }
    }

    #[test]
    fn a_url_that_would_not_name_a_directory_is_refused_without_being_shown() {
        let refusal = |url: &str| HttpDirectory::new(url, "test").map(|_| ()).unwrap_err();
        assert_eq!(refusal("ftp://host/"), InvalidHttpUrl::NotHttp);
        assert_eq!(refusal("host/metadata"), InvalidHttpUrl::NotHttp);
        assert_eq!(refusal("https://user:secret@host/"), InvalidHttpUrl::Credentials);
        assert_eq!(refusal("https://host/?key=1"), InvalidHttpUrl::QueryOrFragment);
        assert_eq!(refusal("https://host/#x"), InvalidHttpUrl::QueryOrFragment);
    }
}
