//! A strict verifying client (specification §5).
//!
//! It trusts one root file and nothing else: not the places files come from, not what it kept from an earlier run.
//! Ceilings are those of python-tuf, so that what this client refuses for its size, others refuse too.

mod error;
mod fetch;
pub(crate) mod loaded;
mod search;

use std::collections::HashMap;
use std::sync::Arc;

pub use error::ClientError;
pub use fetch::{Fetch, FetchError};

use loaded::LoadedRole;

use crate::envelope::Envelope;
use crate::names::RoleName;
use crate::root_chain::{MAX_ROOT_BYTES, RootChain, WalkError};
use crate::schema::{Metadata, RoleMeta, Root, Snapshot, Targets, Timestamp};
use crate::time::UtcTime;
use crate::verify;

/// How much a client is willing to read and follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest timestamp, in bytes.
    pub timestamp_bytes: u64,
    /// Largest snapshot, in bytes, where the timestamp lists no length.
    pub snapshot_bytes: u64,
    /// Largest targets metadata, in bytes, where the snapshot lists no length.
    pub targets_bytes: u64,
    /// Most roles visited in the search for one target, the top-level one included.
    pub delegations: usize,
    /// Most roles visited by [`Client::all_targets`].
    pub all_roles: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timestamp_bytes: 16_384,
            snapshot_bytes: 2_000_000,
            targets_bytes: 5_000_000,
            delegations: 33,
            all_roles: 1 << 20,
        }
    }
}

/// What a client keeps between runs: the files it last trusted. It is verified again when it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedState {
    /// The root file.
    pub root: Vec<u8>,
    /// The timestamp file.
    pub timestamp: Option<Vec<u8>>,
    /// The snapshot file.
    pub snapshot: Option<Vec<u8>>,
}

/// Metadata with the file it was read from.
#[derive(Debug)]
struct Trusted<M> {
    metadata: M,
    file: Vec<u8>,
}

/// A verified role that delegates to others.
#[derive(Debug, Clone)]
struct Parent {
    name: RoleName,
    role: Arc<LoadedRole>,
}

/// A client of one repository.
pub struct Client<M, T> {
    metadata: M,
    targets: T,
    limits: Limits,
    chain: RootChain,
    timestamp: Option<Trusted<Timestamp>>,
    snapshot: Option<Trusted<Snapshot>>,
    /// Verified roles by the role that delegates to them (keys are its to say) and name.
    roles: HashMap<(Option<RoleName>, RoleName), Arc<LoadedRole>>,
    /// The time of the last refresh that succeeded: roles read later must not be expired at it.
    refreshed: Option<UtcTime>,
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
    /// A client that trusts `trusted_root` and knows nothing else. `metadata` and `targets` fetch below the
    /// repository's two directories.
    ///
    /// # Errors
    /// [`ClientError::Root`] if it is not root metadata signed by its own keys.
    pub fn new(trusted_root: &[u8], metadata: M, targets: T, limits: Limits) -> Result<Self, ClientError> {
        Ok(Self {
            metadata,
            targets,
            limits,
            chain: RootChain::from_pinned(trusted_root)?,
            timestamp: None,
            snapshot: None,
            roles: HashMap::new(),
            refreshed: None,
        })
    }

    /// A client that goes on from an earlier run, so that nothing may go back behind it. A kept timestamp or snapshot
    /// that the kept root does not vouch for is dropped (§5.3.11 has the same effect).
    ///
    /// # Errors
    /// [`ClientError::Root`] if the kept root is not root metadata signed by its own keys.
    pub fn from_state(state: &TrustedState, metadata: M, targets: T, limits: Limits) -> Result<Self, ClientError> {
        let mut client = Self::new(&state.root, metadata, targets, limits)?;
        client.timestamp = state.timestamp.as_deref().and_then(|file| client.kept(RoleName::timestamp(), file));
        client.snapshot = state.snapshot.as_deref().and_then(|file| client.kept(RoleName::snapshot(), file));
        Ok(client)
    }

    fn kept<D: Metadata>(&self, role: RoleName, file: &[u8]) -> Option<Trusted<D>> {
        let envelope = Envelope::parse(file).ok()?;
        self.chain.verify(&role, &envelope).ok()?;
        let metadata = D::from_envelope(&envelope).ok()?;
        Some(Trusted { metadata, file: envelope.into_file() })
    }

