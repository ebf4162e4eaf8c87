//! Bringing the top-level metadata up to date (specification §5.3 to §5.6).

use super::check::{is_listed, is_version, not_back, not_expired, parse_envelope, read_metadata};
use super::error::ClientError;
use super::fetch::Fetch;
use super::read::read_all;
use super::trusted::Trusted;
use super::verifying::Client;
use crate::names::{MetadataFileName, RoleName};
use crate::root_chain::RootChain;
use crate::schema::{Snapshot, Timestamp};
use crate::time::UtcTime;

impl<M: Fetch, T: Fetch> Client<M, T> {
    /// Brings root, timestamp, snapshot and top-level targets up to date, as of `now` (§5.3 to §5.6).
    ///
    /// Metadata verified before an error stays trusted, so that no version may decrease later.
    ///
    /// # Errors
    /// [`ClientError`]. Targets cannot be requested until a refresh succeeds.
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
        let walked = self.walk_roots();
        if self.chain.version() != before.version() {
            let rotated = online_keys_changed(&before, &self.chain);
            if let Err(error) = self.kept.save_root(self.chain.file(), rotated) {
                // The next refresh walks, and saves, again.
                self.chain = before;
                return Err(error.into());
            }
            self.roles.clear();
            self.unusable.clear();
            if rotated {
                // New keys let a repository recover from versions that were pushed far ahead (§5.3.11).
                self.timestamp = None;
                self.snapshot = None;
            } else {
                // Same keys, perhaps a higher threshold.
                self.timestamp = self.timestamp.take().and_then(|old| self.verified(RoleName::timestamp(), &old.file));
                self.snapshot = self.snapshot.take().and_then(|old| self.verified(RoleName::snapshot(), &old.file));
            }
        }
        walked?;
        Ok(self.chain.check_expiry(now)?)
    }

    /// Follows the roots after the trusted one, each signed by the one before.
    fn walk_roots(&mut self) -> Result<(), ClientError> {
        for _ in 0..self.limits.root_rotations {
            let name = MetadataFileName::versioned(RoleName::root(), self.chain.version().saturating_add(1));
            let Some(file) = read_all(&self.metadata, &name, self.limits.root_bytes)? else { break };
            self.chain.advance(&file)?;
        }
        Ok(())
    }

    fn refresh_timestamp(&mut self, now: UtcTime) -> Result<(), ClientError> {
        const PATH: &str = "timestamp.json";
        let role = RoleName::timestamp();
        let name = MetadataFileName::unversioned(role.clone());
        let file = read_all(&self.metadata, &name, self.limits.timestamp_bytes)?
            .ok_or_else(|| ClientError::Missing { path: PATH.to_owned() })?;
        let envelope = parse_envelope(PATH, file)?;
        self.chain.verify(&role, &envelope).map_err(|error| ClientError::Signature { path: PATH.to_owned(), error })?;
        let new: Timestamp = read_metadata(PATH, &envelope)?;
        if let Some(Trusted { metadata: trusted, .. }) = &self.timestamp {
            not_back(&role, trusted.version, new.version)?;
            if new.version == trusted.version {
                // The same version is not new, whatever the file holds (§5.4.3.1).
                return not_expired(&role, trusted, now);
            }
            not_back(&RoleName::snapshot(), trusted.snapshot.version, new.snapshot.version)?;
        }
        not_expired(&role, &new, now)?;
        let file = envelope.into_file();
        self.kept.save(&role, &file)?;
        self.timestamp = Some(Trusted { metadata: new, file });
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
        let envelope = parse_envelope(&path, file)?;
        self.chain.verify(&role, &envelope).map_err(|error| ClientError::Signature { path: path.clone(), error })?;
        let new: Snapshot = read_metadata(&path, &envelope)?;
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
        let file = envelope.into_file();
        self.kept.save(&role, &file)?;
        self.kept.drop_unlisted(&new);
        self.roles.clear();
        self.unusable.clear();
        self.snapshot = Some(Trusted { metadata: new, file });
        Ok(())
    }
}

/// Whether `after` gives timestamp or snapshot other keys than `before`.
fn online_keys_changed(before: &RootChain, after: &RootChain) -> bool {
    let keys = |chain: &RootChain, role: &RoleName| {
        let listed = chain.keys_for(role).map(|keys| keys.keyids.clone()).unwrap_or_default();
        let mut keys: Vec<_> = listed.into_iter().map(|id| (chain.root().keys.get(&id).cloned(), id)).collect();
        keys.sort_by(|(_, a), (_, b)| a.cmp(b));
        keys
    };
    [RoleName::timestamp(), RoleName::snapshot()].iter().any(|role| keys(before, role) != keys(after, role))
}
