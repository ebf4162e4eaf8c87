//! Finds the newest snapshot on disk: the state of the snapshot role, and the input of the timestamp role.

use std::sync::Arc;

use super::error::RoleError;
use super::invalid_metadata::InvalidMetadata;
use super::limits::MAX_SNAPSHOT;
use super::parallel::beside;
use super::trust::Trust;
use super::versioned::versioned;
use crate::far_names::FarNames;
use crate::named_file::NamedFile;
use crate::notices::Notices;
use crate::numbered::{MAX_NUMBER, MAX_SQUATTED_NAMES, number_of};
use crate::skipped_names::SkippedNames;
use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::{FileName, Store, StoreError};
use tuf_core::time::UtcTime;

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

/// How often the directory is listed again, in seconds. Another process that resumed above its floor has left a gap, and
/// reading the next names never crosses one.
const RELIST_SECONDS: i64 = 60;

/// The names of a listing from the next version on, by which a later listing shows a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct NamesBeyond {
    count: usize,
    highest: u64,
}

impl NamesBeyond {
    fn from(next: u64, listed: impl Iterator<Item = u64>) -> Self {
        listed.filter(|version| *version >= next).fold(Self::default(), |beyond, version| Self {
            count: beyond.count + 1,
            highest: beyond.highest.max(version),
        })
    }
}

/// The newest snapshot that verifies. The directory is listed at first, and then once a minute; in between only the next
/// names are read.
#[derive(Debug)]
pub(super) struct SnapshotReader {
    metadata: Arc<dyn Store>,
    newest: Option<VerifiedSnapshot>,
    /// The newest snapshot before that one: clients see it until the timestamp names the newer one.
    previous: Option<VerifiedSnapshot>,
    /// The next version to read; 0 before the directory has been listed.
    next: u64,
    /// Versions up to this one count as used, although no file of theirs need exist.
    above: u64,
    /// Names in between whose files are no snapshots.
    skipped: SkippedNames,
    far: FarNames,
    notices: Notices,
    /// The root under which `newest` was verified.
    root: u64,
    /// When the directory was listed last.
    listed: Option<UtcTime>,
    /// The names beyond the newest snapshot in that listing.
    beyond: NamesBeyond,
}

impl SnapshotReader {
    pub(super) fn new(metadata: Arc<dyn Store>) -> Self {
        Self {
            metadata,
            newest: None,
            previous: None,
            next: 0,
            above: 0,
            skipped: SkippedNames::default(),
            far: FarNames::default(),
            notices: Notices::default(),
            root: 0,
            listed: None,
            beyond: NamesBeyond::default(),
        }
    }

    pub(super) fn newest(&self) -> Option<&VerifiedSnapshot> {
        self.newest.as_ref()
    }

    /// Version of the newest snapshot; 0 without one.
    pub(super) fn version(&self) -> u64 {
        self.newest.as_ref().map_or(0, |newest| newest.document.version())
    }

    /// The lowest file behind the newest snapshot, up to `version`, that exists and cannot be read, with the reason. It may
    /// be a newer snapshot.
    ///
    /// # Errors
    /// A fault of the store.
    pub(super) fn unreadable_up_to(&self, version: u64) -> Result<Option<(FileName, StoreError)>, RoleError> {
        let next = (self.next, versioned(&RoleName::snapshot(), self.next)?);
        Ok(self.skipped.unreadable_up_to(self.metadata.as_ref(), next, version)?)
    }

    /// The next version to write, as last read: the verified one plus one, or above it where other files hold names.
    ///
    /// # Errors
    /// [`RoleError::NamesTaken`], [`RoleError::NumbersUsedUp`].
    pub(super) fn next(&self) -> Result<u64, RoleError> {
        let role = RoleName::snapshot;
        let next = self.next.max(1);
        if next > MAX_NUMBER {
            return Err(RoleError::NumbersUsedUp { role: role() });
        }
        if next > self.version().max(self.above).saturating_add(MAX_SQUATTED_NAMES) {
            let file = versioned(&role(), next)?;
            return Err(RoleError::NamesTaken { role: role(), count: MAX_SQUATTED_NAMES, file });
        }
        Ok(next)
    }

    /// Conditions that an operator must look at.
    pub(super) fn notices(&self) -> impl Iterator<Item = &str> {
        self.notices.texts()
    }

    /// Makes a snapshot that was just written the newest.
    pub(super) fn wrote(&mut self, snapshot: VerifiedSnapshot) {
        let version = snapshot.document.version();
        self.skipped.settle(version);
        self.next = self.skipped.next_free(version + 1);
        self.above = 0;
        self.newest = Some(snapshot);
    }

