//! The snapshot role: the previous snapshot plus the commit records behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::{Contested, RoleError};
use super::floor_checks::{check_clock, log_below_floor, snapshot_below_floor};
use super::foreign;
use super::lifetime::Lifetime;
use super::parallel::{beside, try_map};
use super::recover;
use super::repository_stores::RepositoryStores;
use super::role_reader::{ExpectedBytes, RoleReader};
use super::snapshot_entry::{listing, version_of};
use super::snapshot_reader::{SnapshotReader, VerifiedSnapshot};
use super::trust::Trust;
use super::update::RoleUpdate;
use super::versioned::versioned;
use crate::floor::{FloorFile, RecordFloor};
use crate::log::{Log, RoleRef};
use crate::numbered::is_reachable;
use tuf_core::bins::{BINS_ROLE, is_bin};
use tuf_core::document::{Document, DocumentType};
use tuf_core::names::{RoleName, TopRole};
use tuf_core::sha256::Sha256;
use tuf_core::store::Created;
use tuf_core::time::UtcTime;

const SNAPSHOT_ATTEMPTS: usize = 64;

/// The snapshot role of one repository.
#[derive(Debug)]
pub struct SnapshotRole {
    pub(super) repository: RepositoryStores,
    pub(super) trust: Trust,
    lifetime: Lifetime,
    floor: FloorFile,
    pub(super) log: Log,
    pub(super) snapshots: SnapshotReader,
    pub(super) reader: RoleReader,
    /// Roles that may differ from the newest snapshot; `None` when any may.
    dirty: Option<BTreeSet<RoleName>>,
    /// Whether the next snapshot is the one that resumes above the floor.
    recovering: bool,
}

impl SnapshotRole {
    /// Opens the role. Only the floor has been read.
    #[must_use]
    pub fn new(repository: RepositoryStores, trust: Trust, lifetime: Lifetime, floor: FloorFile) -> Self {
        Self {
            log: Log::new(Arc::clone(&repository.log)),
            snapshots: SnapshotReader::new(Arc::clone(&repository.metadata)),
            reader: RoleReader::new(Arc::clone(&repository.metadata)),
            repository,
            trust,
            lifetime,
            floor,
            dirty: None,
            recovering: false,
        }
    }

    /// The trust of the role.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The floor.
    #[must_use]
    pub fn floor(&self) -> &FloorFile {
        &self.floor
    }

    /// Version and expiry of the newest snapshot, as last read.
    #[must_use]
    pub fn current(&self) -> Option<(u64, UtcTime)> {
        self.snapshots.newest().map(|newest| (newest.document.version(), newest.document.expires()))
    }

    /// Conditions that an operator must look at, although the role goes on.
    pub fn notices(&self) -> impl Iterator<Item = &str> {
        self.trust.notices().chain(self.snapshots.notices()).chain(self.log.notices())
    }

    /// Time of the next renewal, as last read.
    #[must_use]
    pub fn next_renewal(&self) -> Option<UtcTime> {
        self.current().map(|(_, expires)| self.lifetime.renewal(expires))
    }

    /// Writes a snapshot of the newest commit record, or renews the snapshot when it is near its expiry (or with `force`).
    ///
    /// # Errors
    /// [`RoleError`]. Where a role that a record names does not verify, nothing is signed.
    pub fn update(&mut self, now: UtcTime, force: bool) -> Result<RoleUpdate, RoleError> {
        for _ in 0..SNAPSHOT_ATTEMPTS {
            self.refresh(now)?;
            if self.log.head() == 0 {
                return Err(RoleError::NoRecordYet);
            }
            if self.snapshots.newest().is_none() && !self.recovering && self.refuse_foreign()? {
                // That snapshot may be ahead of the log, which was read before it.
                continue;
            }
            let changed = self.changed()?;
            let newest = self.snapshots.newest();
            let renew = newest
                .is_none_or(|newest| force || self.recovering || self.lifetime.due(newest.document.expires(), now));
            if changed.is_empty() && !renew {
                let version = newest.map_or(0, |newest| newest.document.version());
                self.raise(version, None)?;
                return Ok(self.covered(version, false));
            }
            self.verify(&changed)?;
            if let Some(version) = self.write(changed, now)? {
                self.raise(version, Some(now))?;
                return Ok(self.covered(version, true));
            }
        }
        Err(RoleError::LostRace { contested: Contested::Snapshot, attempts: SNAPSHOT_ATTEMPTS })
    }

