//! Older snapshots on disk compared with the current one (specification §5.5.5).

use std::collections::BTreeSet;

use super::lenient::LenientMetadata;
use super::rules;
use super::running::{MetadataFile, RunningAudit};
use crate::envelope::Envelope;
use crate::names::{RoleName, TopRole};
use crate::schema::{Metadata, Root, Snapshot};
use crate::verify;

impl RunningAudit<'_> {
    /// Compares the current snapshot with older ones signed by the current keys: clients that saw one of those compare
    /// it too. Clients forget snapshots signed by replaced keys (§5.3.11), and so does the audit.
    pub(super) fn older_snapshots(&mut self, root: &Root, path: &str, current: &LenientMetadata<Snapshot>) {
        let role = RoleName::snapshot();
        let (current, Some(keys)) = (&current.metadata, root.roles.get(&role)) else { return };
        if !root.consistent_snapshot {
            return;
        }
        let versions = self.versions_on_disk(TopRole::Snapshot);
        for newer in versions.iter().filter(|&&version| version > current.version) {
            let message = format!(
                "is newer than snapshot {}, which the timestamp lists: an update is in progress or was abandoned",
                current.version
            );
            self.note(rules::N8, &format!("{newer}.snapshot.json"), message);
        }
        let older = versions.iter().rev().filter(|&&version| version < current.version);
        let mut reported: BTreeSet<RoleName> = BTreeSet::new();
        for version in older.take(self.options.ceilings.older_snapshots) {
            let MetadataFile::Read(file) =
                self.get(&format!("{version}.snapshot.json"), self.options.ceilings.snapshot_bytes)
            else {
                continue;
            };
            let Ok(envelope) = Envelope::parse(file) else { continue };
            if verify::envelope(&envelope, &root.keys, keys).is_err() {
                continue;
            }
            let Ok(old) = Snapshot::from_envelope(&envelope) else { continue };
            self.report.checked.older_snapshots += 1;
            for (name, meta) in &old.meta {
                let (rule, message) = match current.meta.get(name) {
                    None => (
                        rules::N6,
                        format!(
                            "no longer lists {name}, which snapshot {version} listed: clients that saw snapshot \
                             {version} refuse this one; list the role again, without targets if it is no longer needed"
                        ),
                    ),
                    Some(now) if now.version < meta.version => (
                        rules::N5,
                        format!(
                            "lists version {} of {name}, but snapshot {version} listed version {}: clients that saw \
                             snapshot {version} refuse this one; publish a higher version of {name}",
                            now.version, meta.version
                        ),
                    ),
                    Some(_) => continue,
                };
                if reported.insert(name.clone()) {
                    self.error(rule, path, message);
                }
            }
        }
    }
}
