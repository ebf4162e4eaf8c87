//! The snapshot role: the previous snapshot folded with whole commit records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::delegated::{Expect, RoleReader};
use super::parallel::{beside, try_map};
use super::snapshots::{Snapshot, Snapshots};
use super::targets::check_log_floor;
use super::{Lifetime, Repository, RoleError, Trust, Update, recover, versioned};
use crate::floor::{FloorFile, RecordFloor};
use crate::log::{Log, RoleRef};
use tuf_core::bins::{BINS_ROLE, is_bin};
use tuf_core::document::{Document, DocumentType};
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::Created;
use tuf_core::time::UtcTime;

const ATTEMPTS: usize = 64;
/// Bins of at most so many bytes are listed without their length. The lowest cap is php-tuf's, 100,000 bytes.
const SMALL_BIN: u64 = 64 << 10;

/// The snapshot role of one repository.
#[derive(Debug)]
pub struct SnapshotRole {
    pub(super) repository: Repository,
    pub(super) trust: Trust,
    lifetime: Lifetime,
    floor: FloorFile,
    pub(super) log: Log,
    pub(super) snapshots: Snapshots,
    pub(super) reader: RoleReader,
    /// Roles that may differ from the newest snapshot; `None` when any may.
    dirty: Option<BTreeSet<RoleName>>,
    /// The next snapshot is the one that goes on above the floor.
    recovering: bool,
}

impl SnapshotRole {
    /// Opens the role. Nothing is read yet but the floor.
    #[must_use]
    pub fn new(repository: Repository, trust: Trust, lifetime: Lifetime, floor: FloorFile) -> Self {
        Self {
            log: Log::new(Arc::clone(&repository.log)),
            snapshots: Snapshots::new(Arc::clone(&repository.metadata)),
            reader: RoleReader::new(Arc::clone(&repository.metadata)),
            repository,
            trust,
            lifetime,
            floor,
            dirty: None,
            recovering: false,
        }
    }

    /// What the role trusts.
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

    /// When the snapshot will be renewed, as last read.
    #[must_use]
    pub fn next_renewal(&self) -> Option<UtcTime> {
        self.current().map(|(_, expires)| self.lifetime.renewal(expires))
    }

    /// Brings the snapshot up to the newest commit record, or renews it when it is near its expiry (or with `force`).
    ///
    /// # Errors
    /// [`RoleError`]. A role named by a record that does not verify is an alarm, and nothing is signed.
    pub fn update(&mut self, now: UtcTime, force: bool) -> Result<Update, RoleError> {
        for _ in 0..ATTEMPTS {
            self.refresh(now)?;
            if self.log.head() == 0 {
                return Err(RoleError::Waiting("the commit log has no record yet".into()));
            }
            let changed = self.changed()?;
            let newest = self.snapshots.newest();
            let renew = newest
                .is_none_or(|newest| force || self.recovering || self.lifetime.due(newest.document.expires(), now));
            if changed.is_empty() && !renew {
                let version = newest.map_or(0, |newest| newest.document.version());
                self.raise(version, None)?;
                return Ok(Update { version, changed: false });
            }
            self.verify(&changed)?;
            if let Some(version) = self.write(changed, now)? {
                self.raise(version, Some(now))?;
                return Ok(Update { version, changed: true });
            }
        }
        Err(RoleError::Infrastructure(format!("another writer of the snapshot was first {ATTEMPTS} times in a row")))
    }

    pub(super) fn refresh(&mut self, now: UtcTime) -> Result<(), RoleError> {
        let floor = self.floor.get().unwrap_or_default();
        self.trust.refresh(floor.root, now)?;
        self.trust.signers_of(&RoleName::snapshot())?;
        let trust = &self.trust;
        // Snapshots before the log: one that another process wrote meanwhile is never ahead of the log read after it.
        if self.snapshots.refresh(trust)? {
            self.dirty = None;
        }
        let changed = self.log.refresh(&|envelope| trust.verify(&RoleName::targets(), envelope).is_ok())?;
        if let Err(below) = check_log_floor(&self.log, floor.record) {
            // Read anew each time: the log goes on by another record than this process knows.
            self.log.forget();
            return Err(below);
        }
        let version = self.snapshots.newest().map_or(0, |newest| newest.document.version());
        self.recovering = false;
        if let Err(below) = recover::check_snapshot(version, &floor) {
            // Looked for anew each time: what goes on above the floor leaves numbers out.
            self.snapshots.forget();
            if !self.floor.recovery_granted()? {
                return Err(below);
            }
            self.snapshots.refresh(trust)?;
            self.dirty = None;
            self.snapshots.start_above(floor.snapshot + recover::MARGIN);
            self.recovering = true;
            tracing::warn!("going on above the floor: {below}");
        }
        if !self.recovering {
            recover::check_clock(&mut self.floor, now)?;
        }
        match (changed, &mut self.dirty) {
            (Some(changed), Some(dirty)) => dirty.extend(changed),
            _ => self.dirty = None,
        }
        Ok(())
    }

