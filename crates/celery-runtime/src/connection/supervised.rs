//! The state of a supervised connection, as its users see it.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{options::ConnectOptions, servers::Servers, state::ConnectionState};
use crate::url::ServerUrl;

/// A handle to one live connection.
pub(crate) trait LiveLink: Clone + Send + Sync + 'static {
    /// Whether the connection can still be used.
    fn is_alive(&self) -> bool;
}

/// A connection that a supervisor opens again whenever it is lost. `L` is the handle to the present connection.
pub(crate) struct SupervisedConnection<U, L> {
    pub servers: Servers<U>,
    pub options: ConnectOptions,
    pub state: watch::Sender<ConnectionState>,
    link: watch::Sender<Option<L>>,
    /// Numbers connections and channels, so that no two ever share a generation.
    generations: AtomicU64,
    /// This process takes on no more work.
    pub closed: CancellationToken,
    /// The supervisor has ended, and the connection with it.
    pub ended: CancellationToken,
}

impl<U: ServerUrl, L: LiveLink> SupervisedConnection<U, L> {
    /// A connection that is not open yet.
    pub fn new(servers: Servers<U>, options: ConnectOptions) -> Self {
        Self {
            servers,
            options,
            state: watch::Sender::new(ConnectionState::connecting()),
            link: watch::Sender::new(None),
            generations: AtomicU64::new(0),
            closed: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    pub fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Hands `link` to all users, those that wait for a connection included.
    pub fn offer(&self, link: L, generation: u64) {
        self.link.send_replace(Some(link));
        self.state.send_modify(|state| state.up(generation));
        tracing::info!(generation, "connected");
    }

    /// Takes the present link away from all users.
    pub fn withdraw(&self) -> Option<L> {
        self.link.send_replace(None)
    }

    /// The present connection if it is alive, also while closing.
    pub fn present(&self) -> Option<L> {
        self.link.borrow().clone().filter(L::is_alive)
    }

    /// The present connection, or the next one. `None` once closed.
    pub async fn link(&self) -> Option<L> {
        if let Some(link) = self.present().filter(|_| !self.closed.is_cancelled()) {
            return Some(link);
        }
        // Boxed because it is rare, and part of every publish.
        Box::pin(self.next_link()).await
    }

    async fn next_link(&self) -> Option<L> {
        let mut links = self.link.subscribe();
        loop {
            if self.closed.is_cancelled() {
                return None;
            }
            if let Some(link) = links.borrow_and_update().clone().filter(L::is_alive) {
                return Some(link);
            }
            tokio::select! {
                () = self.closed.cancelled() => return None,
                changed = links.changed() => changed.ok()?,
            }
        }
    }

    /// Why there is no connection, as text.
    pub fn reason(&self) -> String {
        let state = self.state.borrow();
        state.last_error.clone().unwrap_or_else(|| format!("no connection to {} yet", self.servers))
    }
}

impl<U: ServerUrl, L> fmt::Debug for SupervisedConnection<U, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisedConnection")
            .field("servers", &self.servers)
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}