    /// The answer for a snapshot that lists every role as the log does.
    fn covered(&self, version: u64, changed: bool) -> RoleUpdate {
        RoleUpdate { version, changed, record: Some(self.log.head()), snapshot: None }
    }

    pub(super) fn refresh(&mut self, now: UtcTime) -> Result<(), RoleError> {
        let floor = self.floor.get().unwrap_or_default();
        self.trust.refresh(floor.root, now)?;
        self.trust.signers_of(&RoleName::snapshot())?;
        let trust = &self.trust;
        self.snapshots.look_beyond_gaps(now)?;
        // Snapshots before the log: a snapshot of another process is then never ahead of the log read after it.
        if self.snapshots.refresh(trust)? {
            self.dirty = None;
        }
        let changed = self.log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
        self.recovering = false;
        let mut below = None;
        if let Some(record) = log_below_floor(&self.log, floor.record)? {
            let reachable = floor.record.is_none_or(|record| is_reachable(record.number));
            if reachable || !self.floor.recovery_granted()? {
                // Read from the start each time: after a restore the log continues with another record.
                self.log.forget();
                return Err(record);
            }
            below = Some(record);
        }
        let version = self.snapshots.version();
        if let Some(below) = snapshot_below_floor(&self.snapshots, &floor)?.or(below) {
            // Read from the start each time: the snapshot that resumes above the floor skips numbers.
            self.snapshots.forget();
            if !self.floor.recovery_granted()? {
                return Err(below);
            }
            self.snapshots.refresh(trust)?;
            self.dirty = None;
            self.snapshots.start_above(recover::used_up_to(floor.snapshot, version))?;
            self.recovering = true;
            tracing::warn!(reason = %below, "resuming above the floor");
        }
        if !self.recovering {
            check_clock(&mut self.floor, now)?;
        }
        match (changed, &mut self.dirty) {
            (Some(changed), Some(dirty)) => dirty.extend(changed),
            _ => self.dirty = None,
        }
        Ok(())
    }

    /// Refuses to begin with version 1 where snapshots exist that do not verify. `true`: another process has written the first
    /// one in the meantime.
    fn refuse_foreign(&mut self) -> Result<bool, RoleError> {
        match foreign::find(self.repository.metadata.as_ref(), Some(TopRole::Snapshot))? {
            Some(file) => {
                self.snapshots.forget();
                self.snapshots.refresh(&self.trust)?;
                self.dirty = None;
                if self.snapshots.newest().is_some() { Ok(true) } else { Err(RoleError::ForeignMetadata { file }) }
            }
            None => Ok(false),
        }
    }

    /// The roles in which the log is ahead of the newest snapshot.
    fn changed(&mut self) -> Result<Vec<(RoleName, RoleRef)>, RoleError> {
        let table = self.log.roles();
        let newest = self.snapshots.newest().map(|newest| Arc::clone(&newest.document));
        let listed = |role: &RoleName| newest.as_ref().and_then(|document| version_of(document, role));
        let mut changed = Vec::new();
        let mut compare = |role: &RoleName, entry: &RoleRef| match listed(role) {
            Some(version) if version > entry.version => {
                Err(RoleError::SnapshotAheadOfLog { role: role.clone(), snapshot: version, log: entry.version })
            }
            Some(version) if version == entry.version => Ok(()),
            _ => {
                changed.push((role.clone(), entry.clone()));
                Ok(())
            }
        };
        match &self.dirty {
            Some(dirty) => {
                for role in dirty {
                    if let Some(entry) = table.get(role) {
                        compare(role, entry)?;
                    }
                }
            }
            None => {
                for (role, entry) in table {
                    compare(role, entry)?;
                }
                // A role once listed is always listed: clients refuse a snapshot that lacks it.
                for (key, _) in newest.iter().flat_map(|document| document.iter()) {
                    let role = key.strip_suffix(b".json").unwrap_or(&key);
                    let known = std::str::from_utf8(role)
                        .is_ok_and(|role| RoleName::new(role).is_ok_and(|role| table.contains_key(&role)));
                    if !known {
                        let role = String::from_utf8_lossy(role).into_owned();
                        return Err(RoleError::SnapshotListsUnknownRole { role });
                    }
                }
            }
        }
        self.dirty = Some(changed.iter().map(|(role, _)| role.clone()).collect());
        Ok(changed)
    }

