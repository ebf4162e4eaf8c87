//! A client that comes back and remembers what it has seen.

use service::clock::{Clock as _, SystemClock};
use tuf_core::client::{Client, ClientLimits};

use crate::clients::Directory;
use crate::{Files, Fleet};

/// Our own verifying client, kept between visits: whatever goes back behind an earlier visit is found out.
pub struct Returning {
    client: Client<Directory, Directory>,
    seen: [u64; 3],
}

impl Returning {
    /// A client on its first visit.
    ///
    /// # Panics
    ///
    /// If the repository does not verify.
    #[track_caller]
    #[must_use]
    pub fn new(fleet: &Fleet) -> Self {
        let root = std::fs::read(fleet.first_root()).expect("1.root.json");
        let (metadata, targets) = (Directory(fleet.metadata()), Directory(fleet.targets()));
        let client = Client::new(&root, metadata, targets, ClientLimits::default()).expect("a root to trust");
        let mut returning = Self { client, seen: [0; 3] };
        let _ = returning.visit();
        returning
    }

    /// The same client, which from now on finds the repository where `fleet` has it.
    ///
    /// # Panics
    ///
    /// If it does not trust what it trusted before.
    #[track_caller]
    #[must_use]
    pub fn follow(self, fleet: &Fleet) -> Self {
        let (metadata, targets) = (Directory(fleet.metadata()), Directory(fleet.targets()));
        let client = Client::from_state(&self.client.export(), metadata, targets, ClientLimits::default());
        Self { client: client.expect("what was trusted is trusted"), seen: self.seen }
    }

    /// Comes back; returns every target, verified and downloaded.
    ///
    /// # Panics
    ///
    /// If anything does not verify or went back since the last visit.
    #[track_caller]
    pub fn visit(&mut self) -> Files {
        self.client.refresh(SystemClock.now()).expect("the repository verifies");
        let now = [
            self.client.timestamp().map(|role| role.version),
            self.client.snapshot().map(|role| role.version),
            self.client.top_level_targets().map(|role| role.version),
        ]
        .map(|version| version.expect("a version of each role"));
        assert!(now.iter().zip(self.seen).all(|(now, seen)| *now >= seen), "went from {:?} back to {now:?}", self.seen);
        self.seen = now;
        let listed = self.client.all_targets().expect("every role verifies");
        let mut files = Files::new();
        for path in listed.into_keys() {
            let content = self.client.download(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            files.insert(path.to_string(), content);
        }
        files
    }
}

impl std::fmt::Debug for Returning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Returning").field("seen", &self.seen).finish_non_exhaustive()
    }
}
