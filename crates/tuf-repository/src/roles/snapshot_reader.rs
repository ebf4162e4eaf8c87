//! Finds the newest snapshot on disk: the state of the snapshot role, and the input of the timestamp role.

use std::sync::Arc;

use super::error::RoleError;
use super::invalid_metadata::InvalidMetadata;
use super::limits::MAX_SNAPSHOT;
use super::parallel::beside;
use super::trust::Trust;
use super::versioned::versioned;
use crate::numbered::number_of;
use crate::skipped_names::SkippedNames;
use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::Store;

/// A snapshot that verifies, with length and SHA-256 of its file.
#[derive(Clone, Debug)]
pub(super) struct VerifiedSnapshot {
    pub(super) document: Arc<Document>,
    pub(super) length: u64,
    pub(super) sha256: Sha256,
}

/// The file of one version.
enum SnapshotLookup {
    /// The file does not exist.
    Missing,
    /// The file is no snapshot of this repository.
    Skipped,
    /// The snapshot of that version.
    Snapshot(VerifiedSnapshot),
}

/// The newest snapshot that verifies. The directory is listed once; later only the next names are read.
#[derive(Debug)]
pub(super) struct SnapshotReader {
    metadata: Arc<dyn Store>,
    newest: Option<VerifiedSnapshot>,
    /// The newest snapshot before that one: clients see it until the timestamp names the newer one.
    previous: Option<VerifiedSnapshot>,
    /// The next version to read.
    next: u64,
    /// Names in between whose files are no snapshots.
    skipped: SkippedNames,
    /// The root under which `newest` was verified.
    root: u64,
}

impl SnapshotReader {
    pub(super) fn new(metadata: Arc<dyn Store>) -> Self {
        Self { metadata, newest: None, previous: None, next: 0, skipped: SkippedNames::default(), root: 0 }
    }

    pub(super) fn newest(&self) -> Option<&VerifiedSnapshot> {
        self.newest.as_ref()
    }

    /// The next version to write, as last read.
    pub(super) fn next(&self) -> u64 {
        self.next.max(1)
    }

    /// Makes a snapshot that was just written the newest.
    pub(super) fn wrote(&mut self, snapshot: VerifiedSnapshot) {
        self.next = snapshot.document.version() + 1;
        self.skipped.settle(snapshot.document.version());
        self.newest = Some(snapshot);
    }

    /// Reads newer snapshots. True when the newest has changed.
    pub(super) fn refresh(&mut self, trust: &Trust) -> Result<bool, RoleError> {
        if self.next == 0 || self.root != trust.version() {
            self.forget();
            self.load(trust)?;
            self.root = trust.version();
            return Ok(true);
        }
        let mut found = false;
        loop {
            let version = self.next;
            match self.read_version(trust, version)? {
                SnapshotLookup::Snapshot(snapshot) => {
                    self.skipped.settle(version);
                    self.previous = self.newest.replace(snapshot);
                    found = true;
                }
                SnapshotLookup::Skipped => {}
                SnapshotLookup::Missing => break,
            }
            self.next += 1;
        }
        if !self.is_current()? {
            self.forget();
            return self.refresh(trust);
        }
        Ok(found)
    }

    /// Whether the next number is still right behind the newest snapshot. Retention never deletes the newest snapshot:
    /// where it is gone, this process stood still and newer ones exist. And where a skipped name holds another file now,
    /// that file may be the next snapshot.
    pub(super) fn is_current(&self) -> Result<bool, RoleError> {
        if self.skipped.changed(self.metadata.as_ref())? {
            return Ok(false);
        }
        let Some(newest) = &self.newest else { return Ok(true) };
        Ok(self.metadata.stat(&versioned(&RoleName::snapshot(), newest.document.version())?)?.is_some())
    }

    fn read_version(&mut self, trust: &Trust, version: u64) -> Result<SnapshotLookup, RoleError> {
        let name = versioned(&RoleName::snapshot(), version)?;
        let stat = self.metadata.stat(&name)?;
        let Some(bytes) = self.metadata.read(&name, MAX_SNAPSHOT)? else { return Ok(SnapshotLookup::Missing) };
        Ok(match verified(trust, version, bytes) {
            Some(snapshot) => SnapshotLookup::Snapshot(snapshot),
            None => {
                self.skipped.insert(version, name, stat);
                SnapshotLookup::Skipped
            }
        })
    }

    /// Skips all versions up to `version`.
    pub(super) fn start_above(&mut self, version: u64) {
        self.next = self.next.max(version + 1);
    }

    /// Forgets everything read, so that the next refresh lists the directory.
    pub(super) fn forget(&mut self) {
        (self.newest, self.previous, self.next) = (None, None, 0);
        self.skipped = SkippedNames::default();
    }

    /// The snapshot of one version, if it exists and verifies.
    pub(super) fn of_version(&self, trust: &Trust, version: u64) -> Result<Option<VerifiedSnapshot>, RoleError> {
        // The kept snapshots were verified under one root. Under another they might not verify.
        let kept = [&self.newest, &self.previous].into_iter().flatten().filter(|_| self.root == trust.version());
        if let Some(snapshot) = kept.into_iter().find(|kept| kept.document.version() == version) {
            return Ok(Some(snapshot.clone()));
        }
        let bytes = self.metadata.read(&versioned(&RoleName::snapshot(), version)?, MAX_SNAPSHOT)?;
        Ok(bytes.and_then(|bytes| verified(trust, version, bytes)))
    }

    fn load(&mut self, trust: &Trust) -> Result<(), RoleError> {
        let mut versions: Vec<u64> =
            self.metadata.list("")?.iter().filter_map(|name| number_of(name, ".snapshot.json")).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        self.next = versions.first().map_or(1, |highest| highest + 1);
        for version in versions {
            match self.read_version(trust, version)? {
                SnapshotLookup::Snapshot(snapshot) => {
                    self.newest = Some(snapshot);
                    break;
                }
                SnapshotLookup::Skipped => {}
                // Deleted since the listing, and still below the next number.
                SnapshotLookup::Missing => {
                    self.skipped.insert(version, versioned(&RoleName::snapshot(), version)?, None)
                }
            }
        }
        Ok(())
    }
}

/// Checks a file. One that does not verify is skipped with an alarm and never used as state.
fn verified(trust: &Trust, version: u64, bytes: Vec<u8>) -> Option<VerifiedSnapshot> {
    let checked = || -> Result<VerifiedSnapshot, InvalidMetadata> {
        let envelope = Envelope::parse(bytes)?;
        let length = envelope.file().len();
        let (signatures, (sha256, document)) = beside(
            length,
            || trust.verify(&RoleName::snapshot(), &envelope),
            || (Sha256::of(envelope.file()), Document::parse(DocumentType::Snapshot, envelope.signed().to_vec())),
        );
        signatures?;
        let document = document?;
        if document.version() != version {
            return Err(InvalidMetadata::Version { found: document.version() });
        }
        Ok(VerifiedSnapshot { document: Arc::new(document), length: length as u64, sha256 })
    };
    checked()
        .inspect_err(|reason| {
            tracing::error!(snapshot.version = version, %reason, "snapshot file skipped");
        })
        .ok()
}
