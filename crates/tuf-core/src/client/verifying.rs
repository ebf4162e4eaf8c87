//! The client: its sources and its trusted metadata.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::error::ClientError;
use super::fetch::Fetch;
use super::kept_files::KeptFiles;
use super::limits::ClientLimits;
use super::loaded_role::LoadedRole;
use super::state_directory::StateDirectory;
use super::trusted::{Trusted, TrustedState};
use crate::envelope::Envelope;
use crate::names::{NameError, RoleName};
use crate::root_chain::RootChain;
use crate::schema::{Metadata, Root, Snapshot, Targets, Timestamp};
use crate::time::UtcTime;

/// A client of one repository.
pub struct Client<M, T> {
    pub(super) metadata: M,
    pub(super) targets: T,
    pub(super) limits: ClientLimits,
    pub(super) hash_prefixes: bool,
    pub(super) kept: KeptFiles,
    pub(super) chain: RootChain,
    pub(super) timestamp: Option<Trusted<Timestamp>>,
    pub(super) snapshot: Option<Trusted<Snapshot>>,
    /// Verified roles, by delegating role (which defines the keys) and name.
    pub(super) roles: HashMap<(Option<RoleName>, RoleName), Arc<LoadedRole>>,
    /// Targets with invalid paths, by role.
    pub(super) unusable: BTreeMap<RoleName, BTreeMap<String, NameError>>,
    /// The time of the last refresh that succeeded: roles read later must not be expired at it.
    pub(super) refreshed: Option<UtcTime>,
}

impl<M, T> std::fmt::Debug for Client<M, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("root", &self.chain.version())
            .field("timestamp", &self.timestamp.as_ref().map(|t| t.metadata.version))
            .field("snapshot", &self.snapshot.as_ref().map(|s| s.metadata.version))
            .field("refreshed", &self.refreshed)
            .finish_non_exhaustive()
    }
}

impl<M: Fetch, T: Fetch> Client<M, T> {
    /// A client that trusts `trusted_root` and has no other state. `metadata` and `targets` fetch below the
    /// repository's two directories.
    ///
    /// # Errors
    /// [`ClientError::Root`] if `trusted_root` is not root metadata signed by its own keys.
    pub fn new(trusted_root: &[u8], metadata: M, targets: T, limits: ClientLimits) -> Result<Self, ClientError> {
        Ok(Self {
            metadata,
            targets,
            chain: RootChain::from_pinned_within(trusted_root, limits.root_bytes)?,
            limits,
            hash_prefixes: true,
            kept: KeptFiles::Memory(BTreeMap::new()),
            timestamp: None,
            snapshot: None,
            roles: HashMap::new(),
            unusable: BTreeMap::new(),
            refreshed: None,
        })
    }

    /// A client that continues from the state in a directory, so that no version may decrease, and saves there each file
    /// that it verifies, when it has verified it. A kept file that does not verify counts as missing.
    ///
    /// # Errors
    /// [`ClientError::State`] if the directory has no root or cannot be read; [`ClientError::Root`] if that root is not root
    /// metadata signed by its own keys.
    pub fn open(state: StateDirectory, metadata: M, targets: T, limits: ClientLimits) -> Result<Self, ClientError> {
        let mut client = Self::new(&state.root(limits.root_bytes)?, metadata, targets, limits)?;
        let timestamp = state.read(&RoleName::timestamp(), client.limits.timestamp_bytes)?;
        client.timestamp = timestamp.and_then(|file| client.verified(RoleName::timestamp(), &file));
        let listed = client.timestamp().and_then(|timestamp| timestamp.snapshot.length);
        let max = client.limits.snapshot_bytes.max(listed.unwrap_or(0));
        let snapshot = state.read(&RoleName::snapshot(), max)?;
        client.snapshot = snapshot.and_then(|file| client.verified(RoleName::snapshot(), &file));
        client.kept = KeptFiles::Directory(state);
        Ok(client)
    }

    /// A client that continues from an earlier run, so that no version may decrease. A kept file that does not verify
    /// counts as missing.
    ///
    /// # Errors
    /// [`ClientError::Root`] if the kept root is not root metadata signed by its own keys.
    pub fn from_state(
        state: &TrustedState,
        metadata: M,
        targets: T,
        limits: ClientLimits,
    ) -> Result<Self, ClientError> {
        let mut client = Self::new(&state.root, metadata, targets, limits)?;
        client.timestamp = state.timestamp.as_deref().and_then(|file| client.verified(RoleName::timestamp(), file));
        client.snapshot = state.snapshot.as_deref().and_then(|file| client.verified(RoleName::snapshot(), file));
        client.kept = KeptFiles::Memory(state.roles.clone());
        Ok(client)
    }

    /// Whether the publisher puts the hash into the names of target files, as with consistent snapshots the specification says
    /// (§5.7.3). `true` unless set; has no effect without consistent snapshots.
    #[must_use]
    pub fn with_hash_prefixes(self, hash_prefixes: bool) -> Self {
        Self { hash_prefixes, ..self }
    }

    /// Metadata of a top-level role that was trusted before, if the trusted root still vouches for it.
    pub(super) fn verified<D: Metadata>(&self, role: RoleName, file: &[u8]) -> Option<Trusted<D>> {
        let envelope = Envelope::parse(file).ok()?;
        self.chain.verify(&role, &envelope).ok()?;
        let metadata = D::from_envelope(&envelope).ok()?;
        Some(Trusted { metadata, file: envelope.into_file() })
    }

    /// The state to keep for the next run. The targets roles of a client with a [`StateDirectory`] are there alone.
    #[must_use]
    pub fn export(&self) -> TrustedState {
        TrustedState {
            root: self.chain.file().to_vec(),
            timestamp: self.timestamp.as_ref().map(|trusted| trusted.file.clone()),
            snapshot: self.snapshot.as_ref().map(|trusted| trusted.file.clone()),
            roles: match &self.kept {
                KeptFiles::Memory(roles) => roles.clone(),
                KeptFiles::Directory(_) => BTreeMap::new(),
            },
        }
    }

    /// The trusted root.
    #[must_use]
    pub fn root(&self) -> &Root {
        self.chain.root()
    }

    /// The trusted timestamp, possibly of an earlier refresh.
    #[must_use]
    pub fn timestamp(&self) -> Option<&Timestamp> {
        self.timestamp.as_ref().map(|trusted| &trusted.metadata)
    }

    /// The trusted snapshot, possibly of an earlier refresh.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref().map(|trusted| &trusted.metadata)
    }

    /// The top-level targets metadata of the last refresh that succeeded.
    #[must_use]
    pub fn top_level_targets(&self) -> Option<&Targets> {
        self.refreshed?;
        self.roles.get(&(None, RoleName::targets())).map(|role| &role.targets)
    }

    /// The targets of the roles read so far whose paths no client should use (`../x`, control characters, and so on), with the
    /// role and the reason. [`Client::find_target`] does not find them.
    pub fn unusable_targets(&self) -> impl Iterator<Item = (&RoleName, &str, &NameError)> {
        let of = |(role, targets)| std::iter::repeat(role).zip(targets);
        self.unusable.iter().flat_map(of).map(|(role, (path, error)): (_, (&String, _))| (role, path.as_str(), error))
    }
}
