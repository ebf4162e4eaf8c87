//! Old versions of targets metadata, unlisted target files, old records.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::snapshot::version_of;
use super::super::snapshots::Snapshots;
use super::super::{RoleError, TargetsRole};
use super::kept::Kept;
use super::sweep::sweep;
use super::{note_served, remove, remove_stale};
use crate::retention::{Candidate, Collected, Retention, versions_below};
use tuf_core::document::Document;
use tuf_core::names::RoleName;
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

impl TargetsRole {
    /// Deletes what nothing refers to any more ([`crate::retention`]): versions of targets metadata, records and bases,
    /// target files (with `target_files`, where this repository keeps them), temporary files left behind.
    ///
    /// # Errors
    /// [`RoleError`]; what was deleted until then was rightly deleted.
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
        if !note_served(&self.repository, &self.trust, retention, now)? {
            return Ok(collected);
        }
        let Some(horizon) = retention.horizon(now, 0) else { return Ok(collected) };
        self.collect_records(&mut collected, retention, now)?;
        let snapshots = Snapshots::new(Arc::clone(&self.repository.metadata));
        // Not there: the snapshot role is far ahead of a role that stood still. A later mark will do.
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
        // In their order: a process that stood still sees by the record before its own that its number was taken.
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
        let Some(mut kept) = Kept::new(self.repository.metadata.as_ref(), names, horizon, &newest, known) else {
            return Ok(());
        };
        let plain_too = !self.trust.root().consistent_snapshot;
        let swept = sweep(self.repository.targets.as_ref(), &mut kept, retention, now, |dir, name| {
            Candidate::hashed(dir, name, plain_too)
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
            // Never above what is current, whatever a snapshot says.
            current.get(role).map(|entry| first.min(entry.version))
        });
        collected.more |= old.len() > retention.deletions();
        old.truncate(retention.deletions());
        let files = old.into_iter().map(|(_, name)| FileName::new(name)).collect::<Result<Vec<_>, _>>()?;
        collected.metadata += remove(self.repository.metadata.as_ref(), &files);
        Ok(())
    }
}
