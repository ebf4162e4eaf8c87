//! Several servers of which one is used: which is next, and where their URLs come from.

use std::{
    fmt,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    broker::{BrokerUrl, url::parse_list},
    credentials,
};

/// What the connection to one kind of server needs to know of a URL.
pub trait ServerUrl: Clone + PartialEq + fmt::Display {
    /// This kind's URL, if that is one.
    fn of(url: BrokerUrl) -> Option<Self>;

    /// Whether one can take the place of the other under a running process.
    fn agrees_with(&self, other: &Self) -> bool;
}

/// The URLs of the servers, of which one is the present: the first, until it cannot be reached. As Celery does, one that
/// was lost is tried again before the next, and waits are between rounds through all of them.
pub struct Servers<U> {
    state: Mutex<State<U>>,
    /// Where the URLs come from, to be read anew for each round.
    file: Option<PathBuf>,
}

struct State<U> {
    urls: Vec<U>,
    at: usize,
    /// How many of this round were tried in vain.
    failed: usize,
}

impl<U: ServerUrl> Servers<U> {
    /// One server.
    pub(crate) fn one(url: U) -> Self {
        Self { state: Mutex::new(State { urls: vec![url], at: 0, failed: 0 }), file: None }
    }

    /// Several, and the file they come from. `None` if there is none of this kind.
    pub(crate) fn several(urls: Vec<BrokerUrl>, file: Option<PathBuf>) -> Option<Self> {
        let urls: Vec<U> = urls.into_iter().map(U::of).collect::<Option<_>>()?;
        (!urls.is_empty()).then(|| Self { state: Mutex::new(State { urls, at: 0, failed: 0 }), file })
    }

    fn state(&self) -> MutexGuard<'_, State<U>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server that is used, or tried.
    pub(crate) fn present(&self) -> U {
        let state = self.state();
        // There is always one.
        state.urls[state.at].clone()
    }

    /// Whether there is another than the present one.
    pub(crate) fn has_others(&self) -> bool {
        self.state().urls.len() > 1
    }

    /// The present one was reached.
    pub(crate) fn reached(&self) {
        self.state().failed = 0;
    }

    /// The present one cannot be used: the next is the present one. Returns whether all of them were tried, so that it is
    /// time to wait.
    pub(crate) fn next(&self) -> bool {
        let mut state = self.state();
        state.at = (state.at + 1) % state.urls.len();
        state.failed += 1;
        let round = state.failed >= state.urls.len();
        if round {
            state.failed = 0;
        }
        round
    }

    /// Reads the file of URLs again, if they come from one. What cannot be read or understood changes nothing.
    pub(crate) async fn renew(&self) {
        let Some(path) = &self.file else { return };
        let read = match credentials::public(path).await.map(String::from_utf8) {
            Ok(Ok(text)) => parse_list(text.trim()).map_err(|error| error.to_string()),
            Ok(Err(_)) => Err("it is not UTF-8 text".to_owned()),
            Err(reason) => Err(reason),
        };
        let urls = match read {
            Ok(urls) => urls.into_iter().map(U::of).collect::<Option<Vec<U>>>().filter(|urls| !urls.is_empty()),
            Err(reason) => {
                tracing::warn!(reason, "the file of the broker's URL cannot be used, going on with the URL it had");
                return;
            }
        };
        let mut state = self.state();
        let urls = urls.filter(|urls| urls.iter().zip(&state.urls).all(|(url, known)| url.agrees_with(known)));
        match urls {
            Some(urls) if urls != state.urls => {
                tracing::info!("the broker's URL was replaced");
                *state = State { urls, at: 0, failed: 0 };
            }
            Some(_) => {}
            None => {
                tracing::warn!("the file of the broker's URL names a broker of another kind, which takes a restart")
            }
        }
    }
}

impl<U: ServerUrl> From<U> for Servers<U> {
    fn from(url: U) -> Self {
        Self::one(url)
    }
}

impl<U: ServerUrl> fmt::Display for Servers<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, url) in self.state().urls.iter().enumerate() {
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
    use crate::broker::AmqpUrl;

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
            servers.renew().await;
            assert_eq!(servers.present().password, "old", "{bad}");
        }
        std::fs::write(file.path(), "amqp://u:new@b;amqp://u:new@c\n").unwrap();
        servers.renew().await;
        assert_eq!((servers.present().password.as_str(), servers.present().host.as_str()), ("new", "b"));
        servers.next();
        servers.renew().await;
        assert_eq!(servers.present().host, "c");
        assert_eq!(format!("{servers} {servers:?}").matches("new").count(), 0);
    }
}
