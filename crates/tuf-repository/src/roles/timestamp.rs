//! The timestamp role: makes the newest snapshot visible, and alone changes what clients see.

use std::sync::Arc;

use super::delegated::RoleReader;
use super::snapshot::listed_version;
use super::snapshots::{Snapshot, Snapshots};
use super::{Lifetime, MAX_TIMESTAMP, Repository, RoleError, Trust, Update, plain, recover};
use crate::floor::FloorFile;
use crate::log::number_of;
use tuf_core::canonical::Extra;
use tuf_core::document::Document;
use tuf_core::envelope::Envelope;
use tuf_core::names::RoleName;
use tuf_core::schema::{Hashes, Metadata, RoleMeta, SpecVersion, Timestamp};
use tuf_core::store::{Created, FileName, ReplaceOptions};
use tuf_core::time::UtcTime;

const SERVED: &str = "timestamp.json";
pub(super) const LOCK: &str = ".timestamp.lock";
const ATTEMPTS: usize = 64;

/// What the timestamp role is told by its configuration.
#[derive(Clone, Copy, Debug)]
pub struct TimestampPolicy {
    /// Of the timestamp.
    pub lifetime: Lifetime,
    /// Whether target files are kept in the repository (and copied to their plain names without consistent snapshots).
    pub store_targets: bool,
}

/// The timestamp role of one repository.
#[derive(Debug)]
pub struct TimestampRole {
    pub(super) repository: Repository,
    pub(super) trust: Trust,
    pub(super) policy: TimestampPolicy,
    floor: FloorFile,
    pub(super) snapshots: Snapshots,
    pub(super) reader: RoleReader,
    pub(super) served: Option<Signed>,
    /// The next hidden name to look at; 0 before the directory was listed.
    next: u64,
    /// All versions up to this one are left out: the next timestamp goes on above the floor. 0 otherwise.
    skip_to: u64,
}

/// A timestamp and the file it was read from.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) timestamp: Timestamp,
    file: Vec<u8>,
}

