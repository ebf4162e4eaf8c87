//! Old hidden timestamps; without consistent snapshots, plain target files that are no longer listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::delegated::Expect;
use super::super::plain;
use super::super::snapshot::listed_version;
use super::super::timestamp::{LOCK, hidden_version};
use super::super::{MAX_TARGETS, RoleError, TimestampRole};
use super::kept::Kept;
use super::sweep::sweep;
use super::{note_served, remove, remove_stale};
use crate::retention::{Candidate, Collected, Mark, Retention};
use tuf_core::document::Document;
use tuf_core::names::RoleName;
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

impl TimestampRole {
    /// Deletes hidden timestamps of the past, temporary files left behind and, without consistent snapshots, every file
    /// under a plain name in `targets/` that no version in use lists ([`crate::retention`]).
    ///
    /// # Errors
    /// [`RoleError`]; what was deleted until then was rightly deleted.
    pub fn collect(&mut self, retention: &mut Retention, now: UtcTime) -> Result<Collected, RoleError> {
        self.refresh(now)?;
        let metadata = Arc::clone(&self.repository.metadata);
        let temporary = remove_stale(metadata.as_ref(), "", retention.before(now));
        let mut collected = Collected { temporary, ..Collected::default() };
        if !note_served(&self.repository, &self.trust, retention, now)? {
            return Ok(collected);
        }
        let Some(horizon) = retention.horizon(now, 0) else { return Ok(collected) };
        let served = self.current().map_or(0, |(version, _)| version);
        let names = metadata.list("")?;
        let mut old: Vec<(u64, &String)> = names
            .iter()
            .filter_map(|name| Some((hidden_version(name)?, name)))
            .filter(|(version, _)| *version < horizon.timestamp.min(served))
            .collect();
        old.sort_unstable();
        collected.more = old.len() > retention.deletions();
        old.truncate(retention.deletions());
        let files = old.into_iter().map(|(_, name)| FileName::new(name.as_str())).collect::<Result<Vec<_>, _>>()?;
        collected.metadata = remove(metadata.as_ref(), &files);
        if self.policy.store_targets && !self.trust.root().consistent_snapshot {
            self.collect_plain(&mut collected, retention, horizon, now)?;
        }
        Ok(collected)
    }

    fn collect_plain(
        &mut self,
        collected: &mut Collected,
        retention: &mut Retention,
        horizon: Mark,
        now: UtcTime,
    ) -> Result<(), RoleError> {
        let metadata = Arc::clone(&self.repository.metadata);
        let Some(first) = self.snapshots.of_version(&self.trust, horizon.snapshot)? else { return Ok(()) };
        // No swap makes a name listed while names go.
        let _lock = metadata.lock(&FileName::new(LOCK)?).ok();
        self.snapshots.refresh(&self.trust)?;
        let names = metadata.list("")?;
        let Some(newest) = self.snapshots.newest().cloned() else { return Ok(()) };
        let Some(versions) = versions_of(&newest.document) else { return Ok(()) };
        let Some(mut kept) = Kept::new(metadata.as_ref(), &names, &first.document, &versions, None) else {
            return Ok(());
        };
        let swept = sweep(self.repository.targets.as_ref(), &mut kept, retention, now, Candidate::plain)?;
        collected.targets += swept.targets;
        collected.temporary += swept.temporary;
        collected.more |= swept.more;
        // Where the lock did not hold: whoever swapped a newer snapshot in may have found a file that is gone now.
        if self.snapshots.refresh(&self.trust)? {
            self.put_back(&swept.removed)?;
        }
        Ok(())
    }

    /// Copies again what the newest snapshot lists of `removed`.
    fn put_back(&mut self, removed: &[FileName]) -> Result<(), RoleError> {
        let Some(newest) = self.snapshots.newest().cloned() else { return Ok(()) };
        let Some(versions) = versions_of(&newest.document) else { return Ok(()) };
        let listed = |role: &RoleName| versions.get(role).map(|version| (*version, Expect::Version));
        for (role, version) in &versions {
            self.reader.prepare(&self.trust, role, &listed)?;
            let (document, _) = self.reader.read(&self.trust, role, *version, Expect::Version)?;
            let mut files = Vec::new();
            for name in removed {
                if let Some(entry) = document.get(name.as_str()) {
                    files.extend(plain::target_copy(name.as_str(), entry)?);
                }
            }
            plain::copy(self.repository.targets.as_ref(), files, MAX_TARGETS)?;
        }
        Ok(())
    }
}

/// The version a snapshot lists per role.
fn versions_of(snapshot: &Document) -> Option<BTreeMap<RoleName, u64>> {
    snapshot
        .iter()
        .map(|(key, entry)| {
            let role = std::str::from_utf8(&key).ok()?.strip_suffix(".json")?;
            Some((RoleName::new(role).ok()?, listed_version(entry)?))
        })
        .collect()
}
