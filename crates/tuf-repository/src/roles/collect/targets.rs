//! Old versions of targets metadata, unlisted target files, old records.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::live_versions::LiveVersions;
use super::remove::{remove, remove_stale};
use super::served::note_served;
use super::sweep::sweep;
use crate::retention::{CandidateFile, Collected, Retention, versions_below};
use crate::roles::error::RoleError;
use crate::roles::snapshot_entry::version_of;
use crate::roles::snapshot_reader::SnapshotReader;
use crate::roles::targets::TargetsRole;
use tuf_core::document::Document;
use tuf_core::names::RoleName;
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

impl TargetsRole {
    /// Deletes files out of use ([`crate::retention`]): versions of targets metadata, records and bases, target files (with
    /// `target_files`, where the repository holds them), and temporary files of killed processes.
    ///
    /// # Errors
    /// [`RoleError`]; the deletions before it are correct.
    pub fn collect(
        &mut self,
        retention: &mut Retention,
        now: UtcTime,
        target_files: bool,
    ) -> Result<Collected, RoleError> {
        self.refresh(now)?;
        let before = retention.before(now);
        let temporary = remove_stale(self.repository.metadata.as_ref(), "", before)
            + remove_stale(self.repository.log.as_ref(), "", before);
        let mut collected = Collected { temporary, ..Collected::default() };
        let snapshots = SnapshotReader::new(Arc::clone(&self.repository.metadata));
        // A snapshot of a stolen key could list versions that come later, and then speak for them.
        let not_ahead = |snapshot: &Document| {
            self.log.roles().iter().all(|(role, entry)| version_of(snapshot, role).is_none_or(|v| v <= entry.version))
        };
        if !note_served(&self.repository, &self.trust, &snapshots, retention, now, not_ahead)? {
            return Ok(collected);
        }
        let Some(horizon) = retention.horizon(now, 0) else { return Ok(collected) };
        self.collect_records(&mut collected, retention, now)?;
        // Missing when this role stood still and the snapshot role is far ahead. A later mark will serve.
        let Some(snapshot) = snapshots.of_version(&self.trust, horizon.snapshot)? else { return Ok(collected) };
        let names = self.repository.metadata.list("")?;
        if target_files {
            self.collect_target_files(&mut collected, retention, &snapshot.document, &names, now)?;
        }
        self.collect_metadata(&mut collected, retention, &snapshot.document, &names)?;
        Ok(collected)
    }

    fn collect_records(
        &mut self,
        collected: &mut Collected,
        retention: &Retention,
        now: UtcTime,
    ) -> Result<(), RoleError> {
        let trust = &self.trust;
        let before = UtcTime::from_unix(retention.before(now));
        let mut old = self.log.collectable(before, &|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
        collected.more |= old.len() > retention.deletions();
        old.truncate(retention.deletions());
        // In order: a process that stood still sees by the record before its own that its number was used.
        collected.records = remove(self.repository.log.as_ref(), &old);
        Ok(())
    }

    fn collect_target_files(
        &self,
        collected: &mut Collected,
        retention: &mut Retention,
        horizon: &Document,
        names: &[String],
        now: UtcTime,
    ) -> Result<(), RoleError> {
        let newest: BTreeMap<RoleName, u64> =
            self.log.roles().iter().map(|(role, entry)| (role.clone(), entry.version)).collect();
        let known = self.flat.as_ref().map(|(entry, document)| (entry.version, document));
        let Some(mut kept) = LiveVersions::new(self.repository.metadata.as_ref(), names, horizon, &newest, known)
        else {
            return Ok(());
        };
        let plain_too = !self.trust.root().consistent_snapshot;
        let swept = sweep(self.repository.targets.as_ref(), &mut kept, retention, now, |dir, name| {
            CandidateFile::hashed(dir, name, plain_too)
        })?;
        collected.targets += swept.targets;
        collected.temporary += swept.temporary;
        collected.more |= swept.more;
        Ok(())
    }

    fn collect_metadata(
        &self,
        collected: &mut Collected,
        retention: &Retention,
        horizon: &Document,
        names: &[String],
    ) -> Result<(), RoleError> {
        let current = self.log.roles();
        let mut old = versions_below(names, |role| {
            let first = version_of(horizon, role)?;
            // Never above the current version, whatever a snapshot says.
            current.get(role).map(|entry| first.min(entry.version))
        });
        collected.more |= old.len() > retention.deletions();
        old.truncate(retention.deletions());
        let files = old.into_iter().map(|(_, name)| FileName::new(name)).collect::<Result<Vec<_>, _>>()?;
        collected.metadata += remove(self.repository.metadata.as_ref(), &files);
        Ok(())
    }
}