impl TimestampRole {
    /// Opens the role. Nothing is read yet but the floor.
    #[must_use]
    pub fn new(repository: Repository, trust: Trust, policy: TimestampPolicy, floor: FloorFile) -> Self {
        Self {
            snapshots: Snapshots::new(Arc::clone(&repository.metadata)),
            reader: RoleReader::new(Arc::clone(&repository.metadata)),
            repository,
            trust,
            policy,
            floor,
            served: None,
            next: 0,
            skip_to: 0,
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

    /// Version and expiry of the served timestamp, as last read.
    #[must_use]
    pub fn current(&self) -> Option<(u64, UtcTime)> {
        self.served.as_ref().map(|served| (served.timestamp.version, served.timestamp.expires))
    }

    /// When the timestamp will be renewed, as last read.
    #[must_use]
    pub fn next_renewal(&self) -> Option<UtcTime> {
        self.current().map(|(_, expires)| self.policy.lifetime.renewal(expires))
    }

    /// Makes the newest snapshot visible, or renews the timestamp when it is near its expiry (or with `force`).
    ///
    /// # Errors
    /// [`RoleError`].
    pub fn update(&mut self, now: UtcTime, force: bool) -> Result<Update, RoleError> {
        for _ in 0..ATTEMPTS {
            self.refresh(now)?;
            // What another run signed and did not get to show comes first, whole.
            let pending = self.newest_hidden()?;
            if let Some(pending) = pending {
                self.swap(pending)?;
                continue;
            }
            let Some(newest) = self.snapshots.newest().cloned() else {
                return Err(RoleError::Waiting("there is no snapshot yet".into()));
            };
            if newest.document.expires() <= now {
                return Err(RoleError::Waiting(format!(
                    "snapshot version {} expired at {}; it must be renewed first",
                    newest.document.version(),
                    newest.document.expires()
                )));
            }
            let served = self.served.as_ref().map(|served| &served.timestamp);
            let current = served.is_some_and(|served| served.snapshot.version == newest.document.version());
            let renew =
                served.is_none_or(|served| force || self.skip_to > 0 || self.policy.lifetime.due(served.expires, now));
            if current && !renew {
                let version = served.map_or(0, |served| served.version);
                self.raise(None)?;
                return Ok(Update { version, changed: false });
            }
            self.check_progress(&newest)?;
            if let Some(signed) = self.sign(&newest, now)? {
                let version = signed.timestamp.version;
                self.swap(signed)?;
                // Not shown: another process signed a higher one in between, which is looked at again.
                if self.current().is_some_and(|(shown, _)| shown >= version) {
                    self.raise(Some(now))?;
                    return Ok(Update { version, changed: true });
                }
            }
        }
        Err(RoleError::Infrastructure(format!("another writer of the timestamp was first {ATTEMPTS} times in a row")))
    }

    pub(super) fn refresh(&mut self, now: UtcTime) -> Result<(), RoleError> {
        let floor = self.floor.get().unwrap_or_default();
        self.trust.refresh(floor.root, now)?;
        self.trust.signers_of(&RoleName::timestamp())?;
        // The served timestamp before the snapshots: what it names is never ahead of the snapshots read after it.
        self.read_served()?;
        self.snapshots.refresh(&self.trust)?;
        self.show_again(floor.timestamp)?;
        let version = self.current().map_or(0, |(version, _)| version);
        // A timestamp signed and not swapped in yet is behind the floor of nothing: the floor is raised after the swap.
        self.skip_to = 0;
        if let Err(below) = recover::check_timestamp(version, &floor) {
            // Looked for anew each time: what goes on above the floor leaves numbers out.
            self.next = 0;
            if !self.floor.recovery_granted()? {
                return Err(below);
            }
            self.skip_to = floor.timestamp + recover::MARGIN;
            tracing::warn!("going on above the floor: {below}");
        }
        let snapshot = self.snapshots.newest().map_or(0, |newest| newest.document.version());
        if let Err(below) = recover::check_snapshot(snapshot, &floor) {
            self.snapshots.forget();
            return Err(below);
        }
        if self.skip_to == 0 {
            recover::check_clock(&mut self.floor, now)?;
        }
        Ok(())
    }

    /// Reads `timestamp.json`; one that does not verify is an alarm and is replaced, never believed.
    fn read_served(&mut self) -> Result<(), RoleError> {
        let file = self.repository.metadata.read(&FileName::new(SERVED)?, MAX_TIMESTAMP)?;
        self.served = match file {
            None => None,
            Some(file) if self.served.as_ref().is_some_and(|served| served.file == file) => return Ok(()),
            Some(file) => match self.parse(file) {
                Ok(signed) => Some(signed),
                Err(reason) => {
                    tracing::error!("{SERVED} is not believed: {reason}");
                    None
                }
            },
        };
        Ok(())
    }

    /// Where what is served is older than what was served before, or does not verify, and that is still there, hidden: shows
    /// it again. That signs nothing; a repository that went back as a whole does not have it.
    fn show_again(&mut self, before: u64) -> Result<(), RoleError> {
        let version = self.current().map_or(0, |(version, _)| version);
        if version >= before {
            return Ok(());
        }
        let Some(file) = self.repository.metadata.read(&hidden(before)?, MAX_TIMESTAMP)? else { return Ok(()) };
        match self.parse(file) {
            Ok(signed) if signed.timestamp.version == before && self.snapshot_of(&signed)?.is_some() => {
                tracing::error!(
                    timestamp.version = before,
                    "{SERVED} went back to version {version} or was damaged: version {before} is shown again"
                );
                self.swap(signed)
            }
            _ => Ok(()),
        }
    }

    fn parse(&self, file: Vec<u8>) -> Result<Signed, String> {
        let envelope = Envelope::parse(file.as_slice()).map_err(|error| error.to_string())?;
        self.trust.verify(&RoleName::timestamp(), &envelope).map_err(|error| error.to_string())?;
        let timestamp = Timestamp::from_envelope(&envelope).map_err(|error| error.to_string())?;
        Ok(Signed { timestamp, file })
    }

    /// The highest hidden timestamp above the served one: signed, durable, not shown yet.
    fn newest_hidden(&mut self) -> Result<Option<Signed>, RoleError> {
        let served = self.current().map_or(0, |(version, _)| version);
        let metadata = self.repository.metadata.as_ref();
        let mut versions = Vec::new();
        if self.next == 0 {
            // Dot names are files like others to the store; only its own temporary ones are not listed.
            versions.extend(metadata.list("")?.iter().filter_map(|name| hidden_version(name)));
            self.next = versions.iter().max().map_or(1, |highest| highest + 1);
        } else {
            while metadata.stat(&hidden(self.next)?)?.is_some() {
                versions.push(self.next);
                self.next += 1;
            }
        }
        versions.retain(|version| *version > served);
        versions.sort_unstable_by(|a, b| b.cmp(a));
        self.next = self.next.max(served + 1);
        for version in versions {
            let Some(file) = metadata.read(&hidden(version)?, MAX_TIMESTAMP)? else { continue };
            if let Some(signed) = self.fits(version, file)? {
                return Ok(Some(signed));
            }
        }
        Ok(None)
    }

    /// The snapshot a timestamp names, if its bytes are on disk.
    fn snapshot_of(&self, signed: &Signed) -> Result<Option<Snapshot>, RoleError> {
        let version = signed.timestamp.snapshot.version;
        let snapshot = self.snapshots.of_version(&self.trust, version)?;
        Ok(snapshot.filter(|snapshot| {
            let hashes = signed.timestamp.snapshot.hashes.as_ref();
            hashes.and_then(Hashes::sha256).is_none_or(|sha256| sha256 == snapshot.sha256)
        }))
    }

    /// Nothing a client has seen may go back or vanish in the snapshot to be shown.
    fn check_progress(&self, newest: &Snapshot) -> Result<(), RoleError> {
        let Some(served) = &self.served else { return Ok(()) };
        let version = newest.document.version();
        if version < served.timestamp.snapshot.version {
            return Err(RoleError::Alarm(format!(
                "the newest snapshot is version {version}, the served timestamp names {}",
                served.timestamp.snapshot.version
            )));
        }
        let Some(shown) = self.snapshot_of(served)? else { return Ok(()) };
        check_versions(&shown.document, &newest.document)
    }

    /// Creates the next hidden timestamp. `None`: the name is taken; look again.
    fn sign(&mut self, newest: &Snapshot, now: UtcTime) -> Result<Option<Signed>, RoleError> {
        let version = self.next.max(self.skip_to + 1);
        let timestamp = Timestamp {
            version,
            expires: self.policy.lifetime.expiry(now),
            // Length and hash always: php-tuf refuses a timestamp without.
            snapshot: RoleMeta {
                version: newest.document.version(),
                length: Some(newest.length),
                hashes: Some(Hashes::from_sha256(newest.sha256)),
                extra: Extra::new(),
            },
            spec_version: SpecVersion::default(),
            extra: Extra::new(),
        };
        let file = self.trust.sign(&RoleName::timestamp(), &timestamp.to_canonical())?;
        if self.repository.metadata.create(&hidden(version)?, &file)? == Created::Conflict {
            return Ok(None);
        }
        self.next = version + 1;
        Ok(Some(Signed { timestamp, file }))
    }

    /// Shows a durable hidden timestamp, unless a higher one is there or shown.
    fn swap(&mut self, signed: Signed) -> Result<(), RoleError> {
        let metadata = Arc::clone(&self.repository.metadata);
        let version = signed.timestamp.version;
        // Waiting for another swap is cheaper than undoing it; where mounts have no locks, the look afterwards decides.
        let _lock = metadata
            .lock(&FileName::new(LOCK)?)
            .inspect_err(|error| tracing::debug!("swapping the timestamp without a lock: {error}"))
            .ok();
        self.read_served()?;
        let highest = self.current().map_or(0, |(version, _)| version);
        if highest >= version || self.is_overtaken(version)? {
            return Ok(());
        }
        if !self.trust.root().consistent_snapshot {
            let new = self.snapshot_of(&signed)?.ok_or_else(|| {
                RoleError::Alarm(format!("timestamp version {version} names a snapshot that is not there"))
            })?;
            // Plain names of a restored repository may be of any day: all of them are compared, not only what changed.
            let old = match &self.served {
                Some(served) if self.skip_to == 0 => self.snapshot_of(served)?,
                _ => None,
            };
            plain::replace(
                &self.repository,
                &mut self.reader,
                &self.trust,
                old.as_ref().map(|old| old.document.as_ref()),
                &new.document,
                self.policy.store_targets,
            )?;
        }
        metadata.replace(&FileName::new(SERVED)?, &signed.file, ReplaceOptions::default())?;
        // Where the lock did not hold, a slower process may have put an older one over ours in between.
        self.read_served()?;
        match self.current() {
            Some((shown, _)) if shown >= version => Ok(()),
            _ => metadata.replace(&FileName::new(SERVED)?, &signed.file, ReplaceOptions::default()).map_err(Into::into),
        }
    }

    /// Whether a valid hidden timestamp of a higher version exists.
    fn is_overtaken(&self, version: u64) -> Result<bool, RoleError> {
        let mut higher = version + 1;
        while let Some(file) = self.repository.metadata.read(&hidden(higher)?, MAX_TIMESTAMP)? {
            if self.fits(higher, file)?.is_some() {
                return Ok(true);
            }
            higher += 1;
        }
        Ok(false)
    }

    /// The timestamp of a hidden file, if it is what its name says and may be shown: it verifies, and its snapshot is there
    /// (in a restored backup it may not be).
    fn fits(&self, version: u64, file: Vec<u8>) -> Result<Option<Signed>, RoleError> {
        let reason = match self.parse(file) {
            Ok(signed) if signed.timestamp.version != version => {
                format!("it says it is version {}", signed.timestamp.version)
            }
            Ok(signed) if self.snapshot_of(&signed)?.is_none() => {
                format!("snapshot version {}, which it names, is not there", signed.timestamp.snapshot.version)
            }
            Ok(signed) => return Ok(Some(signed)),
            Err(reason) => reason,
        };
        tracing::error!(timestamp.version = version, ".{version}.{SERVED} is skipped: {reason}");
        Ok(None)
    }

    /// `signed`: when the served one was signed, if just now.
    fn raise(&mut self, signed: Option<UtcTime>) -> Result<(), RoleError> {
        let root = self.trust.version();
        let Some(served) = self.served.as_ref().map(|served| &served.timestamp) else { return Ok(()) };
        let (timestamp, snapshot) = (served.version, served.snapshot.version);
        self.floor.raise(|floor| {
            floor.root = root;
            floor.snapshot = snapshot;
            floor.timestamp = timestamp;
            if let Some(now) = signed {
                floor.signed = now.unix();
            }
        })?;
        if let Some(now) = signed
            && std::mem::take(&mut self.skip_to) > 0
        {
            self.floor.recovered(now)?;
        }
        Ok(())
    }
}

fn hidden(version: u64) -> Result<FileName, tuf_core::store::InvalidFileName> {
    FileName::new(format!(".{version}.{SERVED}"))
}

pub(super) fn hidden_version(name: &str) -> Option<u64> {
    number_of(name.strip_prefix('.')?, ".timestamp.json")
}

/// Every role of `old` is in `new`, in no lower version.
fn check_versions(old: &Document, new: &Document) -> Result<(), RoleError> {
    for (role, before, after) in old.differing(new) {
        let shown = || String::from_utf8_lossy(&role).into_owned();
        match after {
            Some(after) if listed_version(after) >= listed_version(before) => {}
            Some(_) => return Err(RoleError::Alarm(format!("{} would go back in the snapshot", shown()))),
            None => return Err(RoleError::Alarm(format!("{} would vanish from the snapshot", shown()))),
        }
    }
    Ok(())
}
