//! Old hidden timestamps; without consistent snapshots, plain target files that no version in use lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::live_versions::LiveVersions;
use super::remove::{remove, remove_stale};
use super::served::note_served;
use super::sweep::sweep;
use crate::retention::{CandidateFile, Collected, Retention, ServedMark};
use crate::roles::error::RoleError;
use crate::roles::limits::MAX_TARGETS;
use crate::roles::plain_names;
use crate::roles::role_reader::ExpectedBytes;
use crate::roles::snapshot_entry::listed_version;
use crate::roles::timestamp::{TimestampRole, hidden_version};
use tuf_core::document::Document;
use tuf_core::names::RoleName;
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

impl TimestampRole {
    /// Deletes old hidden timestamps, temporary files of killed processes and, without consistent snapshots, every file under
    /// a plain name in `targets/` that no version in use lists ([`crate::retention`]).
    ///
    /// # Errors
    /// [`RoleError`]; the deletions before it are correct.
    pub fn collect(&mut self, retention: &mut Retention, now: UtcTime) -> Result<Collected, RoleError> {
        self.refresh(now)?;
        let metadata = Arc::clone(&self.repository.metadata);
        let temporary = remove_stale(metadata.as_ref(), "", retention.before(now));
        let mut collected = Collected { temporary, ..Collected::default() };
        if !note_served(&self.repository, &self.trust, &self.snapshots, retention, now, |_| true)? {
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
        horizon: ServedMark,
        now: UtcTime,
    ) -> Result<(), RoleError> {
        let metadata = Arc::clone(&self.repository.metadata);
        let Some(first) = self.snapshots.of_version(&self.trust, horizon.snapshot)? else { return Ok(()) };
        // Under the lock no swap makes a name listed while it is removed.
        let _lock = self.lock_served()?;
        self.snapshots.refresh(&self.trust)?;
        let names = metadata.list("")?;
        let Some(newest) = self.snapshots.newest().cloned() else { return Ok(()) };
        let Some(versions) = versions_of(&newest.document) else { return Ok(()) };
        let Some(mut kept) = LiveVersions::new(metadata.as_ref(), &names, &first.document, &versions, None) else {
            return Ok(());
        };
        let swept = sweep(self.repository.targets.as_ref(), &mut kept, retention, now, CandidateFile::plain)?;
        collected.targets += swept.targets;
        collected.temporary += swept.temporary;
        collected.more |= swept.more;
        // Where the lock did not hold, another process may have shown a newer snapshot that lists a file removed here.
        if self.snapshots.refresh(&self.trust)? {
            self.restore_listed(&swept.removed)?;
        }
        Ok(())
    }

    /// Copies those of `removed` again that the newest snapshot lists.
    fn restore_listed(&mut self, removed: &[FileName]) -> Result<(), RoleError> {
        let Some(newest) = self.snapshots.newest().cloned() else { return Ok(()) };
        let Some(versions) = versions_of(&newest.document) else { return Ok(()) };
        let listed = |role: &RoleName| versions.get(role).map(|version| (*version, ExpectedBytes::Version));
        for (role, version) in &versions {
            self.reader.prepare(&self.trust, role, &listed)?;
            let (document, _) = self.reader.read(&self.trust, role, *version, ExpectedBytes::Version)?;
            let mut files = Vec::new();
            for name in removed {
                if let Some(entry) = document.get(name.as_str()) {
                    files.extend(plain_names::target_copy(name.as_str(), entry)?);
                }
            }
            plain_names::copy(self.repository.targets.as_ref(), files, MAX_TARGETS)?;
        }
        Ok(())
    }
}

/// The version that a snapshot lists for each role.
fn versions_of(snapshot: &Document) -> Option<BTreeMap<RoleName, u64>> {
    snapshot
        .iter()
        .map(|(key, entry)| {
            let role = std::str::from_utf8(&key).ok()?.strip_suffix(".json")?;
            Some((RoleName::new(role).ok()?, listed_version(entry)?))
        })
        .collect()
}