    /// The roles in which the log's table is ahead of the newest snapshot.
    fn changed(&mut self) -> Result<Vec<(RoleName, RoleRef)>, RoleError> {
        let table = self.log.roles();
        let newest = self.snapshots.newest().map(|newest| Arc::clone(&newest.document));
        let listed = |role: &RoleName| newest.as_ref().and_then(|document| version_of(document, role));
        let mut changed = Vec::new();
        let mut compare = |role: &RoleName, entry: &RoleRef| match listed(role) {
            Some(version) if version > entry.version => Err(RoleError::Alarm(format!(
                "the newest snapshot lists {role} version {version}, the commit log {}: versions never go back",
                entry.version
            ))),
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
                // A role listed once is listed for ever: clients refuse a snapshot in which one vanished.
                for (key, _) in newest.iter().flat_map(|document| document.iter()) {
                    let role = key.strip_suffix(b".json").unwrap_or(&key);
                    let known = std::str::from_utf8(role)
                        .is_ok_and(|role| RoleName::new(role).is_ok_and(|role| table.contains_key(&role)));
                    if !known {
                        let role = String::from_utf8_lossy(role);
                        return Err(RoleError::Alarm(format!("the snapshot lists {role}, the commit log does not")));
                    }
                }
            }
        }
        self.dirty = Some(changed.iter().map(|(role, _)| role.clone()).collect());
        Ok(changed)
    }

    /// Checks every changed role before vouching for it.
    fn verify(&mut self, changed: &[(RoleName, RoleRef)]) -> Result<(), RoleError> {
        let table = self.log.roles();
        let known =
            |role: &RoleName| table.get(role).map(|entry| (entry.version, Expect::Record(entry.length, entry.sha256)));
        let first = |wanted: &dyn Fn(&RoleName) -> bool| changed.iter().find(|(role, _)| wanted(role));
        for kind in [&(|role: &RoleName| *role == BINS_ROLE) as &dyn Fn(&RoleName) -> bool, &is_bin] {
            if let Some((role, _)) = first(kind) {
                self.reader.prepare(&self.trust, role, &known)?;
            }
        }
        let (reader, trust) = (&self.reader, &self.trust);
        try_map(changed.iter().collect(), |(role, entry)| {
            let (document, _) = reader.read(trust, role, entry.version, Expect::Record(entry.length, entry.sha256))?;
            if document.expires() == entry.expires {
                Ok(())
            } else {
                Err(RoleError::Alarm(format!("{role} expires at another time than its commit record says")))
            }
        })?;
        Ok(())
    }

    /// Creates the next version. `None`: another writer was first, or the name is taken; look again.
    fn write(&mut self, changed: Vec<(RoleName, RoleRef)>, now: UtcTime) -> Result<Option<u64>, RoleError> {
        let entries: BTreeMap<String, Option<Vec<u8>>> = changed
            .into_iter()
            .map(|(role, entry)| {
                let value = listing(&role, &entry);
                (format!("{role}.json"), Some(value.into_bytes()))
            })
            .collect();
        let version = self.snapshots.next();
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
            // Still dirty: the roles stay to be compared with whatever the other writer made.
            return Ok(None);
        }
        if !self.snapshots.is_where_it_was()? {
            // The number was not free but forgotten, or one below it is free: see `Log::append`.
            self.snapshots.forget();
            return Ok(None);
        }
        self.snapshots.wrote(Snapshot { document: Arc::new(document), length: bytes.len() as u64, sha256 });
        self.dirty = Some(BTreeSet::new());
        Ok(Some(version))
    }

    /// `signed`: when this version was signed just now.
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
            self.floor.recovered(now)?;
        }
        Ok(())
    }
}

/// What the snapshot says of a role. No hash, because it would triple the size, and the version identifies the bytes for
/// ever. The length, because clients cap files whose length they do not know; but not of a small bin: thousands of lengths
/// are a third of a snapshot that every client downloads after every release, and no cap is that low.
fn listing(role: &RoleName, entry: &RoleRef) -> String {
    if is_bin(role) && entry.length <= SMALL_BIN {
        format!("{{\"version\":{}}}", entry.version)
    } else {
        format!("{{\"length\":{},\"version\":{}}}", entry.length, entry.version)
    }
}

/// The version a snapshot lists for a role.
pub(super) fn version_of(snapshot: &Document, role: &RoleName) -> Option<u64> {
    listed_version(snapshot.get(&format!("{role}.json"))?)
}

/// `version` in the canonical JSON of a snapshot's entry.
pub(super) fn listed_version(entry: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Entry {
        version: u64,
    }
    serde_json::from_slice::<Entry>(entry).ok().map(|entry| entry.version)
}