    /// Checks the file of every changed role before the snapshot lists it.
    fn verify(&mut self, changed: &[(RoleName, RoleRef)]) -> Result<(), RoleError> {
        let table = self.log.roles();
        let known = |role: &RoleName| {
            table.get(role).map(|entry| (entry.version, ExpectedBytes::Record(entry.length, entry.sha256)))
        };
        let first = |wanted: &dyn Fn(&RoleName) -> bool| changed.iter().find(|(role, _)| wanted(role));
        for kind in [&(|role: &RoleName| *role == BINS_ROLE) as &dyn Fn(&RoleName) -> bool, &is_bin] {
            if let Some((role, _)) = first(kind) {
                self.reader.prepare(&self.trust, role, &known)?;
            }
        }
        let (reader, trust) = (&self.reader, &self.trust);
        try_map(changed.iter().collect(), |(role, entry)| {
            let (document, _) =
                reader.read(trust, role, entry.version, ExpectedBytes::Record(entry.length, entry.sha256))?;
            if document.expires() == entry.expires {
                return Ok(());
            }
            let file = versioned(role, entry.version)?;
            Err(RoleError::ExpiryDiffers { file, expected: entry.expires, found: document.expires() })
        })?;
        Ok(())
    }

    /// Creates the next version. `None` when another writer was first or the name is taken: refresh and try again.
    fn write(&mut self, changed: Vec<(RoleName, RoleRef)>, now: UtcTime) -> Result<Option<u64>, RoleError> {
        let entries: BTreeMap<String, Option<Vec<u8>>> = changed
            .into_iter()
            .map(|(role, entry)| {
                let value = listing(&role, &entry);
                (format!("{role}.json"), Some(value.into_bytes()))
            })
            .collect();
        let version = self.snapshots.next()?;
        let expires = self.lifetime.expiry(now);
        let document = match self.snapshots.newest() {
            Some(newest) => newest.document.edit(&entries, version, expires),
            None => Document::empty(DocumentType::Snapshot, version, expires, BTreeMap::new())
                .edit(&entries, version, expires),
        };
        let bytes = self.trust.sign(&RoleName::snapshot(), document.signed())?;
        let name = versioned(&RoleName::snapshot(), version)?;
        let (created, sha256) =
            beside(bytes.len(), || self.repository.metadata.create(&name, &bytes), || Sha256::of(&bytes));
        if created? == Created::Conflict {
            // The roles stay dirty: they are compared with the other writer's snapshot.
            return Ok(None);
        }
        if !self.snapshots.is_current()? {
            // The number was used before, or a skipped one below became free: see `Log::append`.
            self.snapshots.forget();
            return Ok(None);
        }
        self.snapshots.wrote(VerifiedSnapshot { document: Arc::new(document), length: bytes.len() as u64, sha256 });
        self.dirty = Some(BTreeSet::new());
        Ok(Some(version))
    }

    /// Raises the floor. `signed` is the time of the signature when this run signed the version.
    fn raise(&mut self, version: u64, signed: Option<UtcTime>) -> Result<(), RoleError> {
        let root = self.trust.version();
        let record = self.log.head_digest().map(|digest| RecordFloor { digest, number: self.log.position() });
        self.floor.raise(|floor| {
            floor.root = root;
            floor.record = record;
            floor.snapshot = version;
            if let Some(now) = signed {
                floor.signed = now.unix();
            }
        })?;
        if let Some(now) = signed
            && std::mem::take(&mut self.recovering)
        {
            self.floor.recovered(now, |floor| (floor.record, floor.snapshot) = (record, version))?;
        }
        Ok(())
    }
}
