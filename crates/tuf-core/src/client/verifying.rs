//! The client: its sources and its trusted metadata.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::ClientError;
use super::fetch::Fetch;
use super::limits::ClientLimits;
use super::loaded_role::LoadedRole;
use super::trusted::{Trusted, TrustedState};
use crate::envelope::Envelope;
use crate::names::RoleName;
use crate::root_chain::RootChain;
use crate::schema::{Metadata, Root, Snapshot, Targets, Timestamp};
use crate::time::UtcTime;

/// A client of one repository.
pub struct Client<M, T> {
    pub(super) metadata: M,
    pub(super) targets: T,
    pub(super) limits: ClientLimits,
    pub(super) chain: RootChain,
    pub(super) timestamp: Option<Trusted<Timestamp>>,
    pub(super) snapshot: Option<Trusted<Snapshot>>,
    /// Verified roles, by delegating role (which defines the keys) and name.
    pub(super) roles: HashMap<(Option<RoleName>, RoleName), Arc<LoadedRole>>,
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
            limits,
            chain: RootChain::from_pinned(trusted_root)?,
            timestamp: None,
            snapshot: None,
            roles: HashMap::new(),
            refreshed: None,
        })
    }

    /// A client that continues from an earlier run, so that no version may decrease. A kept timestamp or snapshot that
    /// is not signed by the kept root's keys is dropped (§5.3.11 has the same effect).
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
        client.timestamp = state.timestamp.as_deref().and_then(|file| client.kept(RoleName::timestamp(), file));
        client.snapshot = state.snapshot.as_deref().and_then(|file| client.kept(RoleName::snapshot(), file));
        Ok(client)
    }

    pub(super) fn kept<D: Metadata>(&self, role: RoleName, file: &[u8]) -> Option<Trusted<D>> {
        let envelope = Envelope::parse(file).ok()?;
        self.chain.verify(&role, &envelope).ok()?;
        let metadata = D::from_envelope(&envelope).ok()?;
        Some(Trusted { metadata, file: envelope.into_file() })
    }

    /// The state to keep for the next run.
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
}