    /// What to keep for the next run.
    #[must_use]
    pub fn export(&self) -> TrustedState {
        TrustedState {
            root: self.chain.file().to_vec(),
            timestamp: self.timestamp.as_ref().map(|trusted| trusted.file.clone()),
            snapshot: self.snapshot.as_ref().map(|trusted| trusted.file.clone()),
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

    /// Brings root, timestamp, snapshot and top-level targets up to date, as of `now` (§5.3 to §5.6).
    ///
    /// What was verified before an error stays trusted, so that nothing may go back behind it later.
    ///
    /// # Errors
    /// [`ClientError`]. Targets cannot be asked for until a refresh succeeds again.
    pub fn refresh(&mut self, now: UtcTime) -> Result<(), ClientError> {
        self.refreshed = None;
        self.refresh_root(now)?;
        self.refresh_timestamp(now)?;
        self.refresh_snapshot(now)?;
        self.load(None, &RoleName::targets(), now)?;
        self.refreshed = Some(now);
        Ok(())
    }

    fn refresh_root(&mut self, now: UtcTime) -> Result<(), ClientError> {
        let before = self.chain.clone();
        let metadata = &self.metadata;
        let max = MAX_ROOT_BYTES as u64;
        let walked = self.chain.walk(&mut |version| fetch::read_all(metadata, &format!("{version}.root.json"), max));
        if self.chain.version() != before.version() {
            self.roles.clear();
            self.forget_after_rotation(&before);
        }
        match walked {
            Ok(_) => {}
            Err(WalkError::Root(error)) => return Err(error.into()),
            Err(WalkError::Fetch { error, .. }) => return Err(error),
        }
        Ok(self.chain.check_expiry(now)?)
    }

    /// New keys for timestamp or snapshot are how a repository recovers from versions pushed far ahead (§5.3.11).
    fn forget_after_rotation(&mut self, before: &RootChain) {
        let changed = |role: RoleName| {
            let keys = |chain: &RootChain| {
                let listed = chain.keys_for(&role).map(|keys| keys.keyids.clone()).unwrap_or_default();
                let mut keys: Vec<_> = listed.into_iter().map(|id| (chain.root().keys.get(&id).cloned(), id)).collect();
                keys.sort_by(|(_, a), (_, b)| a.cmp(b));
                keys
            };
            keys(before) != keys(&self.chain)
        };
        if changed(RoleName::timestamp()) || changed(RoleName::snapshot()) {
            self.timestamp = None;
            self.snapshot = None;
            return;
        }
        // Same keys, perhaps a higher threshold.
        self.timestamp = self.timestamp.take().and_then(|old| self.kept(RoleName::timestamp(), &old.file));
        self.snapshot = self.snapshot.take().and_then(|old| self.kept(RoleName::snapshot(), &old.file));
    }

    fn refresh_timestamp(&mut self, now: UtcTime) -> Result<(), ClientError> {
        const PATH: &str = "timestamp.json";
        let role = RoleName::timestamp();
        let file = fetch::read_all(&self.metadata, PATH, self.limits.timestamp_bytes)?
            .ok_or_else(|| ClientError::Missing { path: PATH.to_owned() })?;
        let envelope = parse(PATH, file)?;
        self.chain.verify(&role, &envelope).map_err(|error| ClientError::Signature { path: PATH.to_owned(), error })?;
        let new: Timestamp = read(PATH, &envelope)?;
        if let Some(Trusted { metadata: trusted, .. }) = &self.timestamp {
            not_back(&role, trusted.version, new.version)?;
            if new.version == trusted.version {
                // Nothing new, whatever the file says (§5.4.3.1).
                return not_expired(&role, trusted, now);
            }
            not_back(&RoleName::snapshot(), trusted.snapshot.version, new.snapshot.version)?;
        }
        not_expired(&role, &new, now)?;
        self.timestamp = Some(Trusted { metadata: new, file: envelope.into_file() });
        Ok(())
    }

    fn refresh_snapshot(&mut self, now: UtcTime) -> Result<(), ClientError> {
        let role = RoleName::snapshot();
        let Some(Trusted { metadata: timestamp, .. }) = &self.timestamp else {
            return Err(ClientError::NotRefreshed);
        };
        let listed = timestamp.snapshot.clone();
        if let Some(trusted) = &self.snapshot
            && trusted.metadata.version == listed.version
            && is_listed("snapshot.json", &listed, &trusted.file).is_ok()
        {
            return not_expired(&role, &trusted.metadata, now);
        }
        let (path, file) = self.fetch_listed(&role, &listed, self.limits.snapshot_bytes)?;
        let envelope = parse(&path, file)?;
        self.chain.verify(&role, &envelope).map_err(|error| ClientError::Signature { path: path.clone(), error })?;
        let new: Snapshot = read(&path, &envelope)?;
        is_version(&path, &listed, new.version)?;
        if let Some(Trusted { metadata: trusted, .. }) = &self.snapshot {
            for (name, old) in &trusted.meta {
                match new.meta.get(name) {
                    Some(meta) => not_back(name, old.version, meta.version)?,
                    None => return Err(ClientError::Vanished { role: name.clone() }),
                }
            }
        }
        not_expired(&role, &new, now)?;
        self.roles.clear();
        self.snapshot = Some(Trusted { metadata: new, file: envelope.into_file() });
        Ok(())
    }

    /// Reads and verifies a targets role, unless it is known already. `parent` delegates to it; none for the top level.
    fn load(&mut self, parent: Option<&Parent>, role: &RoleName, now: UtcTime) -> Result<Arc<LoadedRole>, ClientError> {
        let key = (parent.map(|parent| parent.name.clone()), role.clone());
        if let Some(known) = self.roles.get(&key) {
            not_expired(role, &known.targets, now)?;
            return Ok(Arc::clone(known));
        }
        let Some(Trusted { metadata: snapshot, .. }) = &self.snapshot else {
            return Err(ClientError::NotRefreshed);
        };
        let listed = snapshot.meta.get(role).ok_or_else(|| ClientError::NotInSnapshot { role: role.clone() })?.clone();
        let (path, file) = self.fetch_listed(role, &listed, self.limits.targets_bytes)?;
        let envelope = parse(&path, file)?;
        match parent {
            None => self.chain.verify(role, &envelope),
            Some(parent) => {
                let not_delegated = || ClientError::NotDelegated { role: role.clone(), parent: parent.name.clone() };
                let keys = parent.role.keys_for(role).ok_or_else(not_delegated)?;
                let delegations = parent.role.targets.delegations.as_ref().ok_or_else(not_delegated)?;
                verify::envelope(&envelope, &delegations.keys, &keys)
            }
        }
        .map_err(|error| ClientError::Signature { path: path.clone(), error })?;
        let targets: Targets = read(&path, &envelope)?;
        drop(envelope);
        is_version(&path, &listed, targets.version)?;
        not_expired(role, &targets, now)?;
        let loaded = Arc::new(LoadedRole::new(targets));
        self.roles.insert(key, Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Opens the file of a role as the metadata above it lists it: its path and its bytes.
    fn fetch_listed(&self, role: &RoleName, listed: &RoleMeta, max: u64) -> Result<(String, Vec<u8>), ClientError> {
        let path = if self.chain.root().consistent_snapshot {
            format!("{}.{role}.json", listed.version)
        } else {
            format!("{role}.json")
        };
        let file = fetch::read_all(&self.metadata, &path, listed.length.unwrap_or(max))?
            .ok_or_else(|| ClientError::Missing { path: path.clone() })?;
        is_listed(&path, listed, &file)?;
        Ok((path, file))
    }
}

fn parse(path: &str, file: Vec<u8>) -> Result<Envelope, ClientError> {
    Envelope::parse(file).map_err(|error| ClientError::Parse { path: path.to_owned(), error })
}

fn read<D: Metadata>(path: &str, envelope: &Envelope) -> Result<D, ClientError> {
    D::from_envelope(envelope).map_err(|error| ClientError::Parse { path: path.to_owned(), error })
}

fn is_listed(path: &str, listed: &RoleMeta, file: &[u8]) -> Result<(), ClientError> {
    let found = file.len() as u64;
    if let Some(expected) = listed.length
        && found != expected
    {
        return Err(ClientError::Length { path: path.to_owned(), found, expected });
    }
    match &listed.hashes {
        Some(hashes) => hashes.check(file).map_err(|error| ClientError::Hash { path: path.to_owned(), error }),
        None => Ok(()),
    }
}

fn is_version(path: &str, listed: &RoleMeta, found: u64) -> Result<(), ClientError> {
    if found == listed.version {
        return Ok(());
    }
    Err(ClientError::Version { path: path.to_owned(), found, expected: listed.version })
}

fn not_back(role: &RoleName, trusted: u64, found: u64) -> Result<(), ClientError> {
    if found < trusted {
        return Err(ClientError::Rollback { role: role.clone(), trusted, found });
    }
    Ok(())
}

fn not_expired(role: &RoleName, metadata: &impl Metadata, now: UtcTime) -> Result<(), ClientError> {
    if metadata.is_expired(now) {
        return Err(ClientError::Expired {
            role: role.clone(),
            version: metadata.version(),
            expires: metadata.expires(),
        });
    }
    Ok(())
}
