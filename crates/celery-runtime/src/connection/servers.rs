//! The servers a connection can move between.

use std::{
    fmt,
    path::PathBuf,
    string::FromUtf8Error,
    sync::{Mutex, MutexGuard},
};

use crate::{
    credentials::{self, CredentialsError},
    sync::lock,
    url::{BrokerUrl, ServerUrl, UrlError, parse_list},
};

/// The URLs of one or more servers, and which of them is in use.
///
/// The first is in use until it cannot be reached. As in Celery, a lost server is tried again before the next one, and the
/// waits are between rounds through all servers.
pub struct Servers<U> {
    rotation: Mutex<ServerRotation<U>>,
    /// The file that holds the URLs, to be read again before each attempt.
    file: Option<PathBuf>,
}

struct ServerRotation<U> {
    /// Never empty.
    urls: Vec<U>,
    /// The index of the server in use.
    present: usize,
    /// How many servers failed in this round.
    failed: usize,
}

impl<U> ServerRotation<U> {
    fn new(urls: Vec<U>) -> Self {
        Self { urls, present: 0, failed: 0 }
    }
}

/// Why the file of URLs cannot be used.
#[derive(Debug, thiserror::Error)]
enum UrlFileError {
    #[error(transparent)]
    Read(#[from] CredentialsError),
    #[error("it is not UTF-8 text")]
    NotUtf8(#[from] FromUtf8Error),
    #[error(transparent)]
    Url(#[from] UrlError),
}

impl<U: ServerUrl> Servers<U> {
    /// One server.
    pub(crate) fn one(url: U) -> Self {
        Self { rotation: Mutex::new(ServerRotation::new(vec![url])), file: None }
    }

    /// Several servers, and the file their URLs come from. `None` if one of the URLs is of another kind, or there is none.
    pub(crate) fn several(urls: Vec<BrokerUrl>, file: Option<PathBuf>) -> Option<Self> {
        let urls: Vec<U> = urls.into_iter().map(U::from_broker_url).collect::<Option<_>>()?;
        (!urls.is_empty()).then(|| Self { rotation: Mutex::new(ServerRotation::new(urls)), file })
    }

    fn rotation(&self) -> MutexGuard<'_, ServerRotation<U>> {
        lock(&self.rotation)
    }

    /// The server in use, or being tried.
    pub(crate) fn present(&self) -> U {
        let rotation = self.rotation();
        rotation.urls[rotation.present].clone()
    }

    /// Whether there is more than one server.
    pub(crate) fn has_others(&self) -> bool {
        self.rotation().urls.len() > 1
    }

    /// The present server was reached.
    pub(crate) fn reached(&self) {
        self.rotation().failed = 0;
    }

    /// Moves to the next server, because the present one cannot be used. Returns whether all servers of this round have
    /// failed, so that it is time to wait.
    pub(crate) fn next(&self) -> bool {
        let mut rotation = self.rotation();
        rotation.present = (rotation.present + 1) % rotation.urls.len();
        rotation.failed += 1;
        let round = rotation.failed >= rotation.urls.len();
        if round {
            rotation.failed = 0;
        }
        round
    }

    /// Reads the file of URLs again, if they come from one. A file that cannot be read or parsed changes nothing.
    pub(crate) async fn reload(&self) {
        let Some(path) = &self.file else { return };
        let urls = match read_list(path).await {
            Ok(urls) => urls.into_iter().map(U::from_broker_url).collect::<Option<Vec<U>>>(),
            Err(error) => {
                tracing::warn!(%error, "broker URL file unusable; keeping the previous URL");
                return;
            }
        };
        let mut rotation = self.rotation();
        let fits = |urls: &Vec<U>| {
            !urls.is_empty() && urls.iter().zip(&rotation.urls).all(|(url, known)| url.agrees_with(known))
        };
        match urls.filter(fits) {
            Some(urls) if urls != rotation.urls => {
                tracing::info!("broker URL replaced");
                *rotation = ServerRotation::new(urls);
            }
            Some(_) => {}
            None => tracing::warn!("broker URL file names another kind of broker; restart to use it"),
        }
    }
}

async fn read_list(path: &std::path::Path) -> Result<Vec<BrokerUrl>, UrlFileError> {
    let text = String::from_utf8(credentials::read_public(path).await?)?;
    Ok(parse_list(text.trim())?)
}

impl<U: ServerUrl> From<U> for Servers<U> {
    fn from(url: U) -> Self {
        Self::one(url)
    }
}

impl<U: ServerUrl> fmt::Display for Servers<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, url) in self.rotation().urls.iter().enumerate() {
            write!(f, "{}{url}", if index == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}

impl<U: ServerUrl> fmt::Debug for Servers<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests arrange files as someone else would")]
mod tests {
    use super::*;
    use crate::url::AmqpUrl;

    fn servers(urls: &str, file: Option<PathBuf>) -> Servers<AmqpUrl> {
        Servers::several(parse_list(urls).unwrap(), file).unwrap()
    }

    #[test]
    fn servers_take_turns_and_a_round_ends_after_the_last() {
        let servers = servers("amqp://a;amqp://b;amqp://c", None);
        assert_eq!(servers.present().host, "a");
        assert_eq!((servers.next(), servers.present().host), (false, "b".to_owned()));
        servers.reached();
        let turns: Vec<_> = (0..4).map(|_| (servers.next(), servers.present().host)).collect();
        let expected = [(false, "c"), (false, "a"), (true, "b"), (false, "c")];
        assert_eq!(turns, expected.map(|(round, host)| (round, host.to_owned())));
    }

    #[tokio::test]
    async fn a_file_of_urls_is_read_again_and_a_bad_one_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let servers = servers("amqp://u:old@a", Some(file.path().to_owned()));
        for bad in ["", "amqp://[", "redis://a", "gopher://x"] {
            std::fs::write(file.path(), bad).unwrap();
            servers.reload().await;
            assert_eq!(servers.present().password, "old", "{bad}");
        }
        std::fs::write(file.path(), "amqp://u:new@b;amqp://u:new@c\n").unwrap();
        servers.reload().await;
        assert_eq!((servers.present().password.as_str(), servers.present().host.as_str()), ("new", "b"));
        servers.next();
        servers.reload().await;
        assert_eq!(servers.present().host, "c");
        assert_eq!(format!("{servers} {servers:?}").matches("new").count(), 0);
    }
}
