//! The next versions become files, and the record makes them the state.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::policy::Layout;
use super::role::TargetsRole;
use crate::log::{Appended, RequestOutcome, RoleRef};
use crate::roles::error::RoleError;
use crate::roles::parallel::{beside, try_map};
use crate::roles::signed_file::{SignedFile, TailWriting, length};
use crate::roles::versioned::{free_version, versioned};
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::Created;
use tuf_core::time::UtcTime;

/// The number of the new record, and the new version of each role in it.
pub(super) type Published = (u64, BTreeMap<RoleName, u64>);

impl TargetsRole {
    /// Signs and creates the drafts under free version numbers, then appends the record. `None` when another writer was
    /// first: the created files are not state, and retention deletes them.
    pub(super) fn publish(
        &mut self,
        drafts: Vec<Draft>,
        results: BTreeMap<String, RequestOutcome>,
        now: UtcTime,
        skip_to: Option<u64>,
    ) -> Result<Option<Published>, RoleError> {
        let metadata = self.repository.metadata.as_ref();
        let trust = &self.trust;
        let mut refs = BTreeMap::new();
        let mut kept = None;
        let mut todo = drafts;
        while !todo.is_empty() {
            let writing = if todo.len() == 1 { TailWriting::WhileSigning } else { TailWriting::Later };
            let mut signed = try_map(todo.iter_mut().collect(), |draft: &mut Draft| {
                let version = free_version(metadata, &draft.role, draft.first, draft.document.version())?;
                if version != draft.document.version() {
                    let expires = draft.document.expires();
                    draft.document = draft.document.edit(&BTreeMap::new(), version, expires);
                }
                let name = versioned(&draft.role, version)?;
                let file = SignedFile::sign(metadata, trust, &RoleName::targets(), draft.document.signed(), writing)?;
                Ok::<_, RoleError>((name, file))
            })?;
            let files = signed.iter_mut().map(|(name, file)| file.file(name.clone())).collect();
            let pieces: Vec<[&[u8]; 3]> = signed.iter().map(|(_, file)| file.pieces()).collect();
            let (created, described) = beside(
                pieces.iter().map(|&file| length(file)).sum(),
                || metadata.create_all(files),
                || pieces.iter().map(|&file| (length(file), Sha256::of_pieces(file))).collect::<Vec<_>>(),
            );
            let created = created?;
            drop(signed);
            for ((draft, (length, sha256)), created) in
                std::mem::take(&mut todo).into_iter().zip(described).zip(created)
            {
                if created == Created::Conflict {
                    // Another writer was faster, or a stat does not show what holds the name: never the same name again.
                    let Draft { role, document, first } = draft;
                    let document = document.edit(&BTreeMap::new(), document.version() + 1, document.expires());
                    todo.push(Draft { role, document, first });
                    continue;
                }
                let version = draft.document.version();
                let entry = RoleRef { expires: draft.document.expires(), length: length as u64, sha256, version };
                if draft.role == RoleName::targets() {
                    kept = Some((entry.clone(), draft.document));
                }
                refs.insert(draft.role, entry);
            }
        }
        let versions: BTreeMap<RoleName, u64> =
            refs.iter().map(|(role, entry)| (role.clone(), entry.version)).collect();
        let highest = versions.values().copied().max().unwrap_or(0);
        let appended = self.log.append(
            refs,
            results,
            now,
            skip_to,
            &|envelope| trust.verify(&RoleName::targets(), envelope).is_ok(),
            &|signed| Ok(trust.sign(&RoleName::targets(), signed)?),
        )?;
        let Appended::Committed(record) = appended else { return Ok(None) };
        if let (Layout::Flat, Some(kept)) = (self.layout(), kept) {
            self.flat = Some(kept);
        }
        let reached = self.reached();
        self.floor.raise(|floor| {
            floor.record = reached;
            floor.role_version = highest;
            floor.signed = now.unix();
        })?;
        Ok(Some((record, versions)))
    }

    /// Writes a base when one is due.
    pub(super) fn base_if_due(&mut self, now: UtcTime) -> Result<(), RoleError> {
        if self.log.base_due() {
            let trust = &self.trust;
            self.log.write_base(now, &|signed| Ok(trust.sign(&RoleName::targets(), signed)?))?;
        }
        Ok(())
    }
}