    /// Lists the directory again when the last listing is old, so that the next refresh finds snapshots behind a gap.
    ///
    /// # Errors
    /// A fault of the store.
    pub(super) fn look_beyond_gaps(&mut self, now: UtcTime) -> Result<(), RoleError> {
        let age = self.listed.map(|listed| now.seconds_since(listed));
        if age.is_some_and(|age| (0..RELIST_SECONDS).contains(&age)) {
            return Ok(());
        }
        self.listed = Some(now);
        // Before the first listing there is nothing to compare with: the next refresh makes it.
        if self.next > 0 && NamesBeyond::from(self.next, self.list()?.into_iter()) != self.beyond {
            self.forget();
        }
        Ok(())
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
        // No writer steps over more names.
        while self.next <= self.version().max(self.above).saturating_add(MAX_SQUATTED_NAMES) {
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
        let metadata = self.metadata.as_ref();
        if self.skipped.changed(metadata)? || self.far.changed(metadata)? {
            return Ok(false);
        }
        let Some(newest) = &self.newest else { return Ok(true) };
        Ok(self.metadata.stat(&versioned(&RoleName::snapshot(), newest.document.version())?)?.is_some())
    }

    fn read_version(&mut self, trust: &Trust, version: u64) -> Result<SnapshotLookup, RoleError> {
        let name = versioned(&RoleName::snapshot(), version)?;
        let stat = self.metadata.stat(&name)?;
        match NamedFile::read(self.metadata.as_ref(), &name, MAX_SNAPSHOT)? {
            NamedFile::Missing => return Ok(SnapshotLookup::Missing),
            NamedFile::Bytes(bytes) => match verified(trust, version, bytes) {
                Some(snapshot) => return Ok(SnapshotLookup::Snapshot(snapshot)),
                None => self.skipped.insert(version, name, stat),
            },
            NamedFile::Unusable(reason) => {
                tracing::error!(snapshot.version = version, %reason, "snapshot file skipped");
                self.skipped.insert_unusable(version, name, stat, &reason);
            }
        }
        Ok(SnapshotLookup::Skipped)
    }

    /// Skips all versions up to `version`, and those behind it whose names are taken.
    pub(super) fn start_above(&mut self, version: u64) -> Result<(), RoleError> {
        self.next = self.next.max(version.saturating_add(1));
        while NamedFile::exists(self.metadata.as_ref(), &versioned(&RoleName::snapshot(), self.next)?)? {
            self.next += 1;
        }
        self.above = self.next - 1;
        Ok(())
    }

    /// Forgets everything read, so that the next refresh lists the directory.
    pub(super) fn forget(&mut self) {
        (self.newest, self.previous, self.next, self.above) = (None, None, 0, 0);
        self.skipped = SkippedNames::default();
    }

    /// The snapshot of one version, if it exists and verifies.
    pub(super) fn of_version(&self, trust: &Trust, version: u64) -> Result<Option<VerifiedSnapshot>, RoleError> {
        // The kept snapshots were verified under one root. Under another they might not verify.
        let kept = [&self.newest, &self.previous].into_iter().flatten().filter(|_| self.root == trust.version());
        if let Some(snapshot) = kept.into_iter().find(|kept| kept.document.version() == version) {
            return Ok(Some(snapshot.clone()));
        }
        let name = versioned(&RoleName::snapshot(), version)?;
        let file = NamedFile::read(self.metadata.as_ref(), &name, MAX_SNAPSHOT)?;
        Ok(file.bytes().and_then(|bytes| verified(trust, version, bytes)))
    }

    fn load(&mut self, trust: &Trust) -> Result<(), RoleError> {
        let mut versions = self.list()?;
        versions.sort_unstable_by(|a, b| b.cmp(a));
        for &version in &versions {
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
        // A name far away does not move the next version, and is not waited for.
        let version = self.version();
        let far = self.skipped.take_above(version.saturating_add(MAX_SQUATTED_NAMES));
        self.far.found("snapshot", far, &mut self.notices);
        self.next = self.skipped.next_free(version + 1);
        self.beyond = NamesBeyond::from(self.next, versions.into_iter());
        Ok(())
    }

    /// The versions in the names of snapshots.
    fn list(&self) -> Result<Vec<u64>, RoleError> {
        Ok(self.metadata.list("")?.iter().filter_map(|name| number_of(name, ".snapshot.json")).collect())
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
        if version > MAX_NUMBER {
            return Err(InvalidMetadata::VersionTooHigh { version });
        }
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
