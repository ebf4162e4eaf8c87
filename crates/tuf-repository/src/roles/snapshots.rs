//! Finds the newest snapshot on disk: the state of the snapshot role, and what the timestamp role builds on.

use std::sync::Arc;

use super::parallel::beside;
use super::{MAX_SNAPSHOT, RoleError, Trust, versioned};
use crate::log::number_of;
use crate::passed_over::PassedOver;
use tuf_core::document::{Document, DocumentType};
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::sha256::Sha256;
use tuf_core::store::Store;

/// A snapshot and the bytes it was read from.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) document: Arc<Document>,
    pub(super) length: u64,
    pub(super) sha256: Sha256,
}

/// What the file of one version is.
enum Taken {
    /// There is none.
    Nothing,
    /// No snapshot of this repository.
    PassedOver,
    Snapshot(Snapshot),
}

/// The newest snapshot that verifies. The directory is listed once; after that the next names are looked at.
#[derive(Debug)]
pub(super) struct Snapshots {
    metadata: Arc<dyn Store>,
    newest: Option<Snapshot>,
    /// The one that was newest before: what clients still see when there is a newer one.
    previous: Option<Snapshot>,
    /// The next name to look at.
    next: u64,
    /// Names between them whose files are no snapshots.
    passed_over: PassedOver,
    /// The root under which `newest` was verified.
    root: u64,
}

impl Snapshots {
    pub(super) fn new(metadata: Arc<dyn Store>) -> Self {
        Self { metadata, newest: None, previous: None, next: 0, passed_over: PassedOver::default(), root: 0 }
    }

    pub(super) fn newest(&self) -> Option<&Snapshot> {
        self.newest.as_ref()
    }

    /// The next version number, as far as is known.
    pub(super) fn next(&self) -> u64 {
        self.next.max(1)
    }

    /// Takes a snapshot just written as the newest.
    pub(super) fn wrote(&mut self, snapshot: Snapshot) {
        self.next = snapshot.document.version() + 1;
        self.passed_over.settle(snapshot.document.version());
        self.newest = Some(snapshot);
    }

    /// Looks for newer ones. True when the newest is another than before.
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
            match self.take(trust, version)? {
                Taken::Snapshot(snapshot) => {
                    self.passed_over.settle(version);
                    self.previous = self.newest.replace(snapshot);
                    found = true;
                }
                Taken::PassedOver => {}
                Taken::Nothing => break,
            }
            self.next += 1;
        }
        if !self.is_where_it_was()? {
            self.forget();
            return self.refresh(trust);
        }
        Ok(found)
    }

    /// Whether the next number still is behind the newest snapshot. The newest always is on disk: where it is gone, this
    /// process stood still until it was collected, and newer ones are somewhere above. And where a name that was passed
    /// over holds something else now, it may be the next snapshot.
    pub(super) fn is_where_it_was(&self) -> Result<bool, RoleError> {
        if self.passed_over.changed(self.metadata.as_ref())? {
            return Ok(false);
        }
        let Some(newest) = &self.newest else { return Ok(true) };
        Ok(self.metadata.stat(&versioned(&RoleName::snapshot(), newest.document.version())?)?.is_some())
    }

    fn take(&mut self, trust: &Trust, version: u64) -> Result<Taken, RoleError> {
        let name = versioned(&RoleName::snapshot(), version)?;
        let stat = self.metadata.stat(&name)?;
        let Some(bytes) = self.metadata.read(&name, MAX_SNAPSHOT)? else { return Ok(Taken::Nothing) };
        Ok(match verified(trust, version, bytes) {
            Some(snapshot) => Taken::Snapshot(snapshot),
            None => {
                self.passed_over.note(version, name, stat);
                Taken::PassedOver
            }
        })
    }

    /// Leaves all numbers up to `version` out.
    pub(super) fn start_above(&mut self, version: u64) {
        self.next = self.next.max(version + 1);
    }

    /// Forgets everything read, so that the next refresh lists the directory.
    pub(super) fn forget(&mut self) {
        (self.newest, self.previous, self.next) = (None, None, 0);
        self.passed_over = PassedOver::default();
    }

    /// One snapshot by its version, if it is there and verifies.
    pub(super) fn of_version(&self, trust: &Trust, version: u64) -> Result<Option<Snapshot>, RoleError> {
        // Those kept were verified under one root: by another they might not be.
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
            match self.take(trust, version)? {
                Taken::Snapshot(snapshot) => {
                    self.newest = Some(snapshot);
                    break;
                }
                Taken::PassedOver => {}
                // Gone since it was listed, and still below the next number.
                Taken::Nothing => self.passed_over.note(version, versioned(&RoleName::snapshot(), version)?, None),
            }
        }
        Ok(())
    }
}

/// A file under such a name that does not verify is skipped with an alarm and never taken for state.
fn verified(trust: &Trust, version: u64, bytes: Vec<u8>) -> Option<Snapshot> {
    let checked = || -> Result<Snapshot, String> {
        let envelope = Envelope::parse(bytes).map_err(|error| error.to_string())?;
        let length = envelope.file().len();
        let (signatures, (sha256, document)) = beside(
            length,
            || trust.verify(&RoleName::snapshot(), &envelope),
            || (Sha256::of(envelope.file()), Document::parse(DocumentType::Snapshot, envelope.signed().to_vec())),
        );
        signatures.map_err(|error| error.to_string())?;
        let document = document.map_err(|error| error.to_string())?;
        if document.version() != version {
            return Err(format!("it says it is version {}", document.version()));
        }
        Ok(Snapshot { document: Arc::new(document), length: length as u64, sha256 })
    };
    checked()
        .inspect_err(|reason| {
            tracing::error!(snapshot.version = version, "{version}.snapshot.json is skipped: {reason}");
        })
        .ok()
}
